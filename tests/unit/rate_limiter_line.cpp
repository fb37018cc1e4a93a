// The default limiter when callers have to wait: their order, their pace, and what their turns are said to be.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "limiter_fixture.hpp"
#include "limiter_line.hpp"
#include "nango.hpp"

namespace rate_limiter_line_tests {

using namespace nango_test::limiting;

// --- Callers in line ---

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

TEST_CASE_FIXTURE(at_the_start, "a caller that follows one that waited keeps the step, though slots are free") {
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

TEST_CASE_FIXTURE(at_the_start, "after two spans without a wait, free slots are given at once again") {
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

}  // namespace rate_limiter_line_tests
