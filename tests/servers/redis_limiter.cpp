// The example redis_limiter with a Redis that runs: the window, waits and their ends, holds, and what stands in Redis.
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nango.hpp"
#include "redis_fixture.hpp"

namespace redis_limiter_tests {

using namespace nango_test::redis_limiting;
using nango_test::redis_server;

// --- The window ---

TEST_CASE("two processes' limiters share one window") {
  const redis_server redis;
  auto options = options_for(redis);
  options.rate.per = milliseconds(600);
  redis_limiter one(options), other(options);
  auto first = take(one);
  const auto second = take(other), third = take(one);
  for (auto* limiter : {&one, &other}) {
    const auto refused = refusal(*limiter, milliseconds(300));
    CHECK(refused.code == errc::rate_limited);
    REQUIRE(refused.retry_after);
    CHECK(*refused.retry_after > milliseconds(300));
    CHECK(*refused.retry_after <= milliseconds(600));
  }
  CHECK(time_of([&] {
          first.answered();
          take(other);
        }) >= about(milliseconds(600)));
}

TEST_CASE("keys are counted apart, and so are prefixes") {
  const redis_server redis;
  auto options = options_for(redis, 1);
  redis_limiter limiter(options);
  const auto held = take(limiter);
  CHECK(limiter.acquire("somebody else", in(ages)));
  CHECK(outcome_at_once(limiter) == errc::rate_limited);
  options.prefix = "another";
  redis_limiter another(options);
  CHECK(another.acquire(token, in(ages)));
}

TEST_CASE("a permit that was given up counts for linger and per") {
  const redis_server redis;
  redis_limiter one(options_for(redis, 1)), other(options_for(redis, 1));
  std::optional<redis_limiter::permit> given_up = take(one);
  CHECK(time_of([&] {
          given_up.reset();
          take(other);
        }) >= about(milliseconds(300)));
}

TEST_CASE("a slot whose process died comes back by itself, and not before its request is over") {
  const redis_server redis;
  redis_limiter one(options_for(redis, 1)), other(options_for(redis, 1));
  take(one).answered();
  std::this_thread::sleep_for(milliseconds(400));  // until the window is empty
  CHECK(time_of([&] {
          static auto* const lost = new redis_limiter::permit(take(one, milliseconds(500)));  // never destroyed
          CHECK(lost != nullptr);
          take(other);
        }) >= about(milliseconds(500 + 100 + 200)));
}

TEST_CASE("a request counts for a day at most") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  const auto held = limiter.acquire(token, steady_clock::time_point::max());
  REQUIRE(held);
  const auto left = redis.ask({"PTTL", redis.key_of(":slots:")});
  CHECK(left > 86'000'000);
  CHECK(left <= 86'400'000 + 300 + 1);
}

TEST_CASE("a permit that was moved from holds nothing, and one that is replaced ends") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis, 2));
  const auto held_for_long = [&] {
    const auto soon = std::chrono::system_clock::now().time_since_epoch() + seconds(1);
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(soon).count();
    return redis.ask({"ZCOUNT", redis.key_of(":slots:"), std::to_string(micros), "+inf"});
  };
  auto first = take(limiter);
  {
    auto second = take(limiter);
    CHECK(redis.slots() == 2);
    CHECK(held_for_long() == 2);
    first = std::move(second);  // ends what `first` had
    second.answered();          // nothing
    CHECK(held_for_long() == 1);
  }
  const auto again = limiter.acquire(token, in(ages));  // the one that was replaced has come back
  REQUIRE(again);
  CHECK(outcome_at_once(limiter) == errc::rate_limited);  // the one that was moved is still held
  CHECK(redis.slots() == 2);
}

