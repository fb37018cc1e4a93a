// What the tests of the example redis_limiter share: a Redis of their own, and one line for each thing that a program
// does to a limiter.
#ifndef NANGO_TESTS_REDIS_FIXTURE_HPP
#define NANGO_TESTS_REDIS_FIXTURE_HPP

#include <doctest/doctest.h>

#include <hiredis/hiredis.h>
#include <signal.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../../examples/redis_limiter.hpp"
#include "child.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace nango_test {

/// A redis-server, and a look into it.
class redis_server {
 public:
  explicit redis_server(std::vector<std::string> options = {}) : options_(std::move(options)) {
    for (int i = 0; i < 10; ++i) {
      port_ = free_port();
      if (start()) return;
    }
    throw std::runtime_error("redis-server does not start: " + server_->output());
  }

  int port() const { return port_; }
  /// Also again, on the same port.
  bool start() {
    std::vector<std::string> command{"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                     "--save",       "",       "--appendonly",        "no"};
    command.insert(command.end(), options_.begin(), options_.end());
    server_ = std::make_unique<child>(command);
    comes_true([this] { return !server_->running() || answers(); });
    return server_->running();
  }
  void kill() { server_->kill(); }
  void signal(int number) { ::kill(server_->pid(), number); }

  /// An integer, or the length of a list; -1 for anything else but an error, which is thrown.
  long long ask(const std::vector<std::string>& words) const {
    const auto answer = command(words);
    if (answer->type == REDIS_REPLY_ARRAY) return static_cast<long long>(answer->elements);
    return answer->type == REDIS_REPLY_INTEGER ? answer->integer : -1;
  }
  std::vector<std::string> keys() const {
    const auto found = command({"KEYS", "*"});
    std::vector<std::string> names;
    for (std::size_t i = 0; i < found->elements; ++i) names.emplace_back(found->element[i]->str);
    return names;
  }
  /// Of the only key of this kind; empty if there is none.
  std::string key_of(std::string_view kind) const {
    for (const auto& name : keys()) {
      if (name.find(kind) != name.npos) return name;
    }
    return "";
  }
  long long slots() const { return ask({"ZCARD", key_of(":slots:")}); }

 private:
  using connection = std::unique_ptr<redisContext, decltype(&redisFree)>;
  using reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;
  connection connect() const { return {redisConnect("127.0.0.1", port_), &redisFree}; }
  bool answers() const {
    const auto used = connect();
    void* const answer = used->err == 0 ? redisCommand(used.get(), "PING") : nullptr;
    return reply(static_cast<redisReply*>(answer), &freeReplyObject) != nullptr;
  }
  reply command(const std::vector<std::string>& words) const {
    const auto used = connect();
    std::vector<const char*> starts;
    for (const auto& word : words) starts.push_back(word.c_str());
    void* const answer = redisCommandArgv(used.get(), static_cast<int>(words.size()), starts.data(), nullptr);
    if (answer == nullptr) throw std::runtime_error(std::string("no reply: ") + used->errstr);
    reply owned(static_cast<redisReply*>(answer), &freeReplyObject);
    if (owned->type == REDIS_REPLY_ERROR) throw std::runtime_error(owned->str);
    return owned;
  }

  std::vector<std::string> options_;
  int port_ = 0;
  std::unique_ptr<child> server_;
};

namespace redis_limiting {

using nango::errc;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

inline constexpr seconds ages{60};
inline constexpr const char* token = "6b693b41-bf22-42e6-aa31-b75cd41749ab";

// A short span, so that tests are short, and patience with Redis, since the machine may be busy.
inline redis_limiter_options options_for(const redis_server& redis, std::size_t requests = 3) {
  return {.port = redis.port(),
          .rate = {.requests = requests, .per = milliseconds(200), .linger = milliseconds(100)},
          .share = {.requests = 2, .per = milliseconds(200), .linger = milliseconds(100)},
          .timeout = seconds(5),
          .settle = milliseconds(50)};
}

inline auto in(milliseconds time) { return steady_clock::now() + time; }

inline redis_limiter::permit take(redis_limiter& limiter, milliseconds most = ages) {
  return limiter.acquire(token, in(most)).value();
}

// Why there is no permit within `most`.
inline nango::error refusal(redis_limiter& limiter, milliseconds most, std::string_view key = token) {
  const auto turn = limiter.acquire(key, in(most));
  REQUIRE(!turn);
  CHECK(turn.error().attempts == 0);
  CHECK(!turn.error().may_have_executed);
  return turn.error();
}

// What there is without waiting for long.
inline errc outcome_at_once(redis_limiter& limiter) {
  const auto turn = limiter.acquire(token, in(milliseconds(100)));
  return turn ? errc{} : turn.error().code;
}

template <class Function> milliseconds time_of(Function f) {
  const auto began = steady_clock::now();
  f();
  return std::chrono::ceil<milliseconds>(steady_clock::now() - began);
}

inline void join(std::vector<std::thread>& callers) {
  for (auto& caller : callers) caller.join();
}

// Redis's clock is the wall's, which a time service may be stretching.
constexpr milliseconds about(milliseconds t) { return t - milliseconds(2); }

}  // namespace redis_limiting
}  // namespace nango_test

#endif
