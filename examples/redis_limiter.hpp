// One limit for many processes on many machines: a rate limiter for the client that counts in Redis. Copy this file.
//
//   nango::basic_client<nango::httplib_backend, redis_limiter> api{options, backend, redis_limiter{{.host = "..."}}};
//
// The promise: the server never sees more than `rate.requests` for one key in any span of `rate.per`, whatever the
// network does, on the terms of nango::sliding_window. It holds across processes as long as Redis is up, keeps its
// memory, and its wall clock (TIME) does not jump ahead; when the clock goes back, requests count for longer.
// - A slot is taken before the request is sent, and counts until `per` after its answer. The slots of a process that
//   dies come back after its requests' deadlines + linger + per.
// - Once a caller had to wait, callers proceed one step apart, until nobody has had to wait for 2 * per.
// - A 429 that one process meets holds the key for all of them.
//
// Its limits:
// - Callers are served first come, first served within a process, but not between processes.
// - Only the first waiter of a process knows the wait, and fails at once when its deadline cannot be met. The others
//   get timed_out at their deadline.
// - After Redis was restarted, emptied or replaced by its replica, and at the very first call, everybody waits for
//   per + settle, because nobody knows what Redis forgot. Requests that were in flight then, and arrive later than
//   `settle` after the first question, are not counted.
//
// When Redis is down, or hangs for longer than `timeout` (calls with less time than that do not notice), `down`
// decides:
// - refuse: each call fails at once with connection_failed, and nothing was sent. The promise holds.
// - use_local: each process continues alone with its `share`, after a pause of `per` in which what Redis admitted
//   expires. The promise holds if Redis is down for all, if all shares and the requests in flight at the switch are
//   together at most `rate.requests`, and if requests sent without Redis arrive within `settle` of its return. A
//   process that alone lost Redis sends its share on top of what Redis grants the others, until Redis is back and makes
//   all wait for per + settle.
// One call a second tries Redis again; no other call waits for it.
//
// It costs one round trip for each permit and one for each answer, and a few more where callers wait. It needs Redis 5
// or later with `maxmemory-policy noeviction`, because an evicted key is a forgotten one. Redis stores only hashes of
// the tokens. All keys expire and share one hash tag, so that the scripts also work behind a proxy to a cluster.
// `timeout` does not bound name lookups, so give an address. There is no TLS to Redis: use a tunnel.
#ifndef NANGO_EXAMPLES_REDIS_LIMITER_HPP
#define NANGO_EXAMPLES_REDIS_LIMITER_HPP

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "nango.hpp"

enum class when_down { refuse, use_local };