TEST_CASE("callers that had to wait are let go evenly, whichever process they are of") {
  const redis_server redis;
  redis_limiter one(options_for(redis, 4)), other(options_for(redis, 4));
  for (int i = 0; i < 4; ++i) take(i % 2 == 0 ? one : other).answered();
  std::vector<steady_clock::time_point> turns;
  std::mutex mutex;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      take(i % 2 == 0 ? one : other).answered();
      const std::lock_guard lock(mutex);
      turns.push_back(steady_clock::now());
    });
  }
  join(callers);
  CHECK(turns.back() - turns.front() > milliseconds(75));  // three steps are 151 ms; one that is late is made up for
}

TEST_CASE("callers go step by step until two spans are over without a wait") {
  const redis_server redis;
  auto options = options_for(redis, 4);
  options.rate.per = milliseconds(600);
  redis_limiter one(options), other(options);
  const auto time_of_four = [&] {
    return time_of([&] {
      for (auto* limiter : {&one, &other, &one, &other}) take(*limiter).answered();
    });
  };
  take(one).answered();                            // which had to wait, since this Redis is new
  std::this_thread::sleep_for(milliseconds(800));  // until the window is empty
  CHECK(time_of_four() > milliseconds(300));       // three steps are 455 ms; one that is late is made up for
  bool at_once = false;
  for (int tries = 0; tries < 5 && !at_once; ++tries) {  // a busy machine may take its time
    std::this_thread::sleep_for(milliseconds(1'900));
    at_once = time_of_four() < milliseconds(300);
  }
  CHECK(at_once);
}

TEST_CASE("a limiter made before a fork takes slots of its own in each child") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  for (int i = 0; i < 2; ++i) {
    const auto pid = ::fork();
    if (pid == 0) {
      const auto held = limiter.acquire(token, in(ages));
      ::_exit(held ? 0 : 1);  // without giving it back
    }
    int status = -1;
    CHECK(::waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
  }
  CHECK(redis.slots() == 2);
}

TEST_CASE("within a process callers are served first come, first served") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis, 1));
  auto held = take(limiter);
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      take(limiter).answered();
      const std::lock_guard lock(mutex);
      order.push_back(i);
    });
    std::this_thread::sleep_for(milliseconds(100));
  }
  held.answered();
  join(callers);
  CHECK(order == std::vector{0, 1, 2, 3});
}

// --- Ends of a wait ---

// Of two limiters with a slot each, one waits for long, because the other one holds the key.
struct held_key {
  redis_server redis{};
  redis_limiter limiter{options_for(redis, 1)}, other{options_for(redis, 1)};
  nango::cancel_source source{};

  held_key() {
    take(limiter).answered();
    other.hold(token, in(ages));
  }
  // A cancel ends its wait.
  std::thread caller() {
    return std::thread([this] {
      const auto turn = limiter.acquire(token, in(2 * ages), source.token());
      REQUIRE(!turn);
      CHECK(turn.error().code == errc::canceled);
      CHECK(!turn.error().may_have_executed);
    });
  }
};

TEST_CASE_FIXTURE(held_key, "a cancel ends the wait, of the first in line and of the next") {
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) callers.push_back(caller());
  std::this_thread::sleep_for(milliseconds(100));
  source.cancel();
  CHECK(time_of([&] { join(callers); }) < ages / 2);
}

TEST_CASE_FIXTURE(held_key, "the deadline ends the wait in line with timed_out") {
  std::thread first = caller();
  std::this_thread::sleep_for(milliseconds(100));
  CHECK(outcome_at_once(limiter) == errc::timed_out);
  source.cancel();
  first.join();
}

TEST_CASE("a deadline that has passed is timed_out and takes no slot") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  take(limiter).answered();
  CHECK(refusal(limiter, milliseconds(0)).code == errc::timed_out);
  CHECK(redis.slots() == 1);
}

// --- Holds ---

