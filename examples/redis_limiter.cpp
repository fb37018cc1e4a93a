// One limit for many processes on many machines: a rate limiter for the client that counts in Redis.
//
//   nango::basic_client<nango::httplib_backend, redis_limiter> api{options, backend, redis_limiter{{.host = "..."}}};
//
// The promise: the server never sees more than `rate.requests` for one key in any span of `rate.per`, whatever the
// network does, on the terms of nango::sliding_window. It holds across processes as long as Redis is up, keeps its
// memory, and its wall clock (TIME) does not jump ahead.
// - A slot is taken before the request is sent, and counts until `per` after its answer.
// - Once a caller had to wait, callers proceed one step apart, until nobody has had to wait for 2 * per.
// - A 429 that one process meets holds the key for all of them.
// - The slots of a process that dies come back after its requests' deadlines + linger + per.
// - When the clock goes back, requests that were counted count for longer.
//
// Its limits:
// - Callers are served first come, first served within a process, but not between processes.
// - Only the first waiter of a process knows the wait, and fails at once when its deadline cannot be met. The others
// get
//   timed_out at their deadline.
// - After Redis was restarted, emptied or replaced by its replica, and at the very first call, everybody waits for
//   per + settle, because nobody knows what Redis forgot. Requests that were in flight then, and arrive later than
//   `settle` after the first question, are not counted.
//
// When Redis is down, or hangs for longer than `timeout` (calls with less time than that do not notice), `when_down`
// decides:
// - refuse: each call fails at once with connection_failed, and nothing was sent. The promise holds.
// - use_local: each process continues alone with its `share`, after a pause of `per` in which what Redis admitted
// expires.
//   The promise holds if Redis is down for all, if all shares and the requests in flight at the switch are together at
//   most `rate.requests`, and if requests sent without Redis arrive within `settle` of its return. A process that alone
//   lost Redis sends its share on top of what Redis grants the others, until Redis is back and makes all wait for
//   per + settle.
// One call a second tries Redis again; no other call waits for it.
//
// It costs one round trip for each permit and one for each answer, and a few more where callers wait. It needs Redis 5
// or later with `maxmemory-policy noeviction`, because an evicted key is a forgotten one. Redis stores only hashes of
// the tokens. All keys expire and share one hash tag, so that the scripts also work behind a proxy to a cluster.
// `timeout` does not bound name lookups, so give an address. hiredis 0.14 has no TLS: use a tunnel.

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

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
local id, requests, per, lease, settle = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local step = 1.01 * per / requests
local run = redis.call('INFO', 'server'):match('run_id:(%w+)')
if ARGV[6] == 'restart' or redis.call('HGET', since, 'run') ~= run then
  redis.call('HSET', since, 'run', run, 'at', now)
end
redis.call('PEXPIRE', since, 86400000)
redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
if redis.call('ZSCORE', slots, id) then return 0 end -- asked again, because the answer was lost
local turn, till = redis.call('HGET', pace, 'turn') or 0, redis.call('HGET', pace, 'till') or 0
local wait = math.max(0, redis.call('HGET', since, 'at') + per + settle - now,
                      (redis.call('GET', hold) or 0) - now, turn - now)
local excess = redis.call('ZCARD', slots) - requests
if excess >= 0 then
  local back = redis.call('ZRANGE', slots, excess, excess, 'WITHSCORES')[2]
  wait = math.max(wait, math.min(back - now, per))
end
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

inline const std::string hold_script = script_start + R"lua(
local ends = now + math.min(ARGV[1], 300000000)
if ends > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], ends, 'PX', math.ceil((ends - now) / 1000))
end
return 0
)lua";

// ---- Connections to Redis ------------------------------------------------------------------------------------------