struct redis_limiter_options {
  std::string host = "127.0.0.1";
  int port = 6379;
  std::string password{};                   // empty: none
  std::string prefix = "nango";             // of all keys; who has the same one shares the limit
  nango::rate rate{};                       // of each key, for all processes together; per: 1 ms to 5 minutes
  when_down down = when_down::refuse;       // see above
  nango::rate share{.requests = 20};        // of each key, for this process alone while Redis is down (use_local)
  std::chrono::milliseconds timeout{250};   // for one question to Redis, with the connection if there is none
  std::chrono::milliseconds settle{2'000};  // see above; use_local: more than timeout + 1 s
};

// ---- Decisions: each is one script, on Redis's clock, in microseconds ----------------------------------------------

inline const std::string script_start = R"lua(
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function expire_with_the_last_of(slots)
  local last = redis.call('ZRANGE', slots, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', slots, math.ceil(last / 1000))
end
)lua";

// Takes a slot, or returns the least wait: a held slot may come back at any time, but then counts for another `per`.
// `since`: which Redis this is, and since when it knows what was sent.
// `pace`: until `till` callers proceed a step apart, the next one at `turn` (one late step is made up for).
inline const std::string acquire_script = script_start + R"lua(
local since, slots, hold, pace = unpack(KEYS)
local id, requests, per, lease, settle, how = unpack(ARGV)
local step = 1.01 * per / requests
local run = redis.call('INFO', 'server'):match('run_id:(%w+)')
if how == 'restart' or redis.call('HGET', since, 'run') ~= run then
  redis.call('HSET', since, 'run', run, 'at', now)
end
redis.call('PEXPIRE', since, 86400000)
redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
if redis.call('ZSCORE', slots, id) then return 0 end -- asked again, because the answer was lost
local turn, till = redis.call('HGET', pace, 'turn') or 0, redis.call('HGET', pace, 'till') or 0
local held = (redis.call('PTTL', hold) + 1) * 1000 -- whole milliseconds, rounded up; below 0 without a hold
local wait = math.max(0, redis.call('HGET', since, 'at') + per + settle - now, held, turn - now)
local back = redis.call('ZRANGE', slots, -requests, -requests, 'WITHSCORES')[2]
if back then wait = math.max(wait, math.min(back - now, per)) end -- all slots are taken
if wait == 0 then
  redis.call('ZADD', slots, now + lease, id)
  expire_with_the_last_of(slots)
  turn = math.max(turn, now - step) + step
else
  till = math.max(till, now + wait + 2 * per)
end
if now < tonumber(till) then
  redis.call('HSET', pace, 'turn', turn, 'till', till)
  redis.call('PEXPIREAT', pace, math.ceil(till / 1000))
end
return math.ceil(wait)
)lua";

inline const std::string end_script = script_start + R"lua(
if redis.call('ZADD', KEYS[1], 'XX', 'CH', now + ARGV[2], ARGV[1]) == 1 then expire_with_the_last_of(KEYS[1]) end
return 0
)lua";

// The key's time to live is the hold.
inline const std::string hold_script = R"lua(
local left = math.ceil(ARGV[1] / 1000)
if redis.call('PTTL', KEYS[1]) <= left then redis.call('SET', KEYS[1], '', 'PX', left) end
return 0
)lua";

// ---- Connections to Redis ------------------------------------------------------------------------------------------

// A pool: one caller uses a connection at a time, and a failed connection is closed.
class redis_pool {
  using time_point = std::chrono::steady_clock::time_point;
  struct closer {
    void operator()(redisContext* c) const { redisFree(c); }
    void operator()(redisReply* r) const { freeReplyObject(r); }
  };
  using connection = std::unique_ptr<redisContext, closer>;
  using reply = std::unique_ptr<redisReply, closer>;

 public:
  using words = std::vector<std::string>;

  explicit redis_pool(const redis_limiter_options& options) : options_(options) {}  // which outlive the pool

  // The integer that a command returns, or connection_failed if there is none by `end`.
  nango::result<long long> ask(const words& command, time_point end) {
    for (auto used = take_idle();; used.reset()) {
      const bool was_idle = used != nullptr;
      if (!was_idle) {
        auto fresh = connect(end);
        if (!fresh) return std::move(fresh).error();
        used = *std::move(fresh);
      }
      const auto answer = send(*used, command, end);
      if (answer && answer->type == REDIS_REPLY_INTEGER) {
        give_back(std::move(used));
        return answer->integer;
      }
      // Redis closes connections that are idle for long. All commands here may be sent again.
      const bool was_closed = used->err == REDIS_ERR_EOF || (used->err == REDIS_ERR_IO && errno == ECONNRESET);
      if (!was_idle || !was_closed) return failure(*used, answer.get());
    }
  }

 private:
  static timeval time_until(time_point end) {
    const auto left = std::chrono::ceil<std::chrono::microseconds>(end - std::chrono::steady_clock::now());
    const auto some = (std::max)(left, std::chrono::microseconds(1000));
    return {some.count() / 1'000'000, static_cast<suseconds_t>(some.count() % 1'000'000)};
  }

