// The default limiter's promises, each moved through by hand on a clock that stands still, and what a limiter of one's
// own must have.
#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"

template <class Rep, class Period> struct doctest::StringMaker<std::chrono::duration<Rep, Period>> {
  static doctest::String convert(std::chrono::duration<Rep, Period> d) {
    return doctest::toString(std::chrono::duration<double, std::milli>(d).count()) + " ms";
  }
};

namespace {

using namespace std::chrono_literals;
using nango::errc;
using nango_test::manual_clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using time_point = std::chrono::steady_clock::time_point;
using limiter = nango::basic_sliding_window<manual_clock>;

// 1.01 * per / requests is 101 ms to the nanosecond.
constexpr nango::rate four{.requests = 4, .per = 400ms, .linger = 2s};
constexpr nango::rate one{.requests = 1, .per = 400ms, .linger = 2s};
constexpr auto step = 101ms;

struct at_the_start {
  at_the_start() { manual_clock::reset(); }
};

void advance_to(nanoseconds since_start) { manual_clock::advance(since_start - manual_clock::elapsed()); }

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

void check_unsent(const nango::error& e, errc code) {
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

}  // namespace

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

TEST_CASE_FIXTURE(at_the_start, "a hold that has passed says nothing") {
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

// --- Callers in line ---

namespace {

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

void strictly_to(nanoseconds since_start) { strict_clock::advance(since_start - manual_clock::elapsed()); }

void check_departure(const line::departure& left, std::size_t caller, nanoseconds at,
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
void check_permits(line& callers, const std::vector<expected>& turns) {
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

}  // namespace

TEST_CASE_FIXTURE(at_the_start, "callers that had to wait go first come, first served, 1.01 * per / requests apart") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.answer_at_once();
  callers.join(9);
  std::vector<expected> turns;
  for (std::size_t i = 0; i < 9; ++i) turns.push_back({i, 400ms + step * static_cast<int>(i)});
  check_permits(callers, turns);
}

TEST_CASE_FIXTURE(at_the_start, "the slot decides where it comes back after the step") {
  strict_limiter l(four);
  auto permits = take(l, 4);
  line callers(l);
  callers.join(4);
  for (const auto back : {0ms, 50ms, 300ms, 310ms}) {
    strictly_to(back);
    permits.pop_back();  // given up, so back 2.4 s later
  }
  check_permits(callers, {{0, 2'400ms}, {1, 2'501ms}, {2, 2'700ms}, {3, 2'801ms}});
}

TEST_CASE_FIXTURE(at_the_start, "who comes after one that had to wait keeps the step, though there are free slots") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  check_permits(callers, {{0, 400ms}});
  CHECK(told_to_wait(l) == step);
  strictly_to(400ms + step - 1ns);
  CHECK_FALSE(has_slot(l));
  strictly_to(400ms + step);
  send_and_answer(l, 1);  // which did not have to wait, but whoever comes next does
  CHECK(told_to_wait(l) == step);
}

TEST_CASE_FIXTURE(at_the_start, "when nobody had to wait for two spans, free slots are given at once again") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  check_permits(callers, {{0, 400ms}});
  SUBCASE("a nanosecond too early") {
    strictly_to(400ms + 2 * four.per - 1ns);
    send_and_answer(l, 2);  // the schedule makes up for one step
    CHECK_FALSE(has_slot(l));
  }
  SUBCASE("calls that need not wait do not put it off") {
    strictly_to(700ms);
    send_and_answer(l, 1);
    strictly_to(400ms + 2 * four.per);
    CHECK(take(l, 4).size() == 4);
  }
}

TEST_CASE_FIXTURE(at_the_start, "a caller waits behind those who queue, though there are free slots") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.join(2);
  check_permits(callers, {{0, 400ms}});
  strictly_to(410ms);
  CHECK(told_to_wait(l) == 400ms + 2 * step - 410ms);
  callers.join(1);
  check_permits(callers, {{1, 501ms}, {2, 602ms}});
}

TEST_CASE_FIXTURE(at_the_start, "the steps go on for one who queues soon after the others have gone") {
  strict_limiter l(one);
  send_and_answer(l, 1);
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  check_permits(callers, {{0, 400ms}});
  CHECK(told_to_wait(l) == 404ms);
  callers.join(1);
  check_permits(callers, {{1, 804ms}});
}