// Keeps SIGPIPE from this thread during its lifetime, because hiredis writes without MSG_NOSIGNAL.
class no_sigpipe {
 public:
  no_sigpipe() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &mask_);
  }
  ~no_sigpipe() {
    const timespec at_once{};
    if (!was_pending_) sigtimedwait(&sigpipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  no_sigpipe(const no_sigpipe&) = delete;
  no_sigpipe& operator=(const no_sigpipe&) = delete;

 private:
  bool was_pending_ = false;
  sigset_t sigpipe_{}, mask_{};
};

// A pool: one caller uses a connection at a time, and a failed connection is closed.
class redis_connections {
  using time_point = std::chrono::steady_clock::time_point;
  using texts = std::vector<std::string>;
  using connection = std::unique_ptr<redisContext, decltype(&redisFree)>;
  using reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

 public:
  redis_connections(std::string host, int port, std::string password)
      : host_(std::move(host)), port_(port), password_(std::move(password)) {}

  // The number that the script returns, or connection_failed if there is none by `end`.
  nango::result<long long> run(const std::string& script, const texts& keys, const texts& arguments, time_point end) {
    const no_sigpipe quiet;
    texts words{"EVAL", script, std::to_string(keys.size())};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    auto line = take_idle();
    auto said = line ? command(*line, words, end) : no_reply();
    const bool was_stale = line && !said && (line->err == REDIS_ERR_EOF || errno == ECONNRESET || errno == EPIPE);
    if (!line || was_stale) {  // Redis closes long idle connections
      auto fresh = connect(end);
      if (!fresh) return std::move(fresh).error();
      line = *std::move(fresh);
      said = command(*line, words, end);
    }
    if (!said || said->type != REDIS_REPLY_INTEGER) return failure(*line, said.get());
    give_back(std::move(line));
    return said->integer;
  }

 private:
  static reply no_reply() { return {nullptr, &freeReplyObject}; }
  static timeval time_until(time_point end) {
    const auto left = std::chrono::ceil<std::chrono::microseconds>(end - std::chrono::steady_clock::now());
    const auto some = (std::max)(left, std::chrono::microseconds(1000));
    return {some.count() / 1'000'000, static_cast<suseconds_t>(some.count() % 1'000'000)};
  }
  static bool is_error(const redisReply& said) { return said.type == REDIS_REPLY_ERROR; }
  // What failed on one connection will fail on the idle ones too, so they are closed.
  nango::error failure(const redisContext& line, const redisReply* said = nullptr) {
    const std::string why = said == nullptr ? line.errstr : is_error(*said) ? said->str : "not the reply of a Redis";
    {
      const std::lock_guard lock(mutex_);
      idle_.clear();
    }
    return {.code = nango::errc::connection_failed,
            .message = "the rate limiter's Redis at " + host_ + ':' + std::to_string(port_) + " fails: " + why +
                       "; start it, or choose when_down::use_local",
            .may_have_executed = false};
  }

  // Sends nothing that changes Redis before it has answered. So a Redis that hung finds, when it goes on, what callers
  // asked on idle connections before the first failure (such a slot is taken until its lease ends), but no later tries.
  nango::result<connection> connect(time_point end) {
    connection line(redisConnectWithTimeout(host_.c_str(), port_, time_until(end)), &redisFree);
    if (!line) throw std::bad_alloc();
    if (line->err != 0) return failure(*line);
    ::fcntl(line->fd, F_SETFD, FD_CLOEXEC);
    auto said = command(*line, password_.empty() ? texts{"PING"} : texts{"AUTH", password_}, end);
    if (!said || is_error(*said)) return failure(*line, said.get());
    return line;
  }
  static reply command(redisContext& line, const texts& words, time_point end) {
    redisSetTimeout(&line, time_until(end));
    std::vector<const char*> starts;
    std::vector<std::size_t> sizes;
    for (const auto& word : words) {
      starts.push_back(word.data());
      sizes.push_back(word.size());
    }
    errno = 0;
    void* const said = redisCommandArgv(&line, static_cast<int>(words.size()), starts.data(), sizes.data());
    return {static_cast<redisReply*>(said), &freeReplyObject};
  }

  connection take_idle() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return {nullptr, &redisFree};
    auto line = std::move(idle_.back());
    idle_.pop_back();
    return line;
  }
  void give_back(connection line) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < 16) idle_.push_back(std::move(line));
  }

  const std::string host_;
  const int port_;
  const std::string password_;
  std::mutex mutex_{};
  std::vector<connection> idle_{};
};

// ---- The limiter ---------------------------------------------------------------------------------------------------

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

// The state that copies of a limiter share.
class redis_limiter_state {
 public:
  using clock = nango::steady_clock;
  using time_point = std::chrono::steady_clock::time_point;
  using texts = std::vector<std::string>;
  struct outage {
    time_point began{}, next_try{};
    nango::error why{};
  };

  const redis_limiter_options options;
  nango::sliding_window line;   // at one request a nanosecond: a queue for each key, with deadlines and holds
  nango::sliding_window local;  // used while Redis is down

