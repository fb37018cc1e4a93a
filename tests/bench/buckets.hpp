// What people write instead of this header's limiter, as limiters for its client: 20 lines and one mutex each.
#ifndef NANGO_TESTS_BUCKETS_HPP
#define NANGO_TESTS_BUCKETS_HPP

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "nango.hpp"

namespace nango_bench {

using time_point = std::chrono::steady_clock::time_point;

/// `requests` tokens at most, which come back at an even rate; a request takes one.
class token_bucket {
 public:
  using clock = nango::steady_clock;
  struct permit {
    void answered() {}
  };
  explicit token_bucket(nango::rate r)
      : full_(static_cast<double>(r.requests)), per_ns_(full_ / static_cast<double>(r.per.count())) {}

  nango::result<permit> acquire(std::string_view key, time_point deadline, const nango::cancel_token& = {}) {
    std::unique_lock lock(all_->mutex);
    auto& bucket = all_->buckets.try_emplace(std::string(key), state{full_, clock::now()}).first->second;
    for (;;) {
      const auto now = clock::now();
      const auto since = std::chrono::nanoseconds(now - bucket.filled);
      bucket = {(std::min)(full_, bucket.tokens + static_cast<double>(since.count()) * per_ns_), now};
      if (bucket.tokens >= 1) {
        bucket.tokens -= 1;
        return permit{};
      }
      const auto next = now + std::chrono::nanoseconds(static_cast<long long>((1 - bucket.tokens) / per_ns_) + 1);
      if (next > deadline) return nango::error{.code = nango::errc::rate_limited, .message = "no token in time"};
      lock.unlock();
      std::this_thread::sleep_until(next);
      lock.lock();
    }
  }
  void hold(std::string_view, time_point) {}

 private:
  struct state {
    double tokens = 0;
    time_point filled{};
  };
  struct shared {
    std::mutex mutex{};
    std::unordered_map<std::string, state> buckets{};
  };
  double full_, per_ns_;
  std::shared_ptr<shared> all_ = std::make_shared<shared>();
};

/// One request each per / requests, in a queue that is as long as `requests`.
class leaky_bucket {
 public:
  using clock = nango::steady_clock;
  struct permit {
    void answered() {}
  };
  explicit leaky_bucket(nango::rate r) : step_(r.per / static_cast<long long>(r.requests)) {}

  nango::result<permit> acquire(std::string_view key, time_point deadline, const nango::cancel_token& = {}) {
    std::unique_lock lock(all_->mutex);
    auto& next = all_->next[std::string(key)];
    const auto now = clock::now();
    const auto turn = (std::max)(next, now);
    if (turn > now && turn > deadline)
      return nango::error{.code = nango::errc::rate_limited, .message = "no turn in time"};
    next = turn + step_;
    lock.unlock();
    std::this_thread::sleep_until(turn);
    return permit{};
  }
  void hold(std::string_view, time_point) {}

 private:
  struct shared {
    std::mutex mutex{};
    std::unordered_map<std::string, time_point> next{};
  };
  std::chrono::nanoseconds step_;
  std::shared_ptr<shared> all_ = std::make_shared<shared>();
};

static_assert(nango::rate_limiter<token_bucket> && nango::rate_limiter<leaky_bucket>);

}  // namespace nango_bench

#endif
