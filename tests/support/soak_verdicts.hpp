// What the soak promises, what was broken of it, and what a process holds.
#ifndef NANGO_TESTS_SOAK_VERDICTS_HPP
#define NANGO_TESTS_SOAK_VERDICTS_HPP

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <mutex>
#include <string>

#include "process.hpp"
#include "soak_book.hpp"

namespace nango_test::soak {

enum promise {
  ends,
  right_caller,
  no_429,
  truth,
  forks,
  descriptors,
  threads,
  memory,
  servers,
  variety,
  promise_count
};

inline constexpr std::array<const char*, promise_count> promises{
    "each call ends in time, with an answer or with an error that fits",
    "no answer comes to the wrong caller",
    "the gateway answers 429 to nobody",
    "success was executed, what cannot have been was not, and no POST was twice",
    "a child that was forked amid calls makes its own, as the parent would",
    "descriptors are flat",
    "threads are flat",
    "memory is flat",
    "HAProxy and the fault server never stopped",
    "all that is to be survived was met",
};

// What was broken of them. Thread-safe.
class verdicts {
 public:
  void broken(promise which, const std::string& how) {
    const std::lock_guard lock(mutex_);
    if (++times_[which] <= 5) say("BROKEN: " + std::string(promises[which]) + ": " + how);
  }
  void check(promise which, bool kept, const std::string& how) {
    if (!kept) broken(which, how);
  }
  bool print() const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < promise_count; ++i) {
      const bool is_kept = times_[i] == 0, is_known = i != memory || !nango_test::is_sanitized;
      const auto how = is_kept ? std::string() : " (" + std::to_string(times_[i]) + " times)";
      const std::string mark = !is_kept ? "  FAILED  " : is_known ? "  ok      " : "  unknown ";
      say(mark + promises[i] + how);
    }
    return std::count(times_.begin(), times_.end(), 0U) == promise_count;
  }

 private:
  mutable std::mutex mutex_{};
  std::array<std::size_t, promise_count> times_{};
};

// What this process holds. Shared memory is left out: it is the book.
struct holdings {
  std::size_t descriptors = nango_test::open_descriptors(), threads = nango_test::threads();
  std::size_t resident = resident_bytes(), allocated = allocated_bytes();

  std::string text() const {
    return std::to_string(threads) + " threads, " + std::to_string(descriptors) + " descriptors, " +
           std::to_string(resident >> 10) + " KiB, " + std::to_string(allocated >> 10) + " KiB of it allocated";
  }

 private:
  static std::size_t resident_bytes() {
    std::size_t size = 0, resident = 0, shared = 0;
    std::ifstream("/proc/self/statm") >> size >> resident >> shared;
    return (resident - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
  static std::size_t allocated_bytes() {
    const auto all = ::mallinfo2();
    return all.uordblks + all.hblkhd;
  }
};

}  // namespace nango_test::soak

#endif
