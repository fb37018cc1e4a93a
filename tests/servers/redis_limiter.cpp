// The example redis_limiter: a real Redis that is shared, killed, stopped and started again.

#include <doctest/doctest.h>

#define main redis_limiter_main
#include "../../examples/redis_limiter.cpp"
#undef main

#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "process.hpp"

namespace {

using nango::errc;
using nango_test::comes_true;
using nango_test::local_nango;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds ages{60};
constexpr const char* token = "6b693b41-bf22-42e6-aa31-b75cd41749ab";

// Of the allowance, to be used. On a machine that has nothing else to do it is 0.99; on a busy one callers come late.
constexpr double least_share = nango_test::is_sanitized ? 0.3 : 0.5;

// ---- A Redis, and a look into it -----------------------------------------------------------------------------------

class redis_server {
 public:
  explicit redis_server(std::vector<std::string> options = {}) : options_(std::move(options)) {
    for (int i = 0; i < 10; ++i) {
      port_ = nango_test::free_port();
      if (start()) return;
    }
    throw std::runtime_error("redis-server does not start: " + server_->output());
  }

  int port() const { return port_; }
  // Also again, on the same port.
  bool start() {
    std::vector<std::string> command{"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                     "--save",       "",       "--appendonly",        "no"};
    command.insert(command.end(), options_.begin(), options_.end());
    server_ = std::make_unique<nango_test::child>(command);
    comes_true([this] { return !server_->running() || answers(); });
    return server_->running();
  }
  void kill() { server_->kill(); }
  void signal(int number) { ::kill(server_->pid(), number); }

  // A number, or how many there are in a list; -1: anything else but an error, which is thrown.
  long long ask(const std::vector<std::string>& words) const { return number_of(*command(words)); }
  std::vector<std::string> keys() const {
    const auto found = command({"KEYS", "*"});
    std::vector<std::string> names;
    for (std::size_t i = 0; i < found->elements; ++i) names.emplace_back(found->element[i]->str);
    return names;
  }
  std::string key_of(std::string_view kind) const {
    for (const auto& name : keys()) {
      if (name.find(kind) != name.npos) return name;
    }
    return "";
  }

 private:
  using reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;
  static long long number_of(const redisReply& said) {
    if (said.type == REDIS_REPLY_ARRAY) return static_cast<long long>(said.elements);
    return said.type == REDIS_REPLY_INTEGER ? said.integer : -1;
  }
  bool answers() const {
    const std::unique_ptr<redisContext, decltype(&redisFree)> line(redisConnect("127.0.0.1", port_), &redisFree);
    if (line->err != 0) return false;
    const reply said(static_cast<redisReply*>(redisCommand(line.get(), "PING")), &freeReplyObject);
    return said != nullptr;
  }
  reply command(const std::vector<std::string>& words) const {
    const std::unique_ptr<redisContext, decltype(&redisFree)> line(redisConnect("127.0.0.1", port_), &redisFree);
    std::vector<const char*> starts;
    for (const auto& word : words) starts.push_back(word.c_str());
    void* const said = redisCommandArgv(line.get(), static_cast<int>(words.size()), starts.data(), nullptr);
    if (said == nullptr) throw std::runtime_error(std::string("no reply: ") + line->errstr);
    reply answer(static_cast<redisReply*>(said), &freeReplyObject);
    if (answer->type == REDIS_REPLY_ERROR) throw std::runtime_error(answer->str);
    return answer;
  }

  std::vector<std::string> options_;
  int port_ = 0;
  std::unique_ptr<nango_test::child> server_;
};

// A short span, so that tests are short, and patience with Redis, since the machine may be busy.
redis_limiter_options options_for(const redis_server& redis, std::size_t requests = 3) {
  return {.port = redis.port(),
          .rate = {.requests = requests, .per = milliseconds(200), .linger = milliseconds(100)},
          .share = {.requests = 2, .per = milliseconds(200), .linger = milliseconds(100)},
          .timeout = seconds(5),
          .settle = milliseconds(50)};
}

// A second between two tries and `timeout` fit into `settle`.
redis_limiter_options local_options_for(const redis_server& redis) {
  auto options = options_for(redis);
  options.down = when_down::use_local;
  options.timeout = seconds(1);
  options.settle = milliseconds(2'050);
  return options;
}

auto in(milliseconds time) { return steady_clock::now() + time; }

redis_limiter::permit take(redis_limiter& limiter, milliseconds most = ages) {
  return limiter.acquire(token, in(most)).value();
}
// What there is without waiting for long.
errc outcome_at_once(redis_limiter& limiter, std::string_view key = token) {
  const auto turn = limiter.acquire(key, in(milliseconds(100)));
  return turn ? errc{} : turn.error().code;
}
milliseconds time_of(const std::function<void()>& f) {
  const auto began = steady_clock::now();
  f();
  return std::chrono::ceil<milliseconds>(steady_clock::now() - began);
}

// Redis's clock is the wall's, which a time service may be stretching.
constexpr milliseconds about(milliseconds t) { return t - milliseconds(2); }

}  // namespace

// ---- The window ----------------------------------------------------------------------------------------------------

TEST_CASE("two processes' limiters share one window") {
  const redis_server redis;
  auto options = options_for(redis);
  options.rate.per = milliseconds(600);
  redis_limiter one(options), other(options);
  auto first = take(one);
  const auto second = take(other), third = take(one);
  for (auto* limiter : {&one, &other}) {
    const auto refused = limiter->acquire(token, in(milliseconds(300)));
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::rate_limited);
    CHECK(refused.error().attempts == 0);
    CHECK(!refused.error().may_have_executed);
    REQUIRE(refused.error().retry_after);
    CHECK(*refused.error().retry_after > milliseconds(300));
    CHECK(*refused.error().retry_after <= milliseconds(600));
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
  const auto count = [&] { return redis.ask({"ZCARD", redis.key_of(":slots:")}); };
  const auto held_for_long = [&] {
    const auto soon = std::chrono::system_clock::now().time_since_epoch() + seconds(1);
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(soon).count();
    return redis.ask({"ZCOUNT", redis.key_of(":slots:"), std::to_string(micros), "+inf"});
  };
  auto first = take(limiter);
  {
    auto second = take(limiter);
    CHECK(count() == 2);
    CHECK(held_for_long() == 2);
    first = std::move(second);  // ends what `first` had
    second.answered();          // nothing
    CHECK(held_for_long() == 1);
  }
  const auto again = limiter.acquire(token, in(ages));  // the one that was replaced has come back
  REQUIRE(again);
  CHECK(outcome_at_once(limiter) == errc::rate_limited);  // the one that was moved is still held
  CHECK(count() == 2);
}

TEST_CASE("callers that had to wait are let go evenly, whichever process they are of") {
  const redis_server redis;
  redis_limiter one(options_for(redis, 4)), other(options_for(redis, 4));
  for (int i = 0; i < 4; ++i) take(i % 2 == 0 ? one : other).answered();
  std::vector<steady_clock::time_point> turns(4);
  std::mutex mutex;
  std::size_t given = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      take(i % 2 == 0 ? one : other).answered();
      const std::lock_guard lock(mutex);
      turns[given++] = steady_clock::now();
    });
  }
  for (auto& caller : callers) caller.join();
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
  CHECK(redis.ask({"ZCARD", redis.key_of(":slots:")}) == 2);
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
  for (auto& caller : callers) caller.join();
  CHECK(order == std::vector{0, 1, 2, 3});
}

