// What the default limiter keeps of its keys, and when it forgets them.
#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "limiter_fixture.hpp"
#include "limiter_line.hpp"
#include "nango.hpp"

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

namespace rate_limiter_memory_tests {

using namespace nango_test::limiting;

// --- Forgetting ---

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

TEST_CASE_FIXTURE(at_the_start, "a key that still affects decisions is not forgotten") {
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

TEST_CASE_FIXTURE(at_the_start, "the memory of a busy key does not grow with its calls") {
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

}  // namespace rate_limiter_memory_tests
