// The default backend behind a network that takes its time.
#ifndef NANGO_TESTS_SLOW_NETWORK_HPP
#define NANGO_TESTS_SLOW_NETWORK_HPP

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "nango.hpp"

namespace nango_test {

/// Each way takes a random time, `most` at most. As thread-safe as the backend.
class slow_network {
 public:
  slow_network(nango::httplib_backend backend, std::chrono::microseconds most)
      : backend_(std::move(backend)), most_(most) {}

  nango::result<nango::http_response> send(const nango::http_request& request) {
    take_a_while();
    auto answer = backend_.send(request);
    take_a_while();
    return answer;
  }

 private:
  void take_a_while() const {
    static std::atomic<unsigned> threads{0};
    thread_local std::minstd_rand random(++threads);
    using microseconds = std::chrono::microseconds;
    std::this_thread::sleep_for(
        microseconds(std::uniform_int_distribution<microseconds::rep>(0, most_.count())(random)));
  }

  nango::httplib_backend backend_;
  std::chrono::microseconds most_;
};

}  // namespace nango_test

#endif
