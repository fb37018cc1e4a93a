// Retries: next_delay, the pure function that decides whether there is another attempt, and when.
#include "nango.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>

namespace retry_tests {

using namespace std::chrono_literals;
using nango::errc;
using nango::error;
using nango::next_delay;
using nango::retry_policy;
using std::chrono::milliseconds;

using delay = std::optional<milliseconds>;
static_assert(
    std::is_same_v<decltype(&next_delay), delay (*)(const error&, std::string_view, int, const retry_policy&, double)>);

namespace {

constexpr double nearly_one = 1 - std::numeric_limits<double>::epsilon() / 2;  // the largest number below 1
constexpr int most_attempts = std::numeric_limits<int>::max();

/// An error worth another attempt of a GET.
error unreachable(delay retry_after = {}) {
  return {.code = errc::connection_failed, .message = "refused", .retry_after = retry_after};
}

/// The delay after the attempt `number` of a GET, which has to be followed by another.
milliseconds after(int number, double jitter, const retry_policy& policy = {}, const error& e = unreachable()) {
  const delay found = next_delay(e, "GET", number, policy, jitter);
  REQUIRE(found.has_value());
  return *found;
}
bool is_last(int number, const retry_policy& policy = {}) {
  return !next_delay(unreachable(), "GET", number, policy, 0.5).has_value();
}

struct outcome {
  errc code;
  int http_status;
  bool worth_another;
};

constexpr outcome outcomes[] = {
    {errc::params_error, 400, false},
    {errc::params_error, 500, false},
    {errc::processing_error, 500, true},
    {errc::processing_error, 200, true},
    {errc::auth_error, 401, false},
    {errc::auth_error, 503, false},
    {errc::api_error, 409, false},
    {errc::api_error, 503, false},
    {errc::rate_limited, 429, true},
    {errc::rate_limited, 0, false},  // the limiter's own
    {errc::unexpected_status, 0, false},
    {errc::unexpected_status, 302, false},
    {errc::unexpected_status, 404, false},
    {errc::unexpected_status, 408, true},  // it crossed the request on a kept connection (RFC 9110)
    {errc::params_error, 408, true},       // whatever an envelope or other JSON says
    {errc::auth_error, 408, true},
    {errc::api_error, 408, true},
    {errc::unexpected_status, 407, false},
    {errc::unexpected_status, 409, false},
    {errc::unexpected_status, 425, false},
    {errc::unexpected_status, 499, false},
    {errc::unexpected_status, 500, true},
    {errc::unexpected_status, 501, false},
    {errc::unexpected_status, 502, true},
    {errc::unexpected_status, 503, true},
    {errc::unexpected_status, 504, true},
    {errc::unexpected_status, 505, false},
    {errc::unexpected_status, 519, false},
    {errc::unexpected_status, 520, true},
    {errc::unexpected_status, 521, true},
    {errc::unexpected_status, 522, true},
    {errc::unexpected_status, 523, true},
    {errc::unexpected_status, 524, true},
    {errc::unexpected_status, 525, false},
    {errc::unexpected_status, 599, false},
    {errc::invalid_argument, 0, false},
    {errc::malformed_response, 200, false},
    {errc::malformed_response, 503, false},
    {errc::decode_error, 200, false},
    {errc::response_too_large, 200, false},
    {errc::response_too_large, 503, false},
    {errc::connection_failed, 0, true},
    {errc::tls_failed, 0, false},
    {errc::timed_out, 0, true},
    {errc::canceled, 0, false},
    {errc{}, 0, false},
};

struct method {
  std::string_view name;
  bool can_be_repeated;
};

constexpr method methods[] = {
    {"GET", true},    {"HEAD", true},     {"PUT", true},    {"DELETE", true},    {"POST", false},
    {"PATCH", false}, {"OPTIONS", false}, {"TRACE", false}, {"PROPFIND", false}, {"", false},
    {"get", false},   {"GETS", false},    {"PUTT", false},  {"GE", false},       {"DELETED", false},
};

}  // namespace

// ---- Whether -------------------------------------------------------------------------------------------------------

TEST_CASE("there is another attempt by the kind of error, by the method, and by whether the API may have acted") {
  for (const auto& row : outcomes) {
    for (const auto& of : methods) {
      for (const bool may_have_executed : {true, false}) {
        CAPTURE(to_string(row.code));
        CAPTURE(row.http_status);
        CAPTURE(of.name);
        CAPTURE(may_have_executed);
        const error e{.code = row.code, .http_status = row.http_status, .may_have_executed = may_have_executed};
        const bool expected = row.worth_another && (of.can_be_repeated || !may_have_executed);
        CHECK(next_delay(e, of.name, 1, {}, 0.5).has_value() == expected);
      }
    }
  }
}

TEST_CASE("an error that says when to come back is not worth another attempt for that") {
  for (const auto& row : outcomes) {
    CAPTURE(to_string(row.code));
    CAPTURE(row.http_status);
    const error e{.code = row.code, .http_status = row.http_status, .retry_after = 5s};
    CHECK(next_delay(e, "GET", 1, {}, 0.5) == (row.worth_another ? delay(5s) : std::nullopt));
  }
}

TEST_CASE("no other field of an error affects the retry") {
  const error e{.code = errc::connection_failed,
                .type = "AUTH_ERROR",
                .message = "429",
                .attempts = 7,
                .body = R"({"status":"error"})"};
  CHECK(next_delay(e, "GET", 1, {}, 0.5) == next_delay(unreachable(), "GET", 1, {}, 0.5));
}

TEST_CASE("the last attempt is the policy's max_attempts") {
  for (const int most : {1, 2, 3, 10}) {
    const retry_policy policy{.max_attempts = most};
    for (int number = 1; number <= 12; ++number) {
      CAPTURE(most);
      CAPTURE(number);
      CHECK(is_last(number, policy) == (number >= most));
    }
  }
}

TEST_CASE("without anything said there are three attempts") {
  CHECK(retry_policy().max_attempts == 3);
  CHECK_FALSE(is_last(2));
  CHECK(is_last(3));
}

TEST_CASE("a policy of no attempts at all is one of no retries") {
  for (const int most : {0, -1, std::numeric_limits<int>::min()}) CHECK(is_last(1, {.max_attempts = most}));
}

// ---- How long ------------------------------------------------------------------------------------------------------

TEST_CASE("without anything said the delays are up to 100 ms and 200 ms") {
  CHECK(retry_policy().base_delay == 100ms);
  CHECK(retry_policy().max_delay == 5s);
  CHECK(after(1, 0.5) == 50ms);
  CHECK(after(2, 0.5) == 100ms);
}

TEST_CASE("the bound doubles with each attempt until it is max_delay") {
  const retry_policy policy{.max_attempts = 100, .base_delay = 100ms, .max_delay = 5s};
  const milliseconds bounds[] = {100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 5000ms, 5000ms, 5000ms};
  int number = 0;
  for (const auto bound : bounds) {
    ++number;
    CAPTURE(number);
    CHECK(after(number, 0.5, policy) == bound / 2);
    CHECK(after(number, 0.25, policy) == bound / 4);
  }
  CHECK(after(99, 0.5, policy) == 2500ms);
}

TEST_CASE("a max_delay that is no doubling of base_delay is the bound from where the next doubling would exceed it") {
  const auto bound = [](int number, milliseconds max_delay) {
    return after(number, nearly_one, {.max_attempts = 10, .base_delay = 100ms, .max_delay = max_delay}) + 1ms;
  };
  CHECK(bound(2, 250ms) == 200ms);
  CHECK(bound(3, 250ms) == 250ms);
  CHECK(bound(2, 201ms) == 200ms);
  CHECK(bound(2, 199ms) == 199ms);
}

TEST_CASE("the jitter is full: from nothing to just below the bound") {
  const retry_policy policy{.max_attempts = 100, .base_delay = 1000ms, .max_delay = 60s};
  for (const auto& row : {std::pair{1, 1000ms}, {2, 2000ms}, {6, 32'000ms}, {7, 60'000ms}, {50, 60'000ms}}) {
    CAPTURE(row.first);
    CHECK(after(row.first, 0, policy) == 0ms);
    CHECK(after(row.first, nearly_one, policy) < row.second + 1ms);
    CHECK(after(row.first, nearly_one, policy) >= row.second - 1ms);
  }
}

TEST_CASE("a delay grows with its jitter and never leaves its bounds") {
  const retry_policy policy{.max_attempts = 10, .base_delay = 777ms, .max_delay = 5s};
  for (const auto& [number, bound] : {std::pair{1, 777ms}, {2, 1554ms}, {3, 3108ms}, {4, 5000ms}}) {
    milliseconds last = 0ms;
    for (int step = 0; step < 64; ++step) {
      const auto now = after(number, step / 64.0, policy);
      CHECK(now >= last);
      CHECK(now <= bound);
      last = now;
    }
    CHECK(last > bound * 9 / 10);
  }
}

TEST_CASE("a max_delay below the base_delay is the bound from the first attempt on") {
  const retry_policy policy{.max_attempts = 10, .base_delay = 1s, .max_delay = 300ms};
  for (const int number : {1, 2, 9}) CHECK(after(number, 0.5, policy) == 150ms);
}

TEST_CASE("delays of nothing are no delays") {
  for (const int number : {1, 2, 9, most_attempts - 1}) {  // the last would take long if they were counted one by one
    CHECK(after(number, nearly_one, {.max_attempts = most_attempts, .base_delay = 0ms}) == 0ms);
    CHECK(after(number, nearly_one, {.max_attempts = most_attempts, .max_delay = 0ms}) == 0ms);
    CHECK(after(number, nearly_one, {.max_attempts = most_attempts, .base_delay = 0ms, .max_delay = 0ms}) == 0ms);
  }
}

TEST_CASE("no delay is shorter than retry_after, and a longer one stays") {
  const retry_policy policy{.max_attempts = 3, .base_delay = 1s, .max_delay = 2s};
  const auto wait = [&](milliseconds retry_after, double jitter) {
    return after(1, jitter, policy, unreachable(retry_after));
  };
  CHECK(wait(700ms, 0) == 700ms);
  CHECK(wait(700ms, 0.5) == 700ms);
  CHECK(wait(700ms, 0.75) == 750ms);
  CHECK(wait(0ms, 0.5) == 500ms);
  CHECK(wait(0ms, 0) == 0ms);
  CHECK(wait(90s, 0.5) == 90s);  // longer than max_delay: the server knows better
  CHECK(wait(90s, nearly_one) == 90s);
}

TEST_CASE("retry_after counts for every error that is worth another attempt") {
  for (const auto& row : outcomes) {
    if (!row.worth_another) continue;
    CAPTURE(to_string(row.code));
    const error e{.code = row.code, .http_status = row.http_status, .retry_after = 700ms, .may_have_executed = false};
    CHECK(next_delay(e, "POST", 1, {}, 0.5) == 700ms);
    CHECK(next_delay(e, "GET", 2, {}, 0.5) == 700ms);
  }
}

TEST_CASE("a retry_after that is negative shortens nothing") {
  CHECK(after(1, 0.5, {}, unreachable(-5s)) == 50ms);
  CHECK(after(1, 0, {}, unreachable(-5s)) == 0ms);
  CHECK(after(1, 0.5, {}, unreachable(milliseconds::min())) == 50ms);
}

// ---- Numbers at their ends -----------------------------------------------------------------------------------------

TEST_CASE("the longest delays overflow nothing") {
  const retry_policy policy{
      .max_attempts = most_attempts, .base_delay = milliseconds::max(), .max_delay = milliseconds::max()};
  for (const int number : {1, 2, 63, 64, 65, most_attempts - 1}) {
    CAPTURE(number);
    CHECK(after(number, 0, policy) == 0ms);
    const auto half = after(number, 0.5, policy);
    CHECK(half > milliseconds::max() / 2 - 1h);
    CHECK(half < milliseconds::max() / 2 + 1h);
    CHECK(after(number, nearly_one, policy) > milliseconds::max() - 1h);
  }
}

TEST_CASE("the bound grows to the longest delay and stays there, however many attempts there were") {
  const retry_policy policy{.max_attempts = most_attempts, .base_delay = 1ms, .max_delay = milliseconds::max()};
  CHECK(after(11, 0.5, policy) == 512ms);
  CHECK(after(41, 0.5, policy) == milliseconds(1LL << 39));
  milliseconds last = 0ms;
  for (const int number : {1, 2, 31, 32, 33, 62, 63, 64, 65, 66, 1000, most_attempts - 1}) {
    CAPTURE(number);
    const auto now = after(number, 0.5, policy);
    CHECK(now >= last);
    last = now;
  }
  CHECK(last > milliseconds::max() / 2 - 1h);
}

TEST_CASE("a bound that does not double to max_delay exactly ends there all the same") {
  const milliseconds odd = milliseconds::max() / 3 * 2;
  const retry_policy policy{.max_attempts = most_attempts, .base_delay = milliseconds::max() / 2, .max_delay = odd};
  for (const int number : {2, 3, 100}) {
    CHECK(after(number, 0.5, policy) > odd / 2 - 1h);
    CHECK(after(number, 0.5, policy) < odd / 2 + 1h);
  }
}

TEST_CASE("the longest retry_after is the delay") {
  CHECK(after(1, nearly_one, {}, unreachable(milliseconds::max())) == milliseconds::max());
}

}  // namespace retry_tests