  explicit redis_limiter_state(redis_limiter_options o)
      : options(std::move(o)),
        line({.requests = 1, .per = std::chrono::nanoseconds(1), .linger = std::chrono::nanoseconds(0)}),
        local(options.share),
        redis_(options.host, options.port, options.password) {
    constexpr std::chrono::nanoseconds none{}, least = std::chrono::milliseconds(1), most = std::chrono::minutes(5);
    const auto& [requests, per, linger] = options.rate;
    demand(requests > 0 && per >= least && per <= most && linger >= none && linger <= most,
           "requests at least 1, per 1 ms to 5 minutes, linger 0 to 5 minutes");
    demand(options.down == when_down::refuse || options.settle > options.timeout + between_tries,
           "use_local wants a settle of more than timeout + 1 s");
  }

  static nango::error unsent(nango::errc code, std::string message) {
    return {.code = code, .message = std::move(message), .may_have_executed = false};
  }

  // The names of the keys in Redis: since, slots, hold, pace. They have a hash of `key`, which may be a secret.
  texts names(std::string_view key) const {
    const auto start = '{' + options.prefix + "}:", end = ':' + sha256(key);
    return {start + "since", start + "slots" + end, start + "hold" + end, start + "pace" + end};
  }
  // The process id distinguishes the children of a process that forked.
  std::string new_id() { return process_ + std::to_string(::getpid()) + '-' + std::to_string(++ids_); }

  // How long to wait at the least; 0: the slot `id` is taken, until the deadline and what may come after it at the
  // latest (a request counts for a day at most). Nothing: Redis failed. `is_try`: Redis was down.
  std::optional<std::chrono::microseconds> ask(const texts& keys, const std::string& id, time_point deadline,
                                               bool is_try) {
    const auto now = clock::now();
    const auto& [requests, per, linger] = options.rate;
    const auto lease = std::clamp(deadline - now, now - now, longest_lease) + linger + per;
    const std::string how = is_try && options.down == when_down::use_local ? "restart" : "";
    const texts arguments{id, std::to_string(requests), micros(per), micros(lease), micros(options.settle), how};
    const auto wait = redis_.run(acquire_script, keys, arguments, (std::min)(deadline, now + options.timeout));
    if (!wait && clock::now() < deadline) failed(wait.error());  // later it may just have been asked too late
    if (!wait) return std::nullopt;
    if (is_try) down_ = false;
    return std::chrono::microseconds(*wait);
  }

  // If this fails, the slot stays taken until its lease ends, which is the safe side.
  void end(const std::string& slots, const std::string& id, bool was_answered) noexcept {
    const auto& [requests, per, linger] = options.rate;
    try {
      tell(end_script, slots, {id, micros(was_answered ? per : per + linger)});
    } catch (...) {  // out of memory
    }
  }

  void hold(std::string_view key, time_point until) {
    line.hold(key, until);
    const auto now = clock::now();
    if (until > now) tell(hold_script, names(key)[2], {micros((std::min)(until - now, longest_hold))});
  }

  // While Redis is down, one caller a second may try it.
  bool may_try() {
    const std::lock_guard lock(mutex_);
    const auto now = clock::now();
    if (now < outage_.next_try) return false;
    outage_.next_try = now + between_tries;
    return true;
  }
  bool is_down() const { return down_; }
  outage last_outage() const {
    const std::lock_guard lock(mutex_);
    return outage_;
  }

 private:
  static constexpr std::chrono::seconds between_tries{1};
  static constexpr std::chrono::nanoseconds longest_hold = std::chrono::minutes(5),
                                            longest_lease = std::chrono::hours(24);

  static std::string sha256(std::string_view text) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    std::string hex;
    for (const auto byte : digest) hex += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return hex;
  }
  static void demand(bool holds, std::string what) {
    if (!holds) throw nango::exception(unsent(nango::errc::invalid_argument, "redis_limiter: " + std::move(what)));
  }
  static std::string micros(std::chrono::nanoseconds d) {
    return std::to_string(std::chrono::ceil<std::chrono::microseconds>(d).count());
  }
  static std::string random_text() {
    std::random_device random;
    return std::to_string(random()) + '-' + std::to_string(random()) + '-';
  }

  void tell(const std::string& script, const std::string& key, const texts& arguments) {
    if (down_) return;
    if (auto told = redis_.run(script, {key}, arguments, clock::now() + options.timeout); !told) failed(told.error());
  }
  void failed(const nango::error& why) {
    const std::lock_guard lock(mutex_);
    const auto now = clock::now();
    if (!down_) outage_.began = now;
    outage_.next_try = now + between_tries;
    outage_.why = why;
    down_ = true;
  }

  redis_connections redis_;
  const std::string process_ = random_text();
  std::atomic<std::size_t> ids_ = 0;
  std::atomic<bool> down_ = false;  // until a try succeeds
  mutable std::mutex mutex_{};
  outage outage_{};
};

