// So few descriptors that the next ones are refused.
#ifndef NANGO_TESTS_DESCRIPTOR_LIMIT_HPP
#define NANGO_TESTS_DESCRIPTOR_LIMIT_HPP

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

namespace nango_test {

/// While it lives this process can open `more` descriptors at most: below the limit, no other number is free.
class descriptor_limit {
 public:
  explicit descriptor_limit(int more) {
    int next = 0;
    for (int taken = 0; taken <= more; ++next) taken += ::fcntl(next, F_GETFD) == -1 ? 1 : 0;
    if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) throw std::runtime_error("no limit of descriptors");
    const rlimit now{static_cast<rlim_t>(next) - 1, before_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &now) != 0) throw std::runtime_error("the limit of descriptors stays");
  }
  ~descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  descriptor_limit(const descriptor_limit&) = delete;
  descriptor_limit& operator=(const descriptor_limit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace nango_test

#endif
