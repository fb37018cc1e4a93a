// The example redis_limiter with a Redis that forgets, is restarted, closes connections, dies, hangs and comes back.
#include <doctest/doctest.h>

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "redis_fixture.hpp"

namespace redis_limiter_outages_tests {

using namespace nango_test::redis_limiting;
using nango_test::comes_true;
using nango_test::redis_server;

// A second between two tries and `timeout` fit into `settle`.
redis_limiter_options local_options_for(const redis_server& redis) {
  auto options = options_for(redis);
  options.down = when_down::use_local;
  options.timeout = seconds(1);
  options.settle = milliseconds(2'050);
  return options;
}

bool is_used_again(redis_limiter& limiter) {
  return comes_true([&] { return limiter.acquire(token, in(ages)).has_value(); });
}

// --- Redis forgets, or closes connections ---

TEST_CASE("a Redis that forgot everything gives nothing before per and settle") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  CHECK(time_of([&] { take(limiter).answered(); }) >= about(milliseconds(250)));
  CHECK(outcome_at_once(limiter) == errc{});
  CHECK(redis.ask({"FLUSHALL"}) == -1);
  CHECK(time_of([&] { take(limiter).answered(); }) >= about(milliseconds(250)));
}

TEST_CASE("a Redis that was restarted gives nothing before per and settle, whatever it remembers") {
  const nango_test::temporary_folder folder;
  redis_server redis({"--dir", folder.path()});
  redis_limiter limiter(options_for(redis));
  take(limiter).answered();
  CHECK(redis.ask({"SAVE"}) == -1);
  redis.kill();
  REQUIRE(redis.start());
  CHECK(redis.key_of(":slots:") != "");
  CHECK(time_of([&] { take(limiter).answered(); }) >= about(milliseconds(250)));
}

TEST_CASE("a Redis that closed idle connections is no failure") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis, 100));
  take(limiter).answered();
  CHECK(redis.ask({"CLIENT", "KILL", "TYPE", "normal"}) >= 1);
  CHECK(limiter.acquire(token, in(ages)));
}

TEST_CASE("a connection that Redis has reset raises no SIGPIPE") {
  const nango_test::loopback_socket listener;
  std::thread one_answer([&] {
    const int connection = ::accept(listener.fd(), nullptr, nullptr);
    char received[4096];
    for (const std::string_view answer : {"+PONG\r\n", ":0\r\n"}) {
      CHECK(::recv(connection, received, sizeof received, 0) > 0);
      CHECK(::send(connection, answer.data(), answer.size(), 0) > 0);
    }
    CHECK(::shutdown(connection, SHUT_WR) == 0);
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(connection);
  });
  struct sigaction before {};
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &usual, &before);
  redis_limiter limiter({.port = listener.port(), .timeout = milliseconds(300)});
  auto turn = limiter.acquire(token, in(ages));
  one_answer.join();
  REQUIRE(turn);
  turn->answered();  // would end this program
  sigset_t pending;
  sigpending(&pending);
  CHECK(sigismember(&pending, SIGPIPE) == 0);
  ::sigaction(SIGPIPE, &before, nullptr);
}

// --- Redis dies or hangs: refuse ---

TEST_CASE("when Redis dies, refuse fails at once, and Redis comes back into use") {
  redis_server redis;
  redis_limiter limiter(options_for(redis));
  auto held = take(limiter);
  redis.kill();
  CHECK(time_of([&] {
          held.answered();
          for (int i = 0; i < 100; ++i) {
            const auto refused = refusal(limiter, ages);
            CHECK(refused.code == errc::connection_failed);
            CHECK(refused.message.find("when_down::use_local") != std::string::npos);
          }
        }) < seconds(20));
  REQUIRE(redis.start());
  CHECK(is_used_again(limiter));
}

TEST_CASE("when Redis hangs, few calls wait for it, and none for long") {
  redis_server redis;
  auto options = options_for(redis);
  redis_limiter patient(options);
  take(patient).answered();
  options.timeout = milliseconds(250);
  redis_limiter limiter(options);
  REQUIRE(is_used_again(limiter));  // connected
  redis.signal(SIGSTOP);
  int slow = 0;
  const auto all = time_of([&] {
    for (int i = 0; i < 100; ++i) {
      const auto one = time_of([&] { CHECK(outcome_at_once(limiter) != errc{}); });
      const auto other = time_of([&] { CHECK(!limiter.acquire(token, in(ages))); });
      slow += one + other >= milliseconds(200) ? 1 : 0;
    }
  });
  CHECK(slow <= 2 + all / seconds(1));  // the one that found out, then one a second
  CHECK(all < seconds(20));
  redis.signal(SIGCONT);
  CHECK(is_used_again(limiter));
}

