// The default limiter's promises, each moved through by hand on a clock that stands still, and what a limiter of one's
// own must have.
#include <doctest/doctest.h>

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <iterator>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "limiter_fixture.hpp"
#include "nango.hpp"

namespace rate_limiter_tests {

using namespace nango_test::limiting;

// --- Free slots, and how they come back ---

TEST_CASE_FIXTURE(at_the_start, "the default rate is the API's: 100 requests per second") {
  const nango::rate r;
  CHECK(r.requests == 100);
  CHECK(r.per == 1s);
  CHECK(r.linger == 5s);

  limiter l;
  CHECK(l.rate().requests == 100);
  CHECK(l.rate().per == 1s);
  CHECK(l.rate().linger == 5s);
  send_and_answer(l, 100);
  CHECK(told_to_wait(l) == 1s);
}

TEST_CASE_FIXTURE(at_the_start, "a limiter tells the rate that it was built from") {
  const limiter l(four);
  CHECK(l.rate().requests == 4);
  CHECK(l.rate().per == 400ms);
  CHECK(l.rate().linger == 2s);
}

TEST_CASE_FIXTURE(at_the_start, "free slots are given at once, exactly `requests` of them") {
  for (const std::size_t requests : {1U, 2U, 4U, 100U, 1'000U}) {
    CAPTURE(requests);
    limiter l(nango::rate{.requests = requests});
    const auto permits = take(l, requests);
    CHECK_FALSE(has_slot(l));
    CHECK(manual_clock::elapsed() == 0s);
  }
}

TEST_CASE_FIXTURE(at_the_start, "a permit is held for as long as no answer comes") {
  limiter l(one);
  const auto permits = take(l, 1);
  manual_clock::advance(24h);
  CHECK_FALSE(has_slot(l));
}

TEST_CASE_FIXTURE(at_the_start, "a slot comes back `per` after the answer, however long that took") {
  for (const auto round_trip : {0ms, 1ms, 150ms, 400ms, 3'000ms}) {
    CAPTURE(round_trip);
    manual_clock::reset();
    limiter l(one);
    auto permits = take(l, 1);
    manual_clock::advance(round_trip);
    permits.front().answered();
    permits.clear();
    check_slot_at(l, round_trip + 400ms);
  }
}

TEST_CASE_FIXTURE(at_the_start, "a request given up without an answer counts for linger + per") {
  for (const auto linger : {0ms, 1ms, 2'000ms}) {
    CAPTURE(linger);
    manual_clock::reset();
    limiter l({.requests = 1, .per = 400ms, .linger = linger});
    auto permits = take(l, 1);
    manual_clock::advance(150ms);
    permits.clear();
    check_slot_at(l, 150ms + linger + 400ms);
  }
}

TEST_CASE_FIXTURE(at_the_start, "each slot comes back at its own time, in whatever order they were answered") {
  limiter l(four);
  auto permits = take(l, 4);
  advance_to(50ms);
  permits[3].answered();
  advance_to(70ms);
  permits[0].answered();
  permits.erase(permits.begin() + 1);  // lost
  advance_to(110ms);
  permits[1].answered();
  for (const auto back : {450ms, 470ms, 510ms, 2'470ms}) {
    advance_to(back - 1ns);
    CHECK_FALSE(has_slot(l));
    advance_to(back);
    permits.push_back(take_one(l));
    CHECK_FALSE(has_slot(l));
  }
}

TEST_CASE_FIXTURE(at_the_start, "a lone caller goes on evenly once it had to wait") {
  auto rate = four;
  auto one_step = nanoseconds(step);
  SUBCASE("a step of a whole number of nanoseconds") {}
  SUBCASE("a step that is rounded up") {
    rate.per = 10ns;
    one_step = 3ns;
  }
  limiter l(rate);
  manual_clock::run_by_itself();
  for (int i = 0; i < 40; ++i) {
    auto permit = l.acquire("ann", time_point::max());
    REQUIRE(permit.has_value());
    permit->answered();
  }
  CHECK(manual_clock::elapsed() == rate.per + 35 * one_step);
}

TEST_CASE_FIXTURE(at_the_start, "a free slot is given even where the deadline has passed: nothing waits") {
  limiter l(one);
  CHECK(l.acquire("ann", time_point::min()).has_value());
}

// --- Permits ---

TEST_CASE_FIXTURE(at_the_start, "a permit ends once: a second answered() and the destructor change nothing") {
  limiter l(nango::rate{.requests = 2, .per = 400ms, .linger = 2s});
  auto permits = take(l, 2);
  permits[0].answered();
  advance_to(100ms);
  permits[0].answered();
  permits.erase(permits.begin());
  advance_to(400ms - 1ns);
  CHECK(count_free(l) == 0);
  advance_to(400ms);
  CHECK(count_free(l) == 1);
}

TEST_CASE_FIXTURE(at_the_start, "a permit that was moved from holds nothing") {
  limiter l(one);
  auto first = take_one(l);
  std::optional second(std::move(first));
  SUBCASE("its end is no end") {
    { const auto gone = std::move(first); }
    first.answered();
    advance_to(3s);
    CHECK_FALSE(has_slot(l));
  }
  SUBCASE("the one that was moved to ends the hold") {
    second.reset();
    check_slot_at(l, 2'400ms);
  }
  SUBCASE("assigning to it ends nothing") {
    first = *std::move(second);
    second.reset();
    CHECK_FALSE(has_slot(l));
    first.answered();
    check_slot_at(l, 400ms);
  }
}

TEST_CASE_FIXTURE(at_the_start, "assigning to a permit ends the hold that it had") {
  limiter l(one);
  auto permit = take_one(l, "ann");
  permit = take_one(l, "bob");
  SUBCASE("the old one, which saw no answer, counts for linger + per") { check_slot_at(l, 2'400ms, "ann"); }
  SUBCASE("the new one is held") {
    advance_to(3s);
    CHECK_FALSE(has_slot(l, "bob"));
    permit.answered();
    check_slot_at(l, 3'400ms, "bob");
  }
  SUBCASE("an empty one leaves it empty") {
    permit = limiter::permit();
    permit.answered();
    check_slot_at(l, 2'400ms, "bob");
  }
}

TEST_CASE("a permit can be moved and not copied") {
  CHECK(std::is_nothrow_move_constructible_v<limiter::permit>);
  CHECK(std::is_nothrow_move_assignable_v<limiter::permit>);
  CHECK_FALSE(std::is_copy_constructible_v<limiter::permit>);
  CHECK_FALSE(std::is_copy_assignable_v<limiter::permit>);
}

// The thread and memory checkers are what sees this fail.
TEST_CASE_FIXTURE(at_the_start, "a permit may outlive the limiter") {
  std::optional<limiter> l(four);
  auto permits = take(*l, 3);
  l.reset();
  permits[1].answered();
  permits.pop_back();
  permits.front().answered();
}

// --- Copies and keys ---

TEST_CASE_FIXTURE(at_the_start, "copies of a limiter share one limit") {
  limiter l(four);
  limiter copy = l;
  limiter assigned(one);
  assigned = copy;
  auto permits = take(l, 2);
  permits.push_back(take_one(copy));
  permits.push_back(take_one(assigned));
  for (auto* handle : {&l, &copy, &assigned}) {
    CHECK(told_to_wait(*handle) == 400ms);
    CHECK(handle->size() == 1);
    CHECK(handle->rate().requests == 4);
  }
  copy.hold("ann", manual_clock::now() + 1s);
  CHECK(told_to_wait(l) == 1s);
}

TEST_CASE_FIXTURE(at_the_start, "limiters built apart have nothing in common") {
  limiter l(one);
  limiter other(one);
  const auto permit = ask(l);
  CHECK(has_slot(other));
}

TEST_CASE_FIXTURE(at_the_start, "each key has its own slots") {
  limiter l(four);
  std::vector<limiter::permit> permits;
  for (int user = 0; user < 300; ++user) {
    auto all = take(l, 4, std::to_string(user));
    std::move(all.begin(), all.end(), std::back_inserter(permits));
  }
  CHECK(l.size() == 300);
  for (int user = 0; user < 300; ++user) CHECK_FALSE(has_slot(l, std::to_string(user)));
}

TEST_CASE_FIXTURE(at_the_start, "a key is told apart by all of its bytes, and not kept by reference") {
  limiter l(one);
  std::string key = "ann";
  const auto permit = ask(l, key);
  key = "bob";
  CHECK_FALSE(has_slot(l, "ann"));
  const std::string long_key(5'000, 'x');
  for (const auto& other : {std::string("Ann"), std::string("ann "), std::string("an"), std::string("ann\0", 4),
                            std::string(), long_key, long_key + "y"}) {
    CAPTURE(other.size());
    CHECK(has_slot(l, other));
    CHECK_FALSE(has_slot(l, other));
  }
}

// --- The earliest turn of a caller that finds nobody queued ---

TEST_CASE_FIXTURE(at_the_start, "a caller whose turn comes after its deadline is told at once how long to wait") {
  limiter l(four);
  auto permits = take(l, 4);
  nanoseconds wait{};
  SUBCASE("held permits count as back now") { wait = 400ms; }
  SUBCASE("they do so however long they have been held") {
    advance_to(3h);
    wait = 400ms;
  }
  SUBCASE("an answer of a while ago") {
    permits[2].answered();
    advance_to(150ms);
    wait = 250ms;
  }
  SUBCASE("the first of several answers") {
    for (const auto i : {2U, 0U, 3U, 1U}) {
      permits[i].answered();
      manual_clock::advance(10ms);
    }
    wait = 360ms;
  }
  SUBCASE("all given up") {
    permits.clear();
    advance_to(100ms);
    wait = 2'300ms;
  }
  SUBCASE("a held one is back before one that was given up") {
    permits.resize(1);
    wait = 400ms;
  }
  SUBCASE("one that was given up is back before a held one") {
    permits.resize(3);
    advance_to(2'100ms);
    wait = 300ms;
  }
  SUBCASE("a hold of the key that ends later") {
    l.hold("ann", manual_clock::now() + 700ms);
    wait = 700ms;
  }
  SUBCASE("a hold of the key that ends earlier") {
    l.hold("ann", manual_clock::now() + 300ms);
    wait = 400ms;
  }
  const auto asked = manual_clock::elapsed();
  CHECK(told_to_wait(l) == wait);
  CHECK(manual_clock::elapsed() == asked);
  for (auto& permit : permits) permit.answered();
  check_slot_at(l, asked + wait);
}

TEST_CASE_FIXTURE(at_the_start, "the wait is rounded up to a millisecond, so that waiting it out is enough") {
  for (const auto per : {1ns, 999'999ns, 1'000'000ns, 1'000'001ns}) {
    CAPTURE(per);
    manual_clock::reset();
    limiter l({.requests = 1, .per = per, .linger = 0ns});
    send_and_answer(l, 1);
    CHECK(told_to_wait(l) == std::chrono::ceil<milliseconds>(per));
    check_slot_at(l, per);
  }
}

TEST_CASE_FIXTURE(at_the_start, "a deadline at the very turn is enough, a nanosecond less is not") {
  limiter l(one);
  nanoseconds turn = 400ms;
  std::optional<limiter::permit> held;
  SUBCASE("an answered request") { send_and_answer(l, 1); }
  SUBCASE("one given up") {
    send_and_lose(l, 1);
    turn = 2'400ms;
  }
  SUBCASE("a hold") {
    l.hold("ann", manual_clock::now() + 250ms);
    turn = 250ms;
  }
  const auto at = manual_clock::now() + turn;
  const auto refused = l.acquire("ann", at - 1ns);
  REQUIRE_FALSE(refused.has_value());
  check_unsent(refused.error(), errc::rate_limited);
  CHECK(*refused.error().retry_after == turn);
  CHECK(manual_clock::elapsed() == 0ns);

  manual_clock::run_by_itself();
  CHECK(l.acquire("ann", at).has_value());
  CHECK(manual_clock::elapsed() == turn);
}

TEST_CASE_FIXTURE(at_the_start, "a waiter goes when the first slot comes back, long before its deadline") {
  limiter l(four);
  auto permits = take(l, 4);
  permits.pop_back();  // given up
  for (auto& permit : permits) {
    manual_clock::advance(10ms);
    permit.answered();
  }
  manual_clock::run_by_itself();
  for (const auto turn : {410ms, 410ms + step, 410ms + 2 * step, 810ms}) {
    auto permit = l.acquire("ann", manual_clock::now() + 1h);
    REQUIRE(permit.has_value());
    CHECK(manual_clock::elapsed() == turn);
    permit->answered();
  }
}

TEST_CASE_FIXTURE(at_the_start, "a waiter that reaches its deadline all the same is timed out") {
  limiter l(one);
  auto held = take_one(l);
  manual_clock::run_by_itself();
  const auto outcome = l.acquire("ann", manual_clock::now() + 500ms);
  REQUIRE_FALSE(outcome.has_value());
  check_unsent(outcome.error(), errc::timed_out);
  CHECK(manual_clock::elapsed() == 500ms);
  held.answered();
  check_slot_at(l, 900ms);
}

// --- Holds ---

TEST_CASE_FIXTURE(at_the_start, "a hold keeps the free slots of its key back, and of no other") {
  limiter l(four);
  const auto permits = take(l, 1);
  for (int user = 0; user < 300; ++user) send_and_answer(l, 1, std::to_string(user));
  l.hold("ann", manual_clock::now() + 3s);
  CHECK(told_to_wait(l) == 3s);
  for (int user = 0; user < 300; ++user) CHECK(has_slot(l, std::to_string(user)));
  CHECK(has_slot(l, "bob"));
  advance_to(3s - 1ns);
  CHECK_FALSE(has_slot(l));
  advance_to(3s);
  CHECK(count_free(l) == 3);
}

TEST_CASE_FIXTURE(at_the_start, "a hold may come before anything else of its key") {
  limiter l(four);
  l.hold("ann", manual_clock::now() + 3s);
  CHECK(told_to_wait(l) == 3s);
}

TEST_CASE_FIXTURE(at_the_start, "a hold never shortens an earlier one") {
  limiter l(four);
  const auto start = manual_clock::now();
  l.hold("ann", start + 3s);
  for (const auto sooner : {start + 1s, start, start - 1s, time_point::min()}) {
    l.hold("ann", sooner);
    CHECK(told_to_wait(l) == 3s);
  }
  l.hold("ann", start + 4s);
  CHECK(told_to_wait(l) == 4s);
}

TEST_CASE_FIXTURE(at_the_start, "a hold lasts 5 minutes from now at most") {
  limiter l(four);
  for (const auto until : {manual_clock::now() + 5min + 1ns, manual_clock::now() + 24h, time_point::max()}) {
    limiter fresh(four);
    fresh.hold("ann", until);
    CHECK(told_to_wait(fresh) == 5min);
  }
  l.hold("ann", time_point::max());
  advance_to(1min);
  CHECK(told_to_wait(l) == 4min);
  l.hold("ann", time_point::max());
  CHECK(told_to_wait(l) == 5min);
  check_slot_at(l, 6min);
}

TEST_CASE_FIXTURE(at_the_start, "a hold that has passed has no effect") {
  limiter l(four);
  l.hold("ann", manual_clock::now());
  CHECK(has_slot(l));
  l.hold("bob", manual_clock::now() - 1s);
  CHECK(has_slot(l, "bob"));
}

TEST_CASE_FIXTURE(at_the_start, "a waiter is let go when the hold ends, not earlier") {
  limiter l(one);
  send_and_answer(l, 1);
  manual_clock::run_by_itself();
  SUBCASE("a hold that ends after the slot is back") {
    l.hold("ann", manual_clock::now() + 700ms);
    CHECK(l.acquire("ann", time_point::max()).has_value());
    CHECK(manual_clock::elapsed() == 700ms);
  }
  SUBCASE("a hold that ends before") {
    l.hold("ann", manual_clock::now() + 100ms);
    CHECK(l.acquire("ann", time_point::max()).has_value());
    CHECK(manual_clock::elapsed() == 400ms);
  }
}

// --- Canceling before, bad rates, extreme values ---

TEST_CASE_FIXTURE(at_the_start, "a caller canceled before it asks gets nothing and takes nothing") {
  limiter l(one);
  const nango::cancel_source source;
  source.cancel();
  const auto outcome = l.acquire("ann", time_point::max(), source.token());
  REQUIRE_FALSE(outcome.has_value());
  check_unsent(outcome.error(), errc::canceled);
  CHECK(has_slot(l));
  CHECK_FALSE(l.acquire("ann", time_point::max(), source.token()).has_value());
  CHECK(manual_clock::elapsed() == 0ns);
}

TEST_CASE_FIXTURE(at_the_start, "a token that is not canceled does no harm") {
  limiter l(one);
  const nango::cancel_source source;
  send_and_answer(l, 1);
  manual_clock::run_by_itself();
  CHECK(l.acquire("ann", time_point::max(), source.token()).has_value());
  CHECK(manual_clock::elapsed() == 400ms);
}

TEST_CASE_FIXTURE(at_the_start, "a rate that makes no sense makes each call invalid") {
  std::vector<nango::rate> senseless = {
      {.requests = 0},  {.per = 0ns},
      {.per = -1ns},    {.per = nanoseconds::min()},
      {.linger = -1ns}, {.linger = nanoseconds::min()},
  };
  constexpr auto most = (std::numeric_limits<std::size_t>::max)();
  if (most > 0xFFFF'FFFF) senseless.push_back({.requests = most});  // on 32 bits it is a rate as any other
  for (const auto& r : senseless) {
    CAPTURE(r.requests);
    CAPTURE(r.per);
    CAPTURE(r.linger);
    limiter l(r);
    l.hold("ann", manual_clock::now());
    for (int i = 0; i < 2; ++i) {
      const auto outcome = l.acquire("ann", time_point::max());
      REQUIRE_FALSE(outcome.has_value());
      check_unsent(outcome.error(), errc::invalid_argument);
    }
  }
}

TEST_CASE_FIXTURE(at_the_start, "a rate without linger and one with a tiny span make sense") {
  limiter quick({.requests = 100, .per = 1ns, .linger = 0ns});
  send_and_lose(quick, 100);
  check_slot_at(quick, 1ns);
}

TEST_CASE_FIXTURE(at_the_start, "spans and lingers of any length do not overflow") {
  for (const auto per : {nanoseconds(24h * 365), nanoseconds::max() / 2, nanoseconds::max()}) {
    for (const auto requests : {1U, 3U}) {
      CAPTURE(per);
      CAPTURE(requests);
      manual_clock::reset();
      limiter l({.requests = requests, .per = per, .linger = nanoseconds::max()});
      auto permits = take(l, requests);
      CHECK(told_to_wait(l) >= 24h * 365);
      permits.front().answered();
      permits.clear();
      CHECK(told_to_wait(l) >= 24h * 365);
      manual_clock::advance(24h * 364);
      CHECK_FALSE(has_slot(l));
      CHECK(told_to_wait(l) >= 24h);
      manual_clock::run_by_itself();
      CHECK(l.acquire("ann", time_point::max() - 1ns).has_value());
    }
  }
}

TEST_CASE_FIXTURE(at_the_start, "a clock near its end does not overflow") {
  limiter l(one);
  manual_clock::advance(time_point::max() - manual_clock::now() - 300ms);
  send_and_answer(l, 1);
  l.hold("ann", time_point::max());
  CHECK(told_to_wait(l) == 300ms);
  send_and_lose(l, 1, "bob");
  CHECK(told_to_wait(l, "bob") == 300ms);
  CHECK(has_slot(l, "cid"));
}

TEST_CASE_FIXTURE(at_the_start, "a jump of the clock frees what has run out, and no more than `requests`") {
  limiter l(four);
  auto permits = take(l, 4);
  permits[0].answered();
  permits[1].answered();
  permits.erase(permits.begin() + 2);
  manual_clock::advance(24h * 30);
  auto more = take(l, 3);
  CHECK_FALSE(has_slot(l));
  permits.clear();
  CHECK(told_to_wait(l) == 400ms);
}

// --- Limiters of other kinds ---

TEST_CASE("unlimited never waits, refuses or holds") {
  nango::unlimited l;
  const nango::cancel_source source;
  source.cancel();
  l.hold("ann", time_point::max());
  std::vector<nango::unlimited::permit> permits;
  for (int i = 0; i < 1'000; ++i) {
    auto permit = l.acquire("ann", time_point::min(), source.token());
    REQUIRE(permit.has_value());
    permits.push_back(*std::move(permit));
  }
  permits.front().answered();
}

namespace {

struct custom_limiter {
  using clock = manual_clock;
  struct permit {
    void answered() {}
  };
  nango::result<permit> acquire(std::string_view, time_point, nango::cancel_token) { return permit{}; }
  void hold(std::string_view, time_point) {}
};

struct without_clock {
  using permit = custom_limiter::permit;
  nango::result<permit> acquire(std::string_view, time_point, nango::cancel_token);
  void hold(std::string_view, time_point);
};
struct with_wall_clock : custom_limiter {
  using clock = std::chrono::system_clock;
};
struct without_result : custom_limiter {
  permit acquire(std::string_view, time_point, nango::cancel_token);
};
struct without_token : custom_limiter {
  nango::result<permit> acquire(std::string_view, time_point);
};
struct without_hold {
  using clock = manual_clock;
  using permit = custom_limiter::permit;
  nango::result<permit> acquire(std::string_view, time_point, nango::cancel_token);
};
struct without_answered : custom_limiter {
  struct permit {};
  nango::result<permit> acquire(std::string_view, time_point, nango::cancel_token);
};

}  // namespace

TEST_CASE("a custom limiter needs a clock, permits, acquire and hold") {
  CHECK(nango::rate_limiter<nango::sliding_window>);
  CHECK(nango::rate_limiter<limiter>);
  CHECK(nango::rate_limiter<nango::unlimited>);
  CHECK(nango::rate_limiter<custom_limiter>);
  CHECK_FALSE(nango::rate_limiter<without_clock>);
  CHECK_FALSE(nango::rate_limiter<with_wall_clock>);
  CHECK_FALSE(nango::rate_limiter<without_result>);
  CHECK_FALSE(nango::rate_limiter<without_token>);
  CHECK_FALSE(nango::rate_limiter<without_hold>);
  CHECK_FALSE(nango::rate_limiter<without_answered>);
  CHECK_FALSE(nango::rate_limiter<int>);
}

TEST_CASE("the default limiter takes the steady clock's time and is a handle") {
  CHECK(std::same_as<nango::sliding_window, nango::basic_sliding_window<nango::steady_clock>>);
  CHECK(std::same_as<nango::sliding_window::clock, nango::steady_clock>);
  CHECK(std::is_copy_constructible_v<nango::sliding_window>);
  CHECK(std::is_copy_assignable_v<nango::sliding_window>);
  nango::sliding_window l(one);
  const auto before = std::chrono::steady_clock::now();
  CHECK(nango::steady_clock::now() >= before);
  const auto held = l.acquire("ann", before);
  CHECK(held.has_value());
  CHECK(told_to_wait(l) > 0ms);
}

TEST_CASE("the steady clock's wait returns false when the time has come") {
  std::mutex mutex;
  std::condition_variable wake;
  std::unique_lock lock(mutex);
  CHECK_FALSE(nango::steady_clock::wait_until(wake, lock, nango::steady_clock::now()));
  CHECK_FALSE(nango::steady_clock::wait_until(wake, lock, time_point::min()));
  CHECK(lock.owns_lock());
}

}  // namespace rate_limiter_tests