TEST_CASE("a hold reaches the other process, is never shortened, and is capped at five minutes") {
  const redis_server redis;
  redis_limiter one(options_for(redis)), other(options_for(redis));
  take(other).answered();
  one.hold(token, in(seconds(40)));
  one.hold(token, in(seconds(1)));
  const auto refused = refusal(other, seconds(5));
  CHECK(refused.code == errc::rate_limited);
  CHECK(refused.retry_after > seconds(20));
  CHECK(refused.retry_after <= milliseconds(40'001));  // Redis counts whole milliseconds
  CHECK(outcome_at_once(one) == errc::rate_limited);
  CHECK(other.acquire("somebody else", in(ages)));

  one.hold(token, steady_clock::time_point::max());
  const auto left = redis.ask({"PTTL", redis.key_of(":hold:")});
  CHECK(left > 200'000);
  CHECK(left <= 300'000);
}

TEST_CASE("a hold that is over is none") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  limiter.hold(token, steady_clock::now() - seconds(1));
  limiter.hold(token, steady_clock::time_point::min());
  CHECK(limiter.acquire(token, in(ages)));
  CHECK(redis.key_of(":hold:") == "");
}

TEST_CASE("a hold of the other process is not shorter by parts of a millisecond") {
  const redis_server redis;
  redis_limiter one(options_for(redis)), other(options_for(redis));
  take(other).answered();
  for (int i = 0; i < 100; ++i) {
    const auto until = in(seconds(40));
    one.hold(token, until);
    const auto told = refusal(other, seconds(5)).retry_after;
    CHECK(told >= until - steady_clock::now() - std::chrono::microseconds(200));  // two clocks, see about()
  }
}

// --- What stands in Redis ---

TEST_CASE("every key expires, has the same hash tag and does not tell the token") {
  const redis_server redis;
  auto options = options_for(redis);
  options.rate.per = seconds(2);  // which is long enough for a look
  redis_limiter limiter(options);
  take(limiter).answered();  // and had to wait, so that there is a pace
  auto given_up = std::optional(take(limiter));
  given_up.reset();
  limiter.hold(token, in(seconds(5)));
  const auto keys = redis.keys();
  CHECK(keys.size() == 4);
  for (const auto& key : keys) {
    CAPTURE(key);
    CHECK(key.starts_with("{nango}:"));
    CHECK(key.find(token) == key.npos);
    const auto left = redis.ask({"PTTL", key});
    CHECK(left > 0);
    CHECK(left <= (key == "{nango}:since" ? 86'400'000 : 10'000));
  }
}

TEST_CASE("a Redis that wants a password gets it, and a wrong one or none is a failure that says so") {
  const redis_server redis({"--requirepass", "open sesame"});
  auto options = options_for(redis);
  options.password = "open sesame";
  CHECK(redis_limiter(options).acquire(token, in(ages)));
  for (const std::string password : {"wrong", ""}) {
    options.password = password;
    redis_limiter limiter(options);
    const auto refused = refusal(limiter, ages);
    CHECK(refused.code == errc::connection_failed);
    CHECK(refused.message.find(password.empty() ? "NOAUTH" : "WRONGPASS") != std::string::npos);
  }
}

TEST_CASE("a rate that makes no sense is refused, and so is a local share with too short a settle") {
  for (const nango::rate& rate : {nango::rate{.requests = 0},
                                  {.per = std::chrono::microseconds(999)},
                                  {.per = std::chrono::hours(1)},
                                  {.linger = milliseconds(-1)}}) {
    CHECK_THROWS_AS(redis_limiter({.rate = rate}), nango::exception);
  }
  CHECK_NOTHROW(redis_limiter({}));

  const auto settles = [](when_down down, milliseconds settle) {
    redis_limiter({.down = down, .timeout = milliseconds(250), .settle = settle});
  };
  CHECK_THROWS_AS(settles(when_down::use_local, milliseconds(1'250)), nango::exception);
  CHECK_NOTHROW(settles(when_down::use_local, milliseconds(1'251)));
  CHECK_NOTHROW(settles(when_down::refuse, milliseconds(0)));
}

}  // namespace redis_limiter_tests