TEST_CASE_FIXTURE(at_the_start, "callers kept back by a hold go one by one after it, though all slots are free") {
  strict_limiter l(four);
  l.hold("ann", manual_clock::now() + 1s);
  line callers(l);
  callers.join(3);
  CHECK(told_to_wait(l) == 1s + 3 * step);
  check_permits(callers, {{0, 1s}, {1, 1s + step}, {2, 1s + 2 * step}});
}

TEST_CASE_FIXTURE(at_the_start, "a clock that jumps makes up for one step, and no burst") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.join(3);
  strict_clock::advance(1h);
  REQUIRE(callers.settle() == 2);
  CHECK(told_to_wait(l) == 2 * step);
  strictly_to(1h + step - 1ns);
  REQUIRE(callers.settle() == 2);
  strictly_to(1h + step);
  REQUIRE(callers.settle() == 3);
}

TEST_CASE_FIXTURE(at_the_start, "a waiter that woke late does not shift those behind it") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.join(3);
  strictly_to(430ms);  // the first was due at 400 ms
  check_permits(callers, {{0, 430ms}});
  CHECK(told_to_wait(l) == 400ms + 3 * step - 430ms);
  check_permits(callers, {{1, 400ms + step}});
  strictly_to(400ms + 2 * step + 70ms);
  check_permits(callers, {{2, 400ms + 2 * step + 70ms}});
  callers.join(1);
  check_permits(callers, {{3, 400ms + 3 * step}});
}