  // Sends nothing that changes Redis before it has answered. So a Redis that hung finds, when it goes on, what callers
  // asked on idle connections before the first failure (such a slot is taken until its lease ends), but no later tries.
  nango::result<connection> connect(time_point end) {
    connection fresh(redisConnectWithTimeout(options_.host.c_str(), options_.port, time_until(end)));
    if (!fresh) throw std::bad_alloc();
    if (fresh->err != 0) return failure(*fresh);
    ::fcntl(fresh->fd, F_SETFD, FD_CLOEXEC);
    const auto answer = send(*fresh, options_.password.empty() ? words{"PING"} : words{"AUTH", options_.password}, end);
    if (!answer || answer->type == REDIS_REPLY_ERROR) return failure(*fresh, answer.get());
    return fresh;
  }

  // hiredis formats the command and reads the reply, but writes without MSG_NOSIGNAL. The socket's buffer is empty, so
  // it takes the command whole; a write that fails shows when the reply is read.
  static reply send(redisContext& to, const words& command, time_point end) {
    std::vector<const char*> starts;
    for (const auto& word : command) starts.push_back(word.c_str());
    char* text = nullptr;
    const auto size = redisFormatCommandArgv(&text, static_cast<int>(starts.size()), starts.data(), nullptr);
    if (size < 0) throw std::bad_alloc();
    redisSetTimeout(&to, time_until(end));
    ::send(to.fd, text, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    redisFreeCommand(text);
    void* answer = nullptr;
    redisGetReply(&to, &answer);
    return reply(static_cast<redisReply*>(answer));
  }

  // What failed on one connection will fail on the idle ones too, so they are closed.
  nango::error failure(const redisContext& failed, const redisReply* answer = nullptr) {
    const bool is_error = answer != nullptr && answer->type == REDIS_REPLY_ERROR;
    const std::string why = is_error ? answer->str : answer != nullptr ? "not the reply of a Redis" : failed.errstr;
    const std::lock_guard lock(mutex_);
    idle_.clear();
    return {.code = nango::errc::connection_failed,
            .message = "the rate limiter's Redis at " + options_.host + ':' + std::to_string(options_.port) +
                       " fails: " + why + "; start it, or choose when_down::use_local",
            .may_have_executed = false};
  }

  connection take_idle() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    auto last = std::move(idle_.back());
    idle_.pop_back();
    return last;
  }
  void give_back(connection used) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < 16) idle_.push_back(std::move(used));
  }

  const redis_limiter_options& options_;
  std::mutex mutex_{};
  std::vector<connection> idle_{};
};

// ---- The limiter ---------------------------------------------------------------------------------------------------

class redis_limiter {
  struct state;
  struct slot {
    std::shared_ptr<state> of;
    std::string key, id;
    bool answered = false;
    ~slot() { of->end(key, id, answered); }
  };

 public:
  using clock = nango::steady_clock;
  using time_point = std::chrono::steady_clock::time_point;

  // A slot in Redis or in the local window. A moved-from permit holds nothing.
  class permit {
   public:
    void answered() noexcept {
      if (slot_) slot_->answered = true;
      slot_.reset();
      local_.answered();
    }

   private:
    friend class redis_limiter;
    explicit permit(std::unique_ptr<slot> in_redis) : slot_(std::move(in_redis)) {}
    explicit permit(nango::sliding_window::permit local) : local_(std::move(local)) {}
    std::unique_ptr<slot> slot_{};
    nango::sliding_window::permit local_{};
  };

  // Throws nango::exception if the options make no sense. Connects at the first use; until then a process may fork.
  explicit redis_limiter(redis_limiter_options options) : state_(std::make_shared<state>(std::move(options))) {}

