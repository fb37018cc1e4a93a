// What tests of the rate limiter share: a clock at its start, and one line for each thing that a program does to a
// limiter.
#ifndef NANGO_TESTS_LIMITER_FIXTURE_HPP
#define NANGO_TESTS_LIMITER_FIXTURE_HPP

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"

template <class Rep, class Period> struct doctest::StringMaker<std::chrono::duration<Rep, Period>> {
  static doctest::String convert(std::chrono::duration<Rep, Period> d) {
    return doctest::toString(std::chrono::duration<double, std::milli>(d).count()) + " ms";
  }
};

namespace nango_test::limiting {

using namespace std::chrono_literals;
using nango::errc;
using nango_test::manual_clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using time_point = std::chrono::steady_clock::time_point;
using limiter = nango::basic_sliding_window<manual_clock>;

// 1.01 * per / requests is 101 ms to the nanosecond.
inline constexpr nango::rate four{.requests = 4, .per = 400ms, .linger = 2s};
inline constexpr nango::rate one{.requests = 1, .per = 400ms, .linger = 2s};
inline constexpr auto step = 101ms;

struct at_the_start {
  at_the_start() { manual_clock::reset(); }
};

inline void advance_to(nanoseconds since_start) { manual_clock::advance(since_start - manual_clock::elapsed()); }

// A permit that is there now, or why there is none: the deadline leaves no time to wait.
template <class Limiter> auto ask(Limiter& l, std::string_view key = "ann") {
  return l.acquire(key, manual_clock::now());
}

template <class Limiter> bool has_slot(Limiter& l, std::string_view key = "ann") {
  auto permit = ask(l, key);
  return permit.has_value();
}

template <class Limiter> auto take_one(Limiter& l, std::string_view key = "ann") {
  auto permit = ask(l, key);
  REQUIRE(permit.has_value());
  return *std::move(permit);
}

template <class Limiter> auto take(Limiter& l, std::size_t count, std::string_view key = "ann") {
  std::vector<typename Limiter::permit> permits;
  while (permits.size() < count) permits.push_back(take_one(l, key));
  return permits;
}

template <class Limiter> void send_and_answer(Limiter& l, std::size_t count, std::string_view key = "ann") {
  auto permits = take(l, count, key);
  for (auto& permit : permits) permit.answered();
}

template <class Limiter> void send_and_lose(Limiter& l, std::size_t count, std::string_view key = "ann") {
  take(l, count, key);
}

// Uses up what is free, and tells how much that was.
template <class Limiter> std::size_t count_free(Limiter& l, std::string_view key = "ann") {
  std::vector<typename Limiter::permit> permits;
  for (auto permit = ask(l, key); permit; permit = ask(l, key)) permits.push_back(*std::move(permit));
  return permits.size();
}

inline void check_unsent(const nango::error& e, errc code) {
  CHECK(nango::to_string(e.code) == nango::to_string(code));
  CHECK(e.attempts == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK(e.http_status == 0);
  CHECK_FALSE(e.message.empty());
  CHECK(e.retry_after.has_value() == (code == errc::rate_limited));
}

// How long a caller that cannot wait is told to wait.
template <class Limiter> nanoseconds told_to_wait(Limiter& l, std::string_view key = "ann") {
  auto refused = l.acquire(key, time_point::min());
  REQUIRE_FALSE(refused.has_value());
  check_unsent(refused.error(), errc::rate_limited);
  return refused.error().retry_after.value_or(-1ms);
}

// A slot comes back at `t` after the start, and not a nanosecond earlier.
template <class Limiter> void check_slot_at(Limiter& l, nanoseconds t, std::string_view key = "ann") {
  CAPTURE(t);
  advance_to(t - 1ns);
  CHECK_FALSE(has_slot(l, key));
  advance_to(t);
  CHECK(has_slot(l, key));
}

}  // namespace nango_test::limiting

#endif
