// A clock that tests move by hand, so that no test sleeps.
#ifndef NANGO_TESTS_MANUAL_CLOCK_HPP
#define NANGO_TESTS_MANUAL_CLOCK_HPP

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "nango.hpp"

namespace nango_test {

/// Stands in for nango::steady_clock: `nango::basic_sliding_window<nango_test::manual_clock>`. One time for the whole
/// process; each test begins with reset(). Thread-safe.
struct manual_clock {
  using time_point = std::chrono::steady_clock::time_point;

  static time_point now() noexcept { return time_point(std::chrono::nanoseconds(ticks_.load())); }

  /// By hand, it looks whether `t` has come after a notification or a moment of real time, as the seam allows: callers
  /// ask again. Running by itself, it moves the time to `t` at once.
  static bool wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock, time_point t) {
    if (runs_by_itself_ && t != time_point::max()) {
      const auto to = t.time_since_epoch().count();
      for (auto at = ticks_.load(); at < to && !ticks_.compare_exchange_weak(at, to);) {
      }
      return false;
    }
    ++waiting_;
    if (now() < t) wake.wait_for(lock, std::chrono::microseconds(200));
    --waiting_;
    return now() < t;
  }

  /// Back to the start (an hour after the epoch), moved by hand.
  static void reset() noexcept {
    ticks_ = start.count();
    runs_by_itself_ = false;
  }
  static void advance(std::chrono::nanoseconds by) noexcept { ticks_ += by.count(); }
  /// For tests with one thread: a wait takes no real time and moves the clock to its end.
  static void run_by_itself() noexcept { runs_by_itself_ = true; }
  /// How far it was moved since reset().
  static std::chrono::nanoseconds elapsed() noexcept { return std::chrono::nanoseconds(ticks_.load()) - start; }
  /// Blocks until `count` threads wait at once.
  static void await_waiters(int count) {
    while (waiting_ < count) std::this_thread::yield();
  }

 private:
  static constexpr std::chrono::nanoseconds start = std::chrono::hours(1);
  static inline std::atomic<std::chrono::nanoseconds::rep> ticks_{start.count()};
  static inline std::atomic<bool> runs_by_itself_{false};
  static inline std::atomic<int> waiting_{0};
};

}  // namespace nango_test

#endif