TEST_CASE_FIXTURE(at_the_start, "a pace of many small steps makes up for a hundredth of the span") {
  const nango::rate many{.requests = 1'000, .per = 1s};
  strict_limiter l(many);
  send_and_answer(l, 1'000);
  line callers(l);
  callers.answer_at_once();
  callers.join(30);
  strictly_to(1s + 5ms);  // five steps late: six are due
  REQUIRE(callers.settle() == 5);
  strictly_to(1s + 5'050us);
  REQUIRE(callers.settle() == 6);
  strictly_to(1s + 105ms);  // a stall: ten steps are made up for
  REQUIRE(callers.settle() == 16);
}

TEST_CASE_FIXTURE(at_the_start, "callers of other keys do not wait for a queue") {
  strict_limiter l(four);
  const auto held = take(l, 4);
  line callers(l);
  callers.join(3);
  for (int user = 0; user < 300; ++user) CHECK(has_slot(l, std::to_string(user)));
  CHECK(callers.settle() == 0);
}

TEST_CASE_FIXTURE(at_the_start, "queues of several keys do not space each other") {
  strict_limiter l(four);
  send_and_answer(l, 4, "ann");
  send_and_answer(l, 4, "bob");
  line callers(l);
  for (const auto* key : {"ann", "bob", "ann", "bob"}) callers.join(key);
  strictly_to(400ms - 1ns);
  CHECK(callers.settle() == 0);
  strictly_to(400ms);
  CHECK(callers.settle() == 2);
  strictly_to(400ms + step);
  CHECK(callers.settle() == 4);
  CHECK(callers.await(0).caller + callers.await(1).caller == 1);
}

TEST_CASE_FIXTURE(at_the_start, "a permit that comes back wakes the first in line, who wakes the next") {
  strict_limiter l(nango::rate{.requests = 2, .per = 400ms, .linger = 2s});
  auto held = take(l, 2);
  line callers(l);
  callers.join(3);
  strictly_to(100ms);
  held[1].answered();
  strictly_to(500ms);
  check_departure(callers.await(0), 0, 500ms);
  held[0].answered();
  strictly_to(900ms);
  check_departure(callers.await(1), 1, 900ms);
  callers.await(0).outcome->answered();
  strictly_to(1'300ms);
  check_departure(callers.await(2), 2, 1'300ms);
}

TEST_CASE_FIXTURE(at_the_start, "a line needs nothing but the clock to move on") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.join(4);
  for (std::size_t i = 0; i < 4; ++i) {
    strictly_to(400ms + step * static_cast<int>(i));
    check_departure(callers.await(i), i, 400ms + step * static_cast<int>(i));
  }
}

TEST_CASE_FIXTURE(at_the_start, "a permit that comes back makes a turn earlier that waits for one given up") {
  strict_limiter l(nango::rate{.requests = 2, .per = 400ms, .linger = 2s});
  auto held = take(l, 2);
  held.pop_back();
  line callers(l);
  callers.join(1);
  strictly_to(50ms);
  held.front().answered();
  strictly_to(450ms);
  check_departure(callers.await(0), 0, 450ms);
}

TEST_CASE_FIXTURE(at_the_start, "a hold delays those who wait already, and wakes nobody early") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.join(2);
  SUBCASE("to its end where that is later") {
    l.hold("ann", manual_clock::now() + 1s);
    CHECK(callers.settle() == 0);
    check_permits(callers, {{0, 1s}, {1, 1s + step}});
  }
  SUBCASE("not at all where it ends before their turn") {
    l.hold("ann", manual_clock::now() + 300ms);
    check_permits(callers, {{0, 400ms}, {1, 400ms + step}});
  }
  SUBCASE("between two of them") {
    check_permits(callers, {{0, 400ms}});
    l.hold("ann", manual_clock::now() + 3s);
    check_permits(callers, {{1, 3'400ms}});
  }
  SUBCASE("not at all where it is another key's") {
    l.hold("bob", manual_clock::now() + 1s);
    check_permits(callers, {{0, 400ms}, {1, 400ms + step}});
  }
}

TEST_CASE_FIXTURE(at_the_start, "a hold that outlasts a waiter's deadline times it out") {
  strict_limiter l(one);
  send_and_answer(l, 1);
  line callers(l);
  callers.join("ann", manual_clock::now() + 500ms);
  l.hold("ann", manual_clock::now() + 1s);
  strictly_to(500ms - 1ns);
  CHECK(callers.settle() == 0);
  strictly_to(500ms);
  check_departure(callers.await(0), 0, 500ms, errc::timed_out);
}

// --- Leaving the line ---

TEST_CASE_FIXTURE(at_the_start, "a waiter that times out hands its turn on") {
  strict_limiter l(one);
  auto held = take(l, 1);
  line callers(l);
  SUBCASE("the first in line") {
    callers.join("ann", manual_clock::now() + 450ms);
    callers.join(2);
    strictly_to(100ms);
    held.front().answered();
    strictly_to(450ms);
    check_departure(callers.await(0), 0, 450ms, errc::timed_out);
    strictly_to(500ms);
    check_departure(callers.await(1), 1, 500ms);
  }
  SUBCASE("the second") {
    callers.join(1);
    callers.join("ann", manual_clock::now() + 850ms);
    callers.join(1);
    held.front().answered();
    strictly_to(400ms);
    check_departure(callers.await(0), 0, 400ms);
    strictly_to(850ms);
    check_departure(callers.await(1), 1, 850ms, errc::timed_out);
    callers.await(0).outcome->answered();
    strictly_to(1'250ms);
    check_departure(callers.await(2), 2, 1'250ms);
  }
}

TEST_CASE_FIXTURE(at_the_start, "a waiter that is canceled is gone within 100 ms and hands its turn on") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  const std::array<nango::cancel_source, 4> sources;
  for (const auto& source : sources) callers.join("ann", std::nullopt, source.token());
  callers.join(1);

  SUBCASE("the first in line") {
    sources[0].cancel();
    strictly_to(100ms);
    check_departure(callers.await(0), 0, 100ms, errc::canceled);
    check_permits(callers, {{1, 400ms}, {2, 400ms + step}, {3, 400ms + 2 * step}, {4, 400ms + 3 * step}});
  }
  SUBCASE("the second") {
    sources[1].cancel();
    strictly_to(100ms);
    check_departure(callers.await(0), 1, 100ms, errc::canceled);
    check_permits(callers, {{0, 400ms}, {2, 400ms + step}, {3, 400ms + 2 * step}});
  }
  SUBCASE("all that can be") {
    for (const auto& source : sources) source.cancel();
    strictly_to(100ms);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      auto& left = callers.await(i);
      check_departure(left, left.caller, 100ms, errc::canceled);
    }
    check_permits(callers, {{4, 400ms}});
  }
  SUBCASE("one after others have gone") {
    check_permits(callers, {{0, 400ms}});
    sources[1].cancel();
    strictly_to(450ms);
    callers.settle();
    check_departure(callers.await(1), 1, 450ms, errc::canceled);
    check_permits(callers, {{2, 400ms + step}});
  }
}

TEST_CASE_FIXTURE(at_the_start, "the next in line need not look by itself when the first is canceled") {
  strict_limiter l(one);
  send_and_answer(l, 1);
  line callers(l);
  const nango::cancel_source source;
  callers.join("ann", std::nullopt, source.token());
  callers.join();
  source.cancel();
  strictly_to(100ms);
  check_departure(callers.await(0), 0, 100ms, errc::canceled);
  strictly_to(400ms);
  check_departure(callers.await(1), 1, 400ms);
}

TEST_CASE_FIXTURE(at_the_start, "a line that has emptied can fill again") {
  strict_limiter l(four);
  const auto held = take(l, 4);
  line callers(l);
  const nango::cancel_source source;
  for (int i = 0; i < 3; ++i) callers.join("ann", std::nullopt, source.token());
  source.cancel();
  strictly_to(100ms);
  CHECK(callers.settle() == 3);
  callers.join(2);
  CHECK(callers.settle() == 3);
  CHECK(told_to_wait(l) == 400ms + 2 * step);
}

// --- The earliest turn of a caller behind others ---

TEST_CASE_FIXTURE(at_the_start, "the earliest turn counts those in front, a step for each") {
  strict_limiter l(four);
  auto permits = take(l, 4);
  line callers(l);
  SUBCASE("all slots held: back now, so a span from now, and then step by step") {
    strictly_to(30ms);
    for (int queued = 0; queued < 7; ++queued) {
      CAPTURE(queued);
      CHECK(told_to_wait(l) == 400ms + queued * step);
      callers.join(1);
    }
  }
  SUBCASE("slots that come back at different times") {
    permits[2].answered();
    strictly_to(300ms);
    permits[0].answered();
    permits.erase(permits.begin() + 1);
    for (const auto turn : {400ms, 700ms, 801ms}) {  // the last is a held one, were it back now
      CHECK(told_to_wait(l) == turn - 300ms);
      callers.join(1);
    }
  }
}

namespace {

// What the limiter should know of a key, and the turns that follow when each step is played through.
struct key_model {
  nango::rate limits;
  std::vector<nanoseconds> back;  // one for each slot
  nanoseconds held_until{};

  std::vector<nanoseconds> turns(nanoseconds now, std::size_t count) const {
    auto slots = back;
    std::vector<nanoseconds> turns;
    auto earliest = (std::max)(now, held_until);
    for (std::size_t i = 0; i < count; ++i) {
      const auto slot = std::min_element(slots.begin(), slots.end());
      turns.push_back((std::max)(earliest, *slot));
      *slot = turns.back() + limits.per;
      earliest = turns.back() + limits.per * 101 / 100 / static_cast<std::int64_t>(limits.requests);
    }
    return turns;
  }
};

// Slots that are free, held, answered or given up, and perhaps a hold. Time has passed when it returns.
key_model make_scene(std::mt19937& random, strict_limiter& l, std::vector<strict_limiter::permit>& held) {
  const auto up_to = [&](int most) { return std::uniform_int_distribution(0, most)(random); };
  key_model model{l.rate(), {}, {}};
  const auto requests = static_cast<int>(l.rate().requests);
  const auto taken = up_to(1) == 0 ? requests : up_to(requests);
  for (auto& permit : take(l, static_cast<std::size_t>(taken))) {
    strict_clock::advance(milliseconds(up_to(80)));
    const auto now = manual_clock::elapsed();
    switch (up_to(2)) {
      case 0: held.push_back(std::move(permit)); break;
      case 1:
        permit.answered();
        model.back.push_back(now + l.rate().per);
        break;
      default: permit = {}; model.back.push_back(now + l.rate().linger + l.rate().per);
    }
  }
  strict_clock::advance(milliseconds(up_to(120)));
  const auto now = manual_clock::elapsed();
  model.back.resize(model.back.size() + held.size(), now + l.rate().per);  // those held are back now
  model.back.resize(l.rate().requests, now);
  if (taken < requests || up_to(2) == 0) {
    model.held_until = now + milliseconds(up_to(500));
    l.hold("ann", manual_clock::now() + (model.held_until - now));
  }
  return model;
}

// Whoever comes `queued` places behind is told the turn to the millisecond, may have it as its deadline, and gets it.
void check_earliest_turn(std::mt19937& random, milliseconds linger) {
  manual_clock::reset();
  const auto requests = std::uniform_int_distribution(1, 5)(random);
  const auto queued = std::uniform_int_distribution(0, 2 * requests + 2)(random);
  strict_limiter l(
      nango::rate{.requests = static_cast<std::size_t>(requests), .per = requests * 100ms, .linger = linger});
  std::vector<strict_limiter::permit> held;
  auto model = make_scene(random, l, held);
  const auto now = manual_clock::elapsed();
  line callers(l);
  callers.answer_at_once();
  const auto turns = model.turns(now, static_cast<std::size_t>(queued) + 1);
  if (turns.front() == now) return;  // there is nothing to wait for
  callers.join(queued);
  CAPTURE(requests);
  CAPTURE(queued);
  CAPTURE(linger);
  CAPTURE(now);
  CHECK(told_to_wait(l) == turns.back() - now);
  callers.join("ann", manual_clock::now() + (turns.back() - now));
  for (auto& permit : held) permit.answered();
  std::vector<expected> all;
  for (const auto turn : turns) all.push_back({all.size(), turn});
  check_permits(callers, all);
}

}  // namespace

TEST_CASE_FIXTURE(at_the_start, "the earliest turn is what playing it through gives") {
  std::mt19937 random(20'220'801);
  for (int scene = 0; scene < 300; ++scene) {
    CAPTURE(scene);
    check_earliest_turn(random, 0ms);
  }
}

TEST_CASE_FIXTURE(at_the_start, "the earliest turn is what playing it through gives, some given up") {
  std::mt19937 random(20'220'802);
  for (int scene = 0; scene < 300; ++scene) {
    CAPTURE(scene);
    check_earliest_turn(random, milliseconds(std::uniform_int_distribution(0, 1'500)(random)));
  }
}

TEST_CASE_FIXTURE(at_the_start, "a slot that turns over twice before one given up is back serves two callers") {
  strict_limiter l(nango::rate{.requests = 2, .per = 1s, .linger = 5s});
  auto permits = take(l, 2);
  permits[0].answered();
  permits.clear();
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  CHECK(told_to_wait(l) == 2s);
  callers.join("ann", manual_clock::now() + 3s);
  check_permits(callers, {{0, 1s}, {1, 2s}});
}

// --- Forgetting ---

// Of the whole program, to see that nothing grows for ever. Inlined, GCC 12 takes them for a mismatched pair.
namespace {
std::atomic<std::size_t> largest_allocation{0}, bytes_in_use{0};
#ifdef _WIN32
std::size_t size_of(void* memory) { return (memory != nullptr ? ::_msize(memory) : 0) + sizeof(std::size_t); }
#else
std::size_t size_of(void* memory) { return ::malloc_usable_size(memory) + sizeof(std::size_t); }
#endif
}  // namespace
[[gnu::noinline]] void* operator new(std::size_t size) {
  for (auto known = largest_allocation.load();
       known < size && !largest_allocation.compare_exchange_weak(known, size);) {
  }
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  bytes_in_use += size_of(memory);
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  if (memory != nullptr) bytes_in_use -= size_of(memory);
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

// Calls that go on for one key, each finding a slot free.
template <class Limiter> void keep_busy(Limiter& l, int calls, std::string_view key) {
  for (int i = 0; i < calls; ++i) {
    auto permit = l.acquire(key, manual_clock::now());
    if (permit) permit->answered();
  }
}

}  // namespace

TEST_CASE_FIXTURE(at_the_start, "keys that are idle are forgotten while calls go on") {
  limiter l(four);
  constexpr int keys = 10'000;
  auto forgotten_after = four.per;
  SUBCASE("seen once and answered") {
    for (int user = 0; user < keys; ++user) send_and_answer(l, 1, std::to_string(user));
  }
  SUBCASE("given up") {
    for (int user = 0; user < keys; ++user) send_and_lose(l, 1, std::to_string(user));
    forgotten_after = four.per + four.linger;
  }
  SUBCASE("held back only") {
    for (int user = 0; user < keys; ++user) l.hold(std::to_string(user), manual_clock::now() + 1s);
    forgotten_after = 1s;
  }
  advance_to(forgotten_after - 1ns);
  keep_busy(l, 2 * keys, "busy");
  CHECK(l.size() == keys + 1);
  advance_to(forgotten_after);
  keep_busy(l, 2 * keys, "busy");
  CHECK(l.size() == 1);
}

TEST_CASE_FIXTURE(at_the_start, "when a crowd has gone, the few that follow are forgotten the sooner") {
  limiter l(four);
  for (int user = 0; user < 20'000; ++user) send_and_answer(l, 1, std::to_string(user));
  manual_clock::advance(400ms);
  keep_busy(l, 40'000, "busy");
  for (int user = 0; user < 300; ++user) send_and_answer(l, 1, std::to_string(user));
  manual_clock::advance(400ms);
  keep_busy(l, 4'000, "busy");
  CHECK(l.size() == 1);
}

TEST_CASE_FIXTURE(at_the_start, "with ever new keys, memory follows those of the last span") {
  limiter l(four);
  std::size_t most = 0;
  for (int user = 0; user < 60'000; ++user) {
    send_and_answer(l, 1, std::to_string(user));
    manual_clock::advance(1ms);
    most = (std::max)(most, l.size());
  }
  CHECK(most >= 400);
  CHECK(most < 20'000);
}

TEST_CASE_FIXTURE(at_the_start, "the memory of 1,000,000 keys seen once is given back, but for that of the active") {
  limiter l(four);
  const auto call = [&](int user) {
    if (auto permit = ask(l, std::to_string(user))) permit->answered();
  };
  constexpr int active = 100, seen_once = 1'000'000;
  const auto go_on = [&](int calls) {  // each of the active takes all of its slots
    for (int i = 0; i < calls; ++i, manual_clock::advance(1ms)) call(i % active);
  };
  go_on(1'000);
  const auto before = bytes_in_use.load();
  for (int user = active; user < active + seen_once; ++user) call(user);
  CHECK(l.size() == active + seen_once);
  CHECK(bytes_in_use - before > 100 * seen_once);
  go_on(1'000'000);
  CHECK(l.size() == active);
  CHECK(bytes_in_use.load() < before + 100'000);  // the tables keep a few places
}

TEST_CASE_FIXTURE(at_the_start, "a key with one recent call takes less than 200 bytes") {
  limiter l(four);
  const auto before = bytes_in_use.load();
  constexpr std::size_t keys = 10'000;
  for (std::size_t user = 0; user < keys; ++user) {
    const auto number = std::to_string(10'000'000 + user);
    send_and_answer(l, 1, number + "-bf22-42e6-aa31-b75cd41749ab");  // user tokens are UUIDs
  }
  CHECK(l.size() == keys);
  CHECK((bytes_in_use - before) / keys < 200);
}

TEST_CASE_FIXTURE(at_the_start, "a key that still says something is not forgotten") {
  limiter l(one);
  std::optional<limiter::permit> held;
  nanoseconds until = 1s;
  SUBCASE("a permit is held") { held = take_one(l); }
  SUBCASE("an answer still counts") {
    advance_to(600ms + 1ns);
    send_and_answer(l, 1);
  }
  SUBCASE("one given up still counts") { send_and_lose(l, 1); }
  SUBCASE("it is held back") { l.hold("ann", manual_clock::now() + 1s + 1ns); }
  advance_to(until);
  keep_busy(l, 20'000, "busy");
  CHECK(l.size() == 2);
  CHECK_FALSE(has_slot(l));
}

TEST_CASE_FIXTURE(at_the_start, "a key with a waiter is not forgotten, however late that wakes") {
  strict_limiter l(four);
  l.hold("ann", manual_clock::now() + 1s);
  line callers(l);
  callers.join(1);
  manual_clock::advance(10s);  // which wakes nobody
  keep_busy(l, 20'000, "busy");
  REQUIRE(l.size() == 2);
  CHECK(callers.settle() == 1);
  check_departure(callers.await(0), 0, 10s);
}

TEST_CASE_FIXTURE(at_the_start, "the steps of a line are not forgotten before the last has passed") {
  strict_limiter l(one);
  send_and_answer(l, 1);
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  check_permits(callers, {{0, 400ms}});
  strictly_to(801ms);  // the slot is back, the step ends at 804 ms
  keep_busy(l, 20'000, "busy");
  l.hold("ann", manual_clock::now() + 1ms);
  CHECK(told_to_wait(l) == 3ms);
}

TEST_CASE_FIXTURE(at_the_start, "a key whose callers go step by step is not forgotten before two spans have passed") {
  strict_limiter l(four);
  send_and_answer(l, 4);
  line callers(l);
  callers.answer_at_once();
  callers.join(1);
  check_permits(callers, {{0, 400ms}});
  strictly_to(400ms + 2 * four.per - 1ms);  // all slots are back and the step is over
  keep_busy(l, 20'000, "busy");
  CHECK(l.size() == 2);
  send_and_answer(l, 2);  // the schedule makes up for one step
  CHECK_FALSE(has_slot(l));
}

TEST_CASE_FIXTURE(at_the_start, "what is kept of a busy key does not grow with its calls") {
  limiter l(nango::rate{.requests = 100, .per = 100ms, .linger = 300ms});
  largest_allocation = 0;
  for (int i = 0; i < 50'000; ++i) {
    i % 10 == 0 ? send_and_lose(l, 1) : send_and_answer(l, 1);
    manual_clock::advance(2ms);
  }
  CHECK(largest_allocation > 0);
  CHECK(largest_allocation < 16'384);
}

TEST_CASE_FIXTURE(at_the_start, "a key that was forgotten starts anew, and its earlier permits with it") {
  limiter l(four);
  send_and_answer(l, 4);
  advance_to(400ms);
  keep_busy(l, 20'000, "busy");
  CHECK(l.size() == 1);
  CHECK(take(l, 4).size() == 4);
  CHECK(l.size() == 2);
}

// --- The promise, against every order that a network can make ---

namespace {

struct arrival {
  nanoseconds earliest{}, latest{};
};

std::size_t most_in_a_span(const std::vector<arrival>& seen, nanoseconds per) {
  std::vector<nanoseconds> earliest, latest;
  for (const auto& a : seen) {
    earliest.push_back(a.earliest);
    latest.push_back(a.latest);
  }
  std::sort(earliest.begin(), earliest.end());
  std::sort(latest.begin(), latest.end());
  std::ptrdiff_t most = 0;
  for (const auto from : latest) {
    const auto begun = std::lower_bound(earliest.begin(), earliest.end(), from + per) - earliest.begin();
    const auto over = std::lower_bound(latest.begin(), latest.end(), from) - latest.begin();
    most = (std::max)(most, begun - over);
  }
  return static_cast<std::size_t>(most);
}

std::vector<arrival> points(std::initializer_list<nanoseconds> times) {
  std::vector<arrival> seen;
  for (const auto t : times) seen.push_back({t, t});
  return seen;
}

// One program, its requests under way, and what the server sees of them.
class network {
 public:
  network(unsigned seed, const nango::rate& r) : random_(seed), limiter_(r) {}

  void step() {
    switch (up_to(5)) {
      case 0: manual_clock::advance(milliseconds(up_to(30))); break;
      case 1:
      case 2:
        if (!under_way_.empty()) finish(static_cast<std::size_t>(up_to(static_cast<int>(under_way_.size()) - 1)));
        break;
      default: send();
    }
  }

  const std::vector<arrival>& seen() const { return seen_; }
  const std::vector<arrival>& possible() const { return possible_; }

 private:
  struct flight {
    limiter::permit permit{};
    nanoseconds sent{};
  };

  int up_to(int most) { return std::uniform_int_distribution(0, most)(random_); }

  void send() {
    auto permit = limiter_.acquire("ann", manual_clock::now() + milliseconds(up_to(1) * up_to(300)));
    if (permit) {
      under_way_.push_back({*std::move(permit), manual_clock::elapsed()});
    } else if (permit.error().retry_after && up_to(2) == 0) {
      manual_clock::advance(*permit.error().retry_after);
    }
  }

  void finish(std::size_t which) {
    auto& ending = under_way_[which];
    auto latest = manual_clock::elapsed();
    const bool lost = up_to(4) == 0;
    if (lost) {
      latest += limiter_.rate().linger;
    } else {
      ending.permit.answered();
    }
    possible_.push_back({ending.sent, latest});
    if (!lost || up_to(1) == 0) arrive(ending.sent, latest);
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void arrive(nanoseconds earliest, nanoseconds latest) {
    const auto between = earliest + (latest - earliest) * up_to(100) / 100;
    const auto at = std::array{earliest, latest, between}[static_cast<std::size_t>(up_to(2))];
    seen_.push_back({at, at});
  }

  std::mt19937 random_;
  limiter limiter_;
  std::vector<flight> under_way_{};
  std::vector<arrival> seen_{}, possible_{};
};

}  // namespace

TEST_CASE("the oracle sees a span with too many arrivals") {
  CHECK(most_in_a_span({}, 100ms) == 0);
  CHECK(most_in_a_span(points({0ms, 50ms, 100ms}), 100ms) == 2);
  CHECK(most_in_a_span(points({0ms, 50ms, 100ms - 1ns}), 100ms) == 3);
  CHECK(most_in_a_span(points({500ms, 0ms, 520ms, 90ms, 599ms, 600ms}), 100ms) == 3);
  CHECK(most_in_a_span(points({7ms, 7ms, 7ms, 7ms}), 1ns) == 4);
  CHECK(most_in_a_span({{0ms, 10ms}, {110ms, 120ms}}, 100ms) == 1);
  CHECK(most_in_a_span({{0ms, 10ms + 1ns}, {110ms, 120ms}}, 100ms) == 2);
  CHECK(most_in_a_span({{0ms, 1'000ms}, {10ms, 20ms}, {500ms, 510ms}}, 100ms) == 2);
}

TEST_CASE_FIXTURE(at_the_start, "the oracle sees what a limiter that counts from the sending lets through") {
  std::vector<arrival> seen;
  for (int i = 0; i < 8; ++i) {
    const auto sent = i / 4 * 100ms;
    const auto delay = i < 4 ? 99ms : 0ms;
    seen.push_back({sent + delay, sent + delay});
  }
  CHECK(most_in_a_span(seen, 100ms) == 8);
}

TEST_CASE_FIXTURE(at_the_start, "whatever the network does, no span of `per` sees more than `requests`") {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    manual_clock::reset();
    manual_clock::run_by_itself();
    const nango::rate r{.requests = 1 + seed % 7, .per = 40ms * (1 + seed % 5), .linger = 70ms * (seed % 4)};
    network net(seed, r);
    for (int i = 0; i < 4'000; ++i) net.step();
    CHECK(net.seen().size() > 300);
    CHECK(most_in_a_span(net.seen(), r.per) <= r.requests);
    CHECK(most_in_a_span(net.possible(), r.per) == r.requests);  // all that it allows, and no more
  }
}

// --- Many threads ---

namespace {

constexpr nango::rate busy{.requests = 3, .per = 20ms, .linger = 30ms};
const std::array<std::string, 3> users{"ann", "bob", "cid"};

struct record {
  std::array<std::vector<arrival>, users.size()> possible{};
  std::size_t given = 0, refused = 0;
  std::vector<errc> others{};
};

// A thread's calls: some cannot wait long, some are canceled, some never hear of an answer.
record call_often(limiter l, unsigned seed) {
  std::mt19937 random(seed);
  const auto up_to = [&](int most) { return std::uniform_int_distribution(0, most)(random); };
  record mine;
  for (int i = 0; i < 150; ++i) {
    const auto user = static_cast<std::size_t>(up_to(static_cast<int>(users.size()) - 1));
    const nango::cancel_source source;
    if (up_to(19) == 0) source.cancel();
    const auto deadline = up_to(2) == 0 ? manual_clock::now() + milliseconds(up_to(60)) : time_point::max();
    auto permit = l.acquire(users[user], deadline, up_to(1) == 0 ? source.token() : nango::cancel_token());
    if (!permit) {
      ++mine.refused;
      mine.others.push_back(permit.error().code);
      continue;
    }
    ++mine.given;
    const auto sent = manual_clock::elapsed();
    for (auto naps = up_to(5); naps > 0; --naps) std::this_thread::yield();
    const bool lost = up_to(6) == 0;
    mine.possible[user].push_back({sent, manual_clock::elapsed() + (lost ? busy.linger : 0ns)});
    if (!lost) permit->answered();
    if (up_to(30) == 0) l.hold(users[user], manual_clock::now() + milliseconds(up_to(10)));
    if (up_to(30) == 0) static_cast<void>(l.size());
  }
  return mine;
}

}  // namespace

TEST_CASE_FIXTURE(at_the_start, "many threads together keep the limit of each key") {
  limiter l(busy);
  std::array<record, 16> records;
  std::atomic<std::size_t> done{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < records.size(); ++i) {
    threads.emplace_back([&, i] {
      records[i] = call_often(l, static_cast<unsigned>(i));
      ++done;
    });
  }
  for (int tick = 0; done < records.size(); ++tick) {
    manual_clock::advance(tick % 3 == 0 ? 1ms : 137us);
    std::this_thread::yield();
  }
  for (auto& thread : threads) thread.join();

  for (std::size_t user = 0; user < users.size(); ++user) {
    std::vector<arrival> all;
    for (const auto& r : records) all.insert(all.end(), r.possible[user].begin(), r.possible[user].end());
    CAPTURE(user);
    CHECK(all.size() > busy.requests);
    CHECK(most_in_a_span(all, busy.per) <= busy.requests);
  }
  const std::initializer_list<errc> may_be{errc::rate_limited, errc::timed_out, errc::canceled};
  for (const auto& r : records) {
    CHECK(r.given > 0);
    CHECK(r.given + r.refused == 150);
    for (const auto code : r.others) CHECK(std::find(may_be.begin(), may_be.end(), code) != may_be.end());
  }
  manual_clock::advance(1h);
  for (const auto& user : users) CHECK(count_free(l, user) == busy.requests);  // nothing was left behind
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

TEST_CASE("a limiter of one's own needs a clock, permits, acquire and hold") {
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

TEST_CASE("the steady clock's wait returns when the time has come, and says so") {
  std::mutex mutex;
  std::condition_variable wake;
  std::unique_lock lock(mutex);
  CHECK_FALSE(nango::steady_clock::wait_until(wake, lock, nango::steady_clock::now()));
  CHECK_FALSE(nango::steady_clock::wait_until(wake, lock, time_point::min()));
  CHECK(lock.owns_lock());
}