class redis_limiter {
  using state = redis_limiter_state;
  struct slot {
    std::shared_ptr<state> of;
    std::string key, id;
    bool answered = false;
    ~slot() { of->end(key, id, answered); }
  };

 public:
  using clock = state::clock;
  using time_point = state::time_point;

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
      const bool is_down = state_->is_down();
      auto outcome = !is_down || state_->may_try() ? through_redis(key, deadline, cancel, is_down)
                                                   : without_redis(key, deadline, cancel);
      if (outcome) return *std::move(outcome);
    }
  }
  // Never shortens an earlier hold; 5 minutes at most. While Redis is down, only this process holds.
  void hold(std::string_view key, time_point until) { state_->hold(key, until); }

  const nango::rate& rate() const noexcept { return state_->options.rate; }

 private:
  using errc = nango::errc;
  using maybe = std::optional<nango::result<permit>>;  // empty if Redis went down or came back: start again

  maybe through_redis(std::string_view key, time_point deadline, const nango::cancel_token& cancel, bool is_try) {
    const auto turn = state_->line.acquire(key, deadline, cancel);
    if (!turn) return turn.error();
    const auto keys = state_->names(key);
    const auto id = state_->new_id();
    while (state_->is_down() == is_try) {
      const auto asked = clock::now();
      if (asked >= deadline) return state::unsent(errc::timed_out, "the deadline passed while waiting for Redis");
      const auto wait = state_->ask(keys, id, deadline, is_try);
      if (!wait) return std::nullopt;
      if (wait->count() == 0) return permit(std::unique_ptr<slot>(new slot{state_, keys[1], id}));
      if (*wait > deadline - asked) return too_late(*wait);
      if (!sleep_until(clock::now() + *wait, cancel)) return canceled();
    }
    return std::nullopt;
  }

  maybe without_redis(std::string_view key, time_point deadline, const nango::cancel_token& cancel) {
    const auto outage = state_->last_outage();
    if (state_->options.down == when_down::refuse) return outage.why;
    const auto now = clock::now();
    // The holds of this process count here too. 1 ms means that there is none and the queue is in use.
    if (const auto held = state_->line.acquire(key, now);
        !held && held.error().retry_after > std::chrono::milliseconds(1)) {
      state_->local.hold(key, now + *held.error().retry_after);
    }
    state_->local.hold(key, outage.began + rate().per);
    const auto until = (std::min)(deadline, outage.next_try);
    auto turn = state_->local.acquire(key, until, cancel);
    if (turn && state_->is_down()) return permit(*std::move(turn));
    if (turn) turn->answered();  // and was not used
    if (turn) return std::nullopt;
    const auto& e = turn.error();
    if (e.code != errc::rate_limited && e.code != errc::timed_out) return e;
    if (until == deadline || e.retry_after > deadline - clock::now()) return e;
    if (!sleep_until(until, cancel)) return canceled();
    return std::nullopt;
  }

  static nango::error too_late(std::chrono::microseconds wait) {
    auto e = state::unsent(errc::rate_limited, "the rate limiter's next turn comes after the deadline");
    e.retry_after = std::chrono::ceil<std::chrono::milliseconds>(wait);
    return e;
  }
  static nango::error canceled() {
    return state::unsent(errc::canceled, "canceled while waiting for the rate limiter");
  }
  static bool sleep_until(time_point t, const nango::cancel_token& cancel) {
    constexpr std::chrono::nanoseconds longest = std::chrono::milliseconds(50);
    for (auto now = clock::now(); now < t && !cancel.canceled(); now = clock::now()) {
      std::this_thread::sleep_for((std::min)(t - now, longest));
    }
    return !cancel.canceled();
  }

  std::shared_ptr<state> state_;
};

static_assert(nango::rate_limiter<redis_limiter>);

// ---- A program: some threads that call for some seconds, as fast as they may ---------------------------------------