// ---- Ends of a wait ------------------------------------------------------------------------------------------------

TEST_CASE("a cancel ends the wait, of the first in line and of the next") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis, 1)), other(options_for(redis, 1));
  take(limiter).answered();
  other.hold(token, in(ages));
  const nango::cancel_source source;
  std::atomic<int> canceled = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&] {
      const auto turn = limiter.acquire(token, in(2 * ages), source.token());
      if (!turn && turn.error().code == errc::canceled && !turn.error().may_have_executed) ++canceled;
    });
  }
  std::this_thread::sleep_for(milliseconds(100));
  source.cancel();
  CHECK(time_of([&] {
          for (auto& caller : callers) caller.join();
        }) < ages / 2);
  CHECK(canceled == 2);
}

TEST_CASE("the deadline ends the wait in line with timed_out") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis, 1)), other(options_for(redis, 1));
  take(limiter).answered();
  other.hold(token, in(ages));
  const nango::cancel_source source;
  std::thread first([&] { CHECK(!limiter.acquire(token, in(2 * ages), source.token())); });
  std::this_thread::sleep_for(milliseconds(100));
  CHECK(outcome_at_once(limiter) == errc::timed_out);
  source.cancel();
  first.join();
}

TEST_CASE("a deadline that has passed is timed_out and takes no slot") {
  const redis_server redis;
  redis_limiter limiter(options_for(redis));
  take(limiter).answered();
  const auto late = limiter.acquire(token, steady_clock::now());
  REQUIRE(!late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(redis.ask({"ZCARD", redis.key_of(":slots:")}) == 1);
}

// ---- Holds ---------------------------------------------------------------------------------------------------------

TEST_CASE("a hold reaches the other process, is never shortened, and is capped at five minutes") {
  const redis_server redis;
  redis_limiter one(options_for(redis)), other(options_for(redis));
  take(other).answered();
  one.hold(token, in(seconds(40)));
  one.hold(token, in(seconds(1)));
  const auto refused = other.acquire(token, in(seconds(5)));
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::rate_limited);
  CHECK(refused.error().retry_after > seconds(20));
  CHECK(refused.error().retry_after <= seconds(40));
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
  CHECK(limiter.acquire(token, in(ages)));
  CHECK(redis.key_of(":hold:") == "");
}