  // Errors: those of nango::sliding_window, and connection_failed (when_down::refuse). While Redis hangs, a cancel is
  // noticed after `timeout`.
  nango::result<permit> acquire(std::string_view key, time_point deadline, const nango::cancel_token& cancel = {}) {
    for (;;) {
      const bool is_down = state_->is_down;
      auto outcome = !is_down || state_->may_try() ? through_redis(key, deadline, cancel, is_down)
                                                   : without_redis(key, deadline, cancel);
      if (outcome) return *std::move(outcome);
    }
  }
  // Never shortens an earlier hold; 5 minutes at most. While Redis is down, only this process holds.
  void hold(std::string_view key, time_point until) {
    state_->queue.hold(key, until);
    state_->local.hold(key, until);
    const auto now = clock::now(), end = std::clamp(until, now, now + std::chrono::minutes(5));
    if (end > now) state_->tell({"EVAL", hold_script, "1", state_->names(key)[2], micros(end - now)});
  }

  const nango::rate& rate() const noexcept { return state_->options.rate; }

 private:
  using errc = nango::errc;
  using words = redis_pool::words;
  using maybe = std::optional<nango::result<permit>>;  // empty if Redis went down or came back: start again
  static constexpr std::chrono::seconds between_tries{1};

  // What the copies of a limiter share.
  struct state {
    struct outage {
      time_point began{}, next_try{};
      nango::error why{};
    };
    const redis_limiter_options options;
    // At one request a nanosecond it limits nothing: for each key it is a queue with deadlines and holds.
    nango::sliding_window queue{{.requests = 1, .per = std::chrono::nanoseconds(1), .linger = {}}};
    nango::sliding_window local{options.share};  // used while Redis is down
    redis_pool redis{options};
    std::atomic<bool> is_down = false;  // until a try succeeds
    std::mutex mutex{};
    outage last{};

    explicit state(redis_limiter_options o) : options(std::move(o)) {
      constexpr std::chrono::nanoseconds least = std::chrono::milliseconds(1), most = std::chrono::minutes(5);
      const auto& [requests, per, linger] = options.rate;
      demand(requests > 0 && per >= least && per <= most && linger.count() >= 0 && linger <= most,
             "requests at least 1, per 1 ms to 5 minutes, linger 0 to 5 minutes");
      demand(options.down == when_down::refuse || options.settle > options.timeout + between_tries,
             "use_local wants a settle of more than timeout + 1 s");
    }

    // The names of the keys in Redis: since, slots, hold, pace. They have a hash of `key`, which may be a secret.
    words names(std::string_view key) const {
      const auto start = '{' + options.prefix + "}:", end = ':' + sha256(key);
      return {start + "since", start + "slots" + end, start + "hold" + end, start + "pace" + end};
    }
    // How long to wait at the least; 0: the slot `id` is taken, until the deadline and what may come after it at the
    // latest (a request counts for a day at most). Nothing: Redis failed. `is_try`: Redis was down.
    std::optional<std::chrono::microseconds> ask(const words& keys, const std::string& id, time_point deadline,
                                                 bool is_try) {
      const auto now = clock::now();
      const auto& [requests, per, linger] = options.rate;
      const auto lease = std::clamp(deadline, now, now + std::chrono::hours(24)) - now + linger + per;
      const auto* const how = is_try && options.down == when_down::use_local ? "restart" : "";
      const auto wait = redis.ask({"EVAL", acquire_script, "4", keys[0], keys[1], keys[2], keys[3], id,
                                   std::to_string(requests), micros(per), micros(lease), micros(options.settle), how},
                                  (std::min)(deadline, now + options.timeout));
      if (!wait && clock::now() < deadline) failed(wait.error());  // later it may just have been asked too late
      if (!wait) return std::nullopt;
      if (is_try) is_down = false;
      return std::chrono::microseconds(*wait);
    }
    // If this fails, the slot stays taken until its lease ends, which is the safe side.
    void end(const std::string& slots, const std::string& id, bool was_answered) noexcept try {
      const auto& [requests, per, linger] = options.rate;
      tell({"EVAL", end_script, "1", slots, id, micros(was_answered ? per : per + linger)});
    } catch (...) {  // out of memory
    }
    void tell(const words& command) {
      if (is_down) return;
      if (const auto told = redis.ask(command, clock::now() + options.timeout); !told) failed(told.error());
    }