TEST_CASE("a Redis that hung finds what was asked before it was noticed, and nothing of the tries") {
  redis_server redis;
  auto options = options_for(redis);
  options.timeout = seconds(1);
  redis_limiter limiter(options);
  REQUIRE(limiter.acquire(token, in(ages)));
  redis.signal(SIGSTOP);
  std::vector<std::thread> callers;  // each with a connection of its own, which is idle then
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] { CHECK(limiter.acquire("caller " + std::to_string(i), in(ages))); });
  }
  std::this_thread::sleep_for(milliseconds(100));
  redis.signal(SIGCONT);
  join(callers);

  redis.signal(SIGSTOP);
  CHECK(!limiter.acquire("nobody", in(ages)));
  std::this_thread::sleep_for(milliseconds(1'100));
  CHECK(!limiter.acquire("nobody", in(ages)));
  redis.signal(SIGCONT);
  std::this_thread::sleep_for(milliseconds(300));
  CHECK(redis.slots() == 1);  // all others have expired
}

TEST_CASE("a permit's end does not wait for long when Redis hangs") {
  redis_server redis;
  auto options = options_for(redis, 100);
  options.timeout = milliseconds(250);
  redis_limiter limiter(options);
  std::vector<redis_limiter::permit> held;
  REQUIRE(comes_true([&] {
    if (auto turn = limiter.acquire(token, in(ages))) held.push_back(*std::move(turn));
    return held.size() == 50;
  }));
  redis.signal(SIGSTOP);
  CHECK(time_of([&] { held.clear(); }) < seconds(6));  // and not 50 times 250 ms
  redis.signal(SIGCONT);
}

// --- Redis dies or hangs: use_local ---

TEST_CASE("when Redis dies, use_local goes on with the share, after a pause") {
  redis_server redis;
  redis_limiter limiter(local_options_for(redis));
  take(limiter).answered();
  redis.kill();
  std::vector<steady_clock::time_point> turns;
  const auto killed = steady_clock::now();
  for (int i = 0; i < 6; ++i) {
    auto turn = take(limiter);
    turns.push_back(steady_clock::now());
    turn.answered();
  }
  CHECK(turns[0] - killed >= milliseconds(200));
  for (std::size_t i = 2; i < turns.size(); ++i) CHECK(turns[i] - turns[i - 2] >= about(milliseconds(200)));

  REQUIRE(redis.start());
  CHECK(comes_true([&] {
    take(limiter).answered();
    return redis.key_of(":slots:") != "";
  }));
}

TEST_CASE("while one caller asks a Redis that hangs, others use the local share without steps") {
  redis_server redis;
  auto options = local_options_for(redis);
  options.share = {.requests = 4, .per = seconds(2), .linger = milliseconds(0)};
  redis_limiter limiter(options);
  take(limiter).answered();
  redis.signal(SIGSTOP);
  CHECK(limiter.acquire("somebody else", in(ages)));  // notices
  std::this_thread::sleep_for(seconds(1));
  std::thread asks([&] { CHECK(limiter.acquire(token, in(ages))); });
  std::this_thread::sleep_for(milliseconds(200));
  CHECK(time_of([&] {
          for (int i = 0; i < 3; ++i) take(limiter).answered();
        }) < milliseconds(500));  // a step is 505 ms
  asks.join();
  redis.signal(SIGCONT);
}

TEST_CASE("a deadline or a cancel also ends a wait for the local share") {
  redis_server redis;
  auto options = local_options_for(redis);
  options.share = {.requests = 1, .per = seconds(20), .linger = milliseconds(0)};
  redis_limiter limiter(options);
  redis.kill();
  take(limiter).answered();
  CHECK(outcome_at_once(limiter) == errc::rate_limited);
  const auto refused = refusal(limiter, seconds(5));
  CHECK(refused.code == errc::rate_limited);
  CHECK(refused.retry_after > seconds(5));
  const nango::cancel_source source;
  std::thread canceler([&] {
    std::this_thread::sleep_for(milliseconds(100));
    source.cancel();
  });
  const auto canceled = limiter.acquire(token, in(ages), source.token());
  canceler.join();
  REQUIRE(!canceled);
  CHECK(canceled.error().code == errc::canceled);
}

TEST_CASE("a hold of this process holds without Redis too, from before and from now") {
  redis_server redis;
  redis_limiter limiter(local_options_for(redis));
  limiter.hold(token, in(ages));
  redis.kill();
  CHECK(limiter.acquire("somebody", in(ages)));  // notices
  limiter.hold("somebody else", in(ages));
  for (const auto* key : {token, "somebody else"}) {
    CHECK(refusal(limiter, seconds(10), key).retry_after > seconds(30));
  }
}

TEST_CASE("who went on locally makes all wait when it comes back to a Redis that remembers") {
  redis_server redis;
  auto options = options_for(redis);
  options.settle = seconds(2);
  redis_limiter other(options);
  take(other).answered();
  options.down = when_down::use_local;
  options.timeout = milliseconds(250);
  redis_limiter limiter(options);
  redis.signal(SIGSTOP);
  take(limiter).answered();
  redis.signal(SIGCONT);
  CHECK(comes_true([&] {
    static_cast<void>(limiter.acquire(token, in(milliseconds(500))));
    const auto refused = other.acquire(token, in(seconds(1)));
    return !refused && refused.error().retry_after > seconds(1);  // so it is not for the window's sake
  }));
}

}  // namespace redis_limiter_outages_tests