// ---- What stands in Redis ------------------------------------------------------------------------------------------

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

TEST_CASE("a Redis that wants a password gets it, and a wrong one or none is a failure that says so") {
  const redis_server redis({"--requirepass", "open sesame"});
  auto options = options_for(redis);
  options.password = "open sesame";
  CHECK(redis_limiter(options).acquire(token, in(ages)));
  for (const std::string password : {"wrong", ""}) {
    options.password = password;
    const auto refused = redis_limiter(options).acquire(token, in(ages));
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::connection_failed);
    CHECK(refused.error().message.find(password.empty() ? "NOAUTH" : "WRONGPASS") != std::string::npos);
  }
}

TEST_CASE("a rate that makes no sense is refused, and so is a local share with too short a settle") {
  const auto makes = [](nango::rate rate) { redis_limiter({.rate = rate}); };
  CHECK_THROWS_AS(makes({.requests = 0}), nango::exception);
  CHECK_THROWS_AS(makes({.per = std::chrono::microseconds(999)}), nango::exception);
  CHECK_THROWS_AS(makes({.per = std::chrono::hours(1)}), nango::exception);
  CHECK_THROWS_AS(makes({.linger = milliseconds(-1)}), nango::exception);
  CHECK_NOTHROW(makes({}));

  const auto settles = [](when_down down, milliseconds settle) {
    redis_limiter({.down = down, .timeout = milliseconds(250), .settle = settle});
  };
  CHECK_THROWS_AS(settles(when_down::use_local, milliseconds(1'250)), nango::exception);
  CHECK_NOTHROW(settles(when_down::use_local, milliseconds(1'251)));
  CHECK_NOTHROW(settles(when_down::refuse, milliseconds(0)));
}

// ---- Redis goes and comes back -------------------------------------------------------------------------------------

TEST_CASE("when Redis dies, refuse fails at once, and Redis comes back into use") {
  redis_server redis;
  auto options = options_for(redis);
  redis_limiter limiter(options);
  auto held = take(limiter);
  redis.kill();
  CHECK(time_of([&] {
          held.answered();
          for (int i = 0; i < 100; ++i) {
            const auto refused = limiter.acquire(token, in(ages));
            REQUIRE(!refused);
            CHECK(refused.error().code == errc::connection_failed);
            CHECK(refused.error().attempts == 0);
            CHECK(!refused.error().may_have_executed);
            CHECK(refused.error().message.find("when_down::use_local") != std::string::npos);
          }
        }) < seconds(20));
  REQUIRE(redis.start());
  CHECK(comes_true([&] { return limiter.acquire(token, in(ages)).has_value(); }));
}

TEST_CASE("when Redis hangs, few calls wait for it, and none for long") {
  redis_server redis;
  auto options = options_for(redis);
  redis_limiter patient(options);
  take(patient).answered();
  options.timeout = milliseconds(250);
  redis_limiter limiter(options);
  REQUIRE(comes_true([&] { return limiter.acquire(token, in(ages)).has_value(); }));  // connected
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
  CHECK(comes_true([&] { return limiter.acquire(token, in(ages)).has_value(); }));
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
  for (auto& caller : callers) caller.join();

  redis.signal(SIGSTOP);
  CHECK(!limiter.acquire("nobody", in(ages)));
  std::this_thread::sleep_for(milliseconds(1'100));
  CHECK(!limiter.acquire("nobody", in(ages)));
  redis.signal(SIGCONT);
  std::this_thread::sleep_for(milliseconds(300));
  CHECK(redis.ask({"ZCARD", redis_limiter_state(options).names("nobody")[1]}) == 1);
}

TEST_CASE("a permit's end does not wait for long when Redis hangs") {
  redis_server redis;
  auto options = options_for(redis, 100);
  options.timeout = milliseconds(250);
  redis_limiter limiter(options);
  std::vector<redis_limiter::permit> held;
  comes_true([&] {
    if (auto turn = limiter.acquire(token, in(ages))) held.push_back(*std::move(turn));
    return held.size() == 50;
  });
  REQUIRE(held.size() == 50);
  redis.signal(SIGSTOP);
  CHECK(time_of([&] { held.clear(); }) < seconds(6));  // and not 50 times 250 ms
  redis.signal(SIGCONT);
}

TEST_CASE("when Redis dies, use_local goes on with the share, after a pause") {
  redis_server redis;
  auto options = local_options_for(redis);
  redis_limiter limiter(options);
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
  const auto refused = limiter.acquire(token, in(seconds(5)));
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::rate_limited);
  CHECK(refused.error().retry_after > seconds(5));
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
  auto options = local_options_for(redis);
  redis_limiter limiter(options);
  limiter.hold(token, in(ages));
  redis.kill();
  CHECK(limiter.acquire("somebody", in(ages)));  // notices
  limiter.hold("somebody else", in(ages));
  for (const auto* key : {token, "somebody else"}) {
    const auto refused = limiter.acquire(key, in(seconds(10)));
    REQUIRE(!refused);
    CHECK(refused.error().retry_after > seconds(30));
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

// ---- SIGPIPE -------------------------------------------------------------------------------------------------------

TEST_CASE("a connection that Redis has reset raises no SIGPIPE") {
  const nango_test::loopback_socket listener;
  std::thread one_answer([&] {
    const int line = ::accept(listener.fd(), nullptr, nullptr);
    char received[4096];
    for (const std::string_view said : {"+PONG\r\n", ":0\r\n"}) {
      CHECK(::recv(line, received, sizeof received, 0) > 0);
      CHECK(::send(line, said.data(), said.size(), 0) > 0);
    }
    CHECK(::shutdown(line, SHUT_WR) == 0);
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(line, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(line);
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

// ---- Four processes of four threads, with the server that counts ---------------------------------------------------

namespace {

std::string program() {
  const auto path = nango::env("NANGO_REDIS_LIMITER");
  if (path.empty()) throw std::runtime_error("NANGO_REDIS_LIMITER is to name the example's program");
  return path;
}

class fleet {
 public:
  fleet(const local_nango& api, const redis_server& redis, seconds time, const std::string& down) {
    for (int i = 0; i < 4; ++i) {
      processes_.push_back(std::make_unique<nango_test::child>(
          std::vector<std::string>{program(), "--threads", "4", "--seconds", std::to_string(time.count()),
                                   "--when-down", down, "--share", "20"},
          std::vector<std::string>{"NANGO_API_KEY=" + local_nango::api_key(), "NANGO_BASE_URL=" + api.base_url(),
                                   "NANGO_USER_TOKEN=" + local_nango::user_token(), "NANGO_CA_FILE=" + api.ca_file(),
                                   "NANGO_REDIS=127.0.0.1:" + std::to_string(redis.port())}));
    }
  }
  bool all_run() {
    return std::all_of(processes_.begin(), processes_.end(), [](const auto& process) { return process->running(); });
  }
  // By themselves, all with success.
  bool ends_in(seconds most) {
    bool all = true;
    for (auto& process : processes_) all = process->wait(most) == 0 && all;
    return all;
  }
  // So many outcomes of this name each of them counted; the least. 0 where it does not name it.
  int least_of(const std::string& outcome) const {
    int least = std::numeric_limits<int>::max();
    for (const auto& process : processes_) {
      const auto said = process->output();
      const auto at = said.rfind(' ' + outcome + '=');
      least = (std::min)(least, at == said.npos ? 0 : std::atoi(said.c_str() + at + outcome.size() + 2));
    }
    return least;
  }

 private:
  std::vector<std::unique_ptr<nango_test::child>> processes_;
};

// The server refuses nothing, so that it sees what would have come.
class counting_server {
 public:
  const local_nango api{{.limit = 1'000'000}};

  std::size_t requests() const { return api.requests(local_nango::user_token()); }
  std::size_t most() const { return api.most_in_a_window(local_nango::user_token()); }
  bool is_busy() const {
    const auto before = requests();
    return comes_true([&] { return requests() > before + 50; });
  }
  // Of 100 a second, from now on.
  double share_used(milliseconds time) const {
    const auto began = steady_clock::now();
    const auto before = requests();
    std::this_thread::sleep_for(time);
    const std::chrono::duration<double> took = steady_clock::now() - began;
    return static_cast<double>(requests() - before) / (100 * took.count());
  }
};

}  // namespace

TEST_CASE("the program says what is wrong with its arguments") {
  const auto outcome = [](std::vector<std::string> command, const std::string& redis = "") {
    command.insert(command.begin(), program());
    nango_test::child process(command, {"NANGO_REDIS=" + redis});
    const auto status = process.wait(ages);
    REQUIRE(status);
    return std::to_string(WEXITSTATUS(*status)) + ' ' + process.output();
  };
  CHECK(outcome({"--threads", "0"}).starts_with("2 redis_limiter: --threads wants a number from 1 to 1000\n"));
  CHECK(outcome({"--seconds"}).starts_with("2 redis_limiter: --seconds wants"));
  CHECK(outcome({"--when-down", "pray"}).starts_with("2 redis_limiter: --when-down wants refuse or local\n"));
  CHECK(outcome({"--verbose"}).starts_with("2 redis_limiter: --verbose is unknown\n"));
  CHECK(outcome({}, "localhost").starts_with("2 redis_limiter: NANGO_REDIS's port wants"));
}

TEST_CASE("four processes of four threads keep to one limit and use it, and without Redis refuse to call") {
  redis_server redis;
  const counting_server server;
  fleet processes(server.api, redis, seconds(12), "refuse");
  REQUIRE(server.is_busy());
  std::this_thread::sleep_for(seconds(1));  // without the burst at the beginning
  const auto used = server.share_used(seconds(3));
  redis.kill();
  std::this_thread::sleep_for(seconds(1));
  const auto used_then = server.share_used(seconds(1));
  CHECK(processes.all_run());
  CHECK(processes.ends_in(ages));
  MESSAGE("most in a window: " << server.most() << ", used: " << used << ", without Redis: " << used_then);
  CHECK(used >= least_share);
  CHECK(used_then == 0);
  CHECK(server.most() <= 100);
  CHECK(processes.least_of("ok") > 0);
  CHECK(processes.least_of("connection_failed") >= 20);
}

TEST_CASE("four processes whose Redis is killed go on with their shares, and with Redis when it is back") {
  redis_server redis;
  const counting_server server;
  fleet processes(server.api, redis, seconds(22), "local");
  REQUIRE(server.is_busy());
  redis.kill();
  std::this_thread::sleep_for(seconds(2));
  const auto locally = server.share_used(seconds(2));
  REQUIRE(redis.start());
  REQUIRE(comes_true([&] { return redis.key_of(":slots:") != ""; }));
  std::this_thread::sleep_for(seconds(1));
  const auto again = server.share_used(seconds(2));
  CHECK(processes.all_run());
  CHECK(processes.ends_in(ages));
  MESSAGE("most in a window: " << server.most() << ", used locally: " << locally << ", then: " << again);
  CHECK(locally > 0.3);
  CHECK(locally < 0.85);
  CHECK(again >= least_share);
  CHECK(server.most() <= 100);
  CHECK(processes.least_of("connection_failed") == 0);
}
