// Callers that wait for the rate limiter, on a clock that wakes nobody without need.
#ifndef NANGO_TESTS_LIMITER_LINE_HPP
#define NANGO_TESTS_LIMITER_LINE_HPP

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "limiter_fixture.hpp"

namespace nango_test::limiting {

// A clock that wakes a waiter when it is notified or when its time has come, and for no other reason: where the limiter
// forgets to notify, a test hangs.
struct strict_clock : manual_clock {
  static bool wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock, time_point t) {
    {
      const std::lock_guard guard(mutex_);
      waiting_[&wake] = {lock.mutex(), t, ++looks_};
    }
    // It is in the list already, so a clock that moves on after this look finds it there.
    if (now() < t) wake.wait(lock);
    const std::lock_guard guard(mutex_);
    waiting_.erase(&wake);
    return now() < t;
  }

  static void advance(nanoseconds by) {
    manual_clock::advance(by);
    wake_all([](const waiter& w) { return w.until <= now(); });
  }
  // Wakes everybody, as a clock may, and returns a mark: who waits with a higher number has looked since.
  static std::uint64_t wake_everybody() {
    const auto mark = [] {
      const std::lock_guard guard(mutex_);
      return looks_;
    }();
    wake_all([](const waiter&) { return true; });
    return mark;
  }
  static std::size_t waiting_since(std::uint64_t mark) {
    const std::lock_guard guard(mutex_);
    return static_cast<std::size_t>(
        std::count_if(waiting_.begin(), waiting_.end(), [=](const auto& w) { return w.second.look > mark; }));
  }

 private:
  struct waiter {
    std::mutex* mutex = nullptr;
    time_point until{};
    std::uint64_t look = 0;
  };

  template <class Predicate> static void wake_all(Predicate due) {
    std::map<std::condition_variable*, waiter> found;
    {
      const std::lock_guard guard(mutex_);
      std::copy_if(waiting_.begin(), waiting_.end(), std::inserter(found, found.end()),
                   [&](const auto& w) { return due(w.second); });
    }
    for (const auto& [wake, w] : found) {
      const std::lock_guard asleep(*w.mutex);  // whoever is still in the list waits, and does not only mean to
      const std::lock_guard guard(mutex_);
      if (waiting_.contains(wake)) wake->notify_all();
    }
  }

  static inline std::mutex mutex_{};
  static inline std::map<std::condition_variable*, waiter> waiting_{};
  static inline std::uint64_t looks_ = 0;
};

using strict_limiter = nango::basic_sliding_window<strict_clock>;

// Callers, each on a thread of its own, in the order in which they came.
class line {
 public:
  struct departure {
    std::size_t caller = 0;
    nanoseconds at{};
    nango::result<strict_limiter::permit> outcome;
  };

  explicit line(const strict_limiter& l) : limiter_(l), none_left_(manual_clock::now() + 24h) {}
  line(const line&) = delete;
  line& operator=(const line&) = delete;
  ~line() {
    strict_clock::advance(48h);
    for (auto& thread : threads_) thread.join();
  }

  // What they are given is answered at once.
  void answer_at_once() { answering_ = true; }

  // Returns when the caller is in line, or through already.
  void join(std::string key = "ann", std::optional<time_point> deadline = {}, const nango::cancel_token& cancel = {}) {
    const auto caller = threads_.size();
    threads_.emplace_back([=, this] { call(caller, key, deadline.value_or(none_left_), cancel); });
    while (strict_clock::waiting_since(0) + gone() < threads_.size()) std::this_thread::yield();
  }
  void join(int count) {
    for (int i = 0; i < count; ++i) join();
  }

  // Lets everybody look at the clock until nobody leaves any more, twice in a row: one that had looked just before the
  // time changed waits again after the first wake-up. How many are gone then.
  std::size_t settle() {
    auto before = gone();
    for (int quiet = 0; quiet < 2; ++quiet) {
      const auto mark = strict_clock::wake_everybody();
      while (strict_clock::waiting_since(mark) + gone() < threads_.size()) std::this_thread::yield();
      if (std::exchange(before, gone()) != before) quiet = -1;
    }
    return before;
  }
  // Wakes nobody: the limiter and the clock have to.
  departure& await(std::size_t which) {
    while (gone() <= which) std::this_thread::yield();
    seen_ = (std::max)(seen_, which + 1);
    const std::lock_guard lock(mutex_);
    return departures_[which];
  }
  // How many were awaited.
  std::size_t seen() const { return seen_; }
  std::size_t gone() const {
    const std::lock_guard lock(mutex_);
    return departures_.size();
  }

 private:
  void call(std::size_t caller, const std::string& key, time_point deadline, const nango::cancel_token& cancel) {
    auto outcome = limiter_.acquire(key, deadline, cancel);
    const auto at = manual_clock::elapsed();
    if (outcome && answering_) outcome->answered();
    const std::lock_guard lock(mutex_);
    departures_.push_back({caller, at, std::move(outcome)});
  }

  strict_limiter limiter_;
  time_point none_left_;  // with a clock that wakes nobody without need, nobody may wait for ever
  std::atomic<bool> answering_{false};
  mutable std::mutex mutex_{};
  std::deque<departure> departures_{};
  std::size_t seen_ = 0;
  std::vector<std::thread> threads_{};
};

inline void strictly_to(nanoseconds since_start) { strict_clock::advance(since_start - manual_clock::elapsed()); }

inline void check_departure(const line::departure& left, std::size_t caller, nanoseconds at,
                            std::optional<errc> failure = std::nullopt) {
  CHECK(left.caller == caller);
  CHECK(left.at == at);
  REQUIRE(left.outcome.has_value() == !failure);
  if (failure) check_unsent(left.outcome.error(), *failure);
}

struct expected {
  std::size_t caller = 0;
  nanoseconds at{};
};

// They get their permits at those times, in that order, and not a nanosecond earlier.
inline void check_permits(line& callers, const std::vector<expected>& turns) {
  auto gone = callers.seen();
  for (const auto& turn : turns) {
    CAPTURE(turn.caller);
    CAPTURE(turn.at);
    if (turn.at > manual_clock::elapsed()) {
      strictly_to(turn.at - 1ns);
      REQUIRE(callers.settle() == gone);
      strictly_to(turn.at);
    }
    REQUIRE(callers.settle() == gone + 1);
    check_departure(callers.await(gone++), turn.caller, turn.at);
  }
}

}  // namespace nango_test::limiting

#endif