    void failed(const nango::error& why) {
      const std::lock_guard lock(mutex);
      const auto now = clock::now();
      last = {.began = is_down ? last.began : now, .next_try = now + between_tries, .why = why};
      is_down = true;
    }
    outage last_outage() {
      const std::lock_guard lock(mutex);
      return last;
    }
    // While Redis is down, one caller a second may try it.
    bool may_try() {
      const std::lock_guard lock(mutex);
      const auto now = clock::now();
      if (now < last.next_try) return false;
      last.next_try = now + between_tries;
      return true;
    }
  };

  maybe through_redis(std::string_view key, time_point deadline, const nango::cancel_token& cancel, bool is_try) {
    const auto turn = state_->queue.acquire(key, deadline, cancel);
    if (!turn) return turn.error();
    const auto keys = state_->names(key);
    std::random_device random;
    const auto id = std::to_string(random()) + '-' + std::to_string(random());
    while (state_->is_down == is_try) {
      const auto asked = clock::now();
      if (asked >= deadline) return unsent(errc::timed_out, "the deadline passed while waiting for Redis");
      const auto wait = state_->ask(keys, id, deadline, is_try);
      if (!wait) break;
      if (wait->count() == 0) return permit(std::unique_ptr<slot>(new slot{state_, keys[1], id}));
      if (*wait > deadline - asked) {
        auto e = unsent(errc::rate_limited, "the rate limiter's next turn comes after the deadline");
        e.retry_after = std::chrono::ceil<std::chrono::milliseconds>(*wait);
        return e;
      }
      if (!sleep_until(clock::now() + *wait, cancel)) return canceled();
    }
    return std::nullopt;
  }

  maybe without_redis(std::string_view key, time_point deadline, const nango::cancel_token& cancel) {
    const auto outage = state_->last_outage();
    if (state_->options.down == when_down::refuse) return outage.why;
    state_->local.hold(key, outage.began + rate().per);
    const auto until = (std::min)(deadline, outage.next_try);
    auto turn = state_->local.acquire(key, until, cancel);
    if (turn && state_->is_down) return permit(*std::move(turn));
    if (turn) {
      turn->answered();  // and was not used
      return std::nullopt;
    }
    const auto& e = turn.error();
    const bool may_wait = until < deadline && (e.code == errc::rate_limited || e.code == errc::timed_out);
    if (!may_wait || e.retry_after > deadline - clock::now()) return e;
    if (!sleep_until(until, cancel)) return canceled();
    return std::nullopt;
  }

  static bool sleep_until(time_point t, const nango::cancel_token& cancel) {
    constexpr std::chrono::nanoseconds longest = std::chrono::milliseconds(50);
    for (auto now = clock::now(); now < t && !cancel.canceled(); now = clock::now()) {
      std::this_thread::sleep_for((std::min)(t - now, longest));
    }
    return !cancel.canceled();
  }
  static nango::error unsent(errc code, std::string message) {
    return {.code = code, .message = std::move(message), .may_have_executed = false};
  }
  static nango::error canceled() { return unsent(errc::canceled, "canceled while waiting for the rate limiter"); }
  static void demand(bool holds, const std::string& what) {
    if (!holds) throw nango::exception(unsent(errc::invalid_argument, "redis_limiter: " + what));
  }
  static std::string micros(std::chrono::nanoseconds time) {
    return std::to_string(std::chrono::ceil<std::chrono::microseconds>(time).count());
  }
  static std::string sha256(std::string_view text) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    std::string hex;
    for (const auto byte : digest) hex += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return hex;
  }

  std::shared_ptr<state> state_;
};

static_assert(nango::rate_limiter<redis_limiter>);

#endif
