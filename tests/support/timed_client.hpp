// A client over a script, a sliding window and the manual clock: its limits, its backoff and its deadlines are real,
// but no wait takes real time. What client_retries.cpp and client_limiter.cpp have in common.
#ifndef NANGO_TESTS_TIMED_CLIENT_HPP
#define NANGO_TESTS_TIMED_CLIENT_HPP

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

namespace nango_test {

/// The manual clock, which also tells a test of each wait: the place to do what another thread would do meanwhile.
struct watched_clock {
  using time_point = manual_clock::time_point;
  static time_point now() noexcept { return manual_clock::now(); }
  static bool wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock, time_point t) {
    if (on_wait) on_wait();
    return manual_clock::wait_until(wake, lock, t);
  }
  static inline std::function<void()> on_wait{};
};

using watched_window = nango::basic_sliding_window<watched_clock>;
using timed_client = nango::basic_client<scripted_backend, watched_window>;

inline nango::retry_policy retries_without_delay() {
  return {.max_attempts = 3, .base_delay = std::chrono::milliseconds(0), .max_delay = std::chrono::milliseconds(0)};
}

/// A script, options without backoff, and what the observer saw.
struct timed_fixture {
  timed_fixture() {
    manual_clock::reset();
    manual_clock::run_by_itself();
    options.retry = retries_without_delay();
    options.on_attempt = [this](const nango::attempt& seen) {
      paths.emplace_back(seen.path);
      attempts.push_back(seen);
      attempts.back().method = attempts.back().path = attempts.back().limit_key = {};
      attempts.back().headers = {};
    };
  }
  timed_fixture(const timed_fixture&) = delete;
  timed_fixture& operator=(const timed_fixture&) = delete;
  ~timed_fixture() {
    watched_clock::on_wait = nullptr;
    manual_clock::reset();
  }

  timed_client client() const { return {options, backend}; }

  nango::client_options options = test_options();
  scripted_backend backend{};
  std::vector<nango::attempt> attempts{};  ///< Without the views, which are gone.
  std::vector<std::string> paths{};
};

/// An error of a backend.
inline nango::error lost(nango::errc code, bool may_have_executed) {
  return {.code = code, .message = "lost", .may_have_executed = may_have_executed};
}

/// Puts a 429 into the script; an empty `retry_after`: it names no time.
inline scripted_backend& too_many(scripted_backend& backend, const std::string& retry_after) {
  nango::headers headers;
  if (!retry_after.empty()) headers.push_back({"Retry-After", retry_after});
  return backend.answer(429, "slow down", headers);
}

/// The error of a call that must have failed.
template <class Result> nango::error failure(const Result& got) {
  REQUIRE_FALSE(got.has_value());
  return got.error();
}

}  // namespace nango_test

#endif