namespace {

struct arguments {
  int threads = 4, seconds = 6, share = 20;
  when_down down = when_down::refuse;
  std::string redis_host{};
  int redis_port = 0;
};

int number(const std::string& name, std::string_view text, int most) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_good = problem == std::errc() && end == text.data() + text.size() && value >= 1 && value <= most;
  if (!is_good) throw std::invalid_argument(name + " wants a number from 1 to " + std::to_string(most));
  return value;
}

// Throws std::invalid_argument.
arguments read(int argc, char** argv) {
  arguments wanted;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--threads") {
      wanted.threads = number(name, value, 1000);
    } else if (name == "--seconds") {
      wanted.seconds = number(name, value, 3600);
    } else if (name == "--share") {
      wanted.share = number(name, value, 1000);
    } else if (name == "--when-down") {
      if (value != "refuse" && value != "local") throw std::invalid_argument(name + " wants refuse or local");
      wanted.down = value == "local" ? when_down::use_local : when_down::refuse;
    } else {
      throw std::invalid_argument(name + " is unknown");
    }
  }
  auto redis = nango::env("NANGO_REDIS");
  if (redis.empty()) redis = "127.0.0.1:6379";
  wanted.redis_host = redis.substr(0, redis.rfind(':'));
  wanted.redis_port = number("NANGO_REDIS's port", redis.substr(redis.rfind(':') + 1), 65'535);
  return wanted;
}

// Calls until the time is over, and prints the outcomes. Returns 0 if some calls succeeded.
template <class Client> int call_on(const Client& user, const arguments& wanted) {
  std::mutex mutex;
  std::map<std::string, int> outcomes;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(wanted.seconds);
  const auto one_thread = [&] {
    while (std::chrono::steady_clock::now() < end) {
      const auto contacts = user.get("crm/contacts");
      const std::string outcome(contacts ? "ok" : to_string(contacts.error().code));
      {
        const std::lock_guard lock(mutex);
        if (outcomes[outcome]++ == 0 && !contacts) std::cerr << contacts.error() << '\n';  // the first of its kind
      }
      if (!contacts) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  };
  std::vector<std::thread> threads(static_cast<std::size_t>(wanted.threads));
  for (auto& thread : threads) thread = std::thread(one_thread);
  for (auto& thread : threads) thread.join();
  std::cout << "calls:";
  for (const auto& [outcome, count] : outcomes) std::cout << ' ' << outcome << '=' << count;
  std::cout << std::endl;
  return outcomes["ok"] > 0 ? 0 : 1;
}

// With NANGO_API_KEY and NANGO_USER_TOKEN it calls the real API (or NANGO_BASE_URL), else a local server of it.
int run(const arguments& wanted) {
  nango::client_options options{.api_key = nango::env("NANGO_API_KEY"),
                                .user_token = nango::env("NANGO_USER_TOKEN"),
                                .ca_file = nango::env("NANGO_CA_FILE")};
  std::optional<nango_test::local_nango> server;
  if (options.api_key.empty()) {
    server.emplace();
    options.api_key = server->api_key();
    options.user_token = server->user_token();
    options.base_url = server->base_url();
    options.ca_file = server->ca_file();
  } else if (const auto base_url = nango::env("NANGO_BASE_URL"); !base_url.empty()) {
    options.base_url = base_url;
  }
  if (options.user_token.empty()) throw std::invalid_argument("NANGO_USER_TOKEN is not set: whose contacts?");
  std::cout << "calling " << options.base_url << ", limited by the Redis at " << wanted.redis_host << ':'
            << wanted.redis_port << std::endl;

  const redis_limiter limiter({.host = wanted.redis_host,
                               .port = wanted.redis_port,
                               .password = nango::env("NANGO_REDIS_PASSWORD"),
                               .rate = options.rate,
                               .down = wanted.down,
                               .share = {.requests = static_cast<std::size_t>(wanted.share)}});
  const nango::httplib_backend backend(options);
  return call_on(nango::basic_client<nango::httplib_backend, redis_limiter>(options, backend, limiter), wanted);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(read(argc, argv));
  } catch (const std::invalid_argument& e) {
    std::cerr << "redis_limiter: " << e.what() << "\n"
              << "usage: redis_limiter [--threads N] [--seconds N] [--when-down refuse|local] [--share N]\n"
                 "NANGO_REDIS: host:port (127.0.0.1:6379); start one there: redis-server --port 6379 --save ''\n";
    return 2;
  } catch (const nango::exception& e) {
    std::cerr << e.error() << '\n';
    return 1;
  }
}
