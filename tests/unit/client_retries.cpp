// Client: deadlines, retries, cancellation, and what the observer sees.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"
#include "timed_client.hpp"

namespace client_retries_tests {

namespace {

using namespace std::chrono_literals;
using nango::errc;
using nango::http_request;
using nango::http_response;
using nango_test::failure;
using nango_test::lost;
using nango_test::manual_clock;
using nango_test::retries_without_delay;
using nango_test::scripted_backend;
using nango_test::timed_client;
using nango_test::too_many;
using nango_test::watched_clock;
using fixture = nango_test::timed_fixture;
using std::chrono::milliseconds;

}  // namespace

// --- Deadlines ---

TEST_CASE("the backend gets the deadline of the call") {
  fixture f;
  f.options.timeout = 7s;
  const auto api = f.client();
  const auto deadline_of = [&](const nango::call_options& options) {
    f.backend.ok();
    CHECK(api.get("x", {}, options));
    return f.backend.last().deadline - manual_clock::now();
  };
  CHECK(deadline_of({}) == 7s);
  CHECK(deadline_of({.timeout = 2ms}) == 2ms);
  CHECK(deadline_of({.timeout = 60s}) == 60s);
  f.backend.ok();
  CHECK(api.send("GET", "x"));
  CHECK(f.backend.last().deadline - manual_clock::now() == 7s);
}

TEST_CASE("an attempt's timeout bounds the deadline that the backend gets, each attempt anew") {
  fixture f;
  f.options.timeout = 5s;
  f.options.attempt_timeout = 2s;
  const auto api = f.client();
  const auto take_2s = [](const http_request&) -> nango::result<http_response> {
    manual_clock::advance(2s);
    return lost(errc::timed_out, true);
  };
  f.backend.then(take_2s).then(take_2s).ok();
  const auto start = manual_clock::now();
  CHECK(api.get("x"));
  REQUIRE(f.backend.calls() == 3);
  CHECK(f.backend.requests()[0].deadline - start == 2s);
  CHECK(f.backend.requests()[1].deadline - start == 4s);
  CHECK(f.backend.requests()[2].deadline - start == 5s);  // the call's own comes first
}

TEST_CASE("an attempt's timeout begins after the wait for the limiter, the call's before it") {
  fixture f;
  f.options.attempt_timeout = 2s;
  f.options.timeout = 20s;
  f.options.rate = {.requests = 1, .per = 3s};
  const auto rolf = f.client().user("rolf");
  f.backend.ok().ok().ok();
  CHECK(rolf.get("x"));
  const auto start = manual_clock::now();
  CHECK(rolf.get("x"));
  CHECK(manual_clock::now() - start == 3s);
  CHECK(f.backend.last().deadline - start == 5s);
  const auto second = manual_clock::now();
  CHECK(rolf.get("x", {}, {.timeout = 4s}));
  CHECK(manual_clock::now() - second == 3030ms);  // those who wait are let go 1.01 * per / requests apart
  CHECK(f.backend.last().deadline - second == 4s);
}

TEST_CASE("the longest timeouts do not overflow") {
  fixture f;
  const auto never = std::chrono::steady_clock::time_point::max();
  f.options.timeout = milliseconds::max();
  f.backend.ok().ok().ok().ok().fail(lost(errc::connection_failed, false)).ok();
  CHECK(f.client().get("x"));
  CHECK(f.backend.last().deadline == never);
  CHECK(f.client().user("rolf").get("x", {}, {.timeout = milliseconds::max() - 1ms}));
  CHECK(f.backend.last().deadline == never);
  CHECK(
      f.client().get("x", {}, {.timeout = std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds::max())}));
  CHECK(f.backend.last().deadline == never);
  f.options.attempt_timeout = milliseconds::max();
  CHECK(f.client().get("x"));
  CHECK(f.backend.last().deadline == never);
  CHECK(f.client().user("rolf").get("x"));  // with a retry
  CHECK(f.backend.last().deadline == never);
}

TEST_CASE("the backend gets the call's cancel token") {
  fixture f;
  const nango::cancel_source source;
  f.backend.then([&](const http_request& request) -> nango::result<http_response> {
    CHECK_FALSE(request.cancel.canceled());
    source.cancel();
    CHECK(request.cancel.canceled());
    return lost(errc::canceled, true);
  });
  const auto e = failure(f.client().get("x", {}, {.cancel = source.token()}));
  CHECK(e.code == errc::canceled);
  CHECK(e.may_have_executed);
  CHECK(e.attempts == 1);
  CHECK(f.backend.calls() == 1);
}

// --- Retries ---

TEST_CASE("errors are retried by code, method and may_have_executed") {
  struct outcome_row {
    std::string what;
    nango::error backend_says;  // or, with code 0, the answer ...
    int status;                 // ... of this status ...
    std::string body;           // ... with this body
    bool idempotent, other;     // tried again: GET, HEAD, PUT and DELETE; POST and PATCH
  };
  const auto envelope = [](const std::string& type) {
    return R"({"status":"error","error_type":")" + type + R"(","error_msg":"no"})";
  };
  const std::vector<outcome_row> table{
      {"refused", lost(errc::connection_failed, false), 0, "", true, true},
      {"reset", lost(errc::connection_failed, true), 0, "", true, false},
      {"timed out", lost(errc::timed_out, true), 0, "", true, false},
      {"timed out before it was sent", lost(errc::timed_out, false), 0, "", true, true},
      {"handshake", lost(errc::tls_failed, false), 0, "", false, false},
      {"canceled", lost(errc::canceled, true), 0, "", false, false},
      {"too large", lost(errc::response_too_large, true), 0, "", false, false},
      {"malformed", lost(errc::malformed_response, true), 0, "", false, false},
      {"429", {}, 429, "", true, true},
      {"processing", {}, 500, envelope("PROCESSING_ERROR"), true, false},
      {"params", {}, 400, envelope("PARAMS_ERROR"), false, false},
      {"auth", {}, 401, envelope("AUTH_ERROR"), false, false},
      {"unknown", {}, 500, envelope("NEW_ERROR"), false, false},
      {"no envelope 500", {}, 500, "", true, false},
      {"no envelope 501", {}, 501, "", false, false},
      {"no envelope 502", {}, 502, "", true, false},
      {"no envelope 503", {}, 503, "", true, false},
      {"no envelope 504", {}, 504, "", true, false},
      {"no envelope 404", {}, 404, "", false, false},
      {"redirect", {}, 302, "", false, false},
      {"contradiction", {}, 200, "no JSON", false, false},
  };
  for (const auto& row : table) {
    CAPTURE(row.what);
    for (const std::string method : {"GET", "PUT", "DELETE", "POST", "PATCH", "PURGE"}) {
      CAPTURE(method);
      fixture f;
      row.backend_says.code == errc{} ? f.backend.answer(row.status, row.body) : f.backend.fail(row.backend_says);
      f.backend.ok("second");
      const auto got = f.client().request(method, "x");
      const bool again = method == "GET" || method == "PUT" || method == "DELETE" ? row.idempotent : row.other;
      CHECK(f.backend.calls() == (again ? 2 : 1));
      CHECK(got.has_value() == again);
      CHECK((got ? got->attempts : got.error().attempts) == (again ? 2 : 1));
    }
  }
}

TEST_CASE("send tries a HEAD again, and a POST only when it was certainly not acted on") {
  fixture f;
  f.backend.fail(lost(errc::timed_out, true)).answer(404, "");
  CHECK(f.client().send("HEAD", "x").value().status == 404);
  CHECK(f.backend.calls() == 2);
  f.backend.fail(lost(errc::timed_out, true));
  CHECK(failure(f.client().send("POST", "x")).attempts == 1);
  f.backend.fail(lost(errc::connection_failed, false)).answer(200, "");
  CHECK(f.client().send("POST", "x"));
  CHECK(f.backend.calls() == 5);
}

TEST_CASE("every attempt sends the same request") {
  fixture f;
  f.backend.fail(lost(errc::timed_out, true)).answer(503, "").ok();
  CHECK(f.client().user("rolf").put("x", {{"a", 1}}, {.headers = {{"X-Trace", "t"}}}));
  REQUIRE(f.backend.calls() == 3);
  for (const auto& seen : f.backend.requests()) {
    CHECK(seen.method == "PUT");
    CHECK(seen.url == "https://api.example.com/v1/x");
    CHECK(seen.body == R"({"a":1})");
    CHECK(seen.headers.size() == 6);
    CHECK(seen.header("X-User-Account") == "rolf");
    CHECK(seen.header("X-Trace") == "t");
  }
}

TEST_CASE("a call ends with the last error after max_attempts attempts") {
  fixture f;
  for (const int most : {1, 2, 5}) {
    CAPTURE(most);
    f.options.retry.max_attempts = most;
    for (int i = 1; i < most; ++i) f.backend.fail(lost(errc::connection_failed, false));
    f.backend.answer(503, "busy");
    const auto before = f.backend.calls();
    const auto e = failure(f.client().get("x"));
    CHECK(f.backend.calls() - before == static_cast<std::size_t>(most));
    CHECK(e.attempts == most);
    CHECK(e.code == errc::unexpected_status);
    CHECK(e.http_status == 503);
    CHECK(e.body == "busy");
  }
}

TEST_CASE("may_have_executed is true as soon as one of the attempts may have been acted on") {
  fixture f;
  const auto refused = lost(errc::connection_failed, false);
  f.backend.fail(lost(errc::timed_out, true)).fail(refused).fail(refused);
  auto e = failure(f.client().get("x"));
  CHECK(e.code == errc::connection_failed);
  CHECK(e.attempts == 3);
  CHECK(e.may_have_executed);
  f.backend.fail(refused).fail(refused).fail(refused);
  CHECK_FALSE(failure(f.client().get("x")).may_have_executed);
  f.backend.fail(refused).answer(401, "");
  e = failure(f.client().post("x", {}));
  CHECK(e.attempts == 2);
  CHECK_FALSE(e.may_have_executed);
  f.backend.answer(503, "").answer(401, "");
  CHECK(failure(f.client().get("x")).may_have_executed);
  f.backend.fail(lost(errc::timed_out, true)).answer(400, R"({"status":"error","error_type":"PARAMS_ERROR"})");
  CHECK(failure(f.client().get("x")).may_have_executed);
}

TEST_CASE("a POST is not tried again after an attempt that may have been acted on, even if the last was not") {
  fixture f;
  f.options.retry.max_attempts = 5;
  f.backend.fail(lost(errc::connection_failed, false)).fail(lost(errc::timed_out, true));
  const auto e = failure(f.client().post("x", {}));
  CHECK(e.attempts == 2);
  CHECK(e.may_have_executed);
}

TEST_CASE("the backoff is what the observer was told, within its bounds, and grows") {
  fixture f;
  f.options.retry = {.max_attempts = 5, .base_delay = 100ms, .max_delay = 350ms};
  f.options.timeout = 1h;
  std::array<milliseconds, 4> longest{};
  milliseconds shortest = 1h;
  for (int call = 0; call < 200; ++call) {
    const auto start = manual_clock::now();
    f.attempts.clear();
    f.backend.always([](const http_request&) -> nango::result<http_response> { return lost(errc::timed_out, true); });
    CHECK(failure(f.client().get("x")).attempts == 5);
    milliseconds sum{0};
    for (std::size_t i = 0; i < 4; ++i) {
      REQUIRE(f.attempts.at(i).retry_in);
      longest[i] = (std::max)(longest[i], *f.attempts[i].retry_in);
      shortest = (std::min)(shortest, *f.attempts[i].retry_in);
      sum += *f.attempts[i].retry_in;
    }
    CHECK_FALSE(f.attempts.at(4).retry_in);
    CHECK(manual_clock::now() - start == sum);
  }
  // Full jitter: with 200 draws, the extremes come near to the bounds but for once in 10^20 runs.
  CHECK(shortest < 25ms);
  const std::array<milliseconds, 4> bounds{100ms, 200ms, 350ms, 350ms};
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(longest[i] <= bounds[i]);
    CHECK(longest[i] > bounds[i] * 3 / 4);
  }
}

TEST_CASE("a delay that does not fit into the deadline ends the call at once with the error at hand") {
  fixture f;
  const auto start = manual_clock::now();
  SUBCASE("asked for by a 503") {
    f.backend.answer(503, "busy", {{"Retry-After", "60"}});
    const auto e = failure(f.client().get("x"));
    CHECK(e.code == errc::unexpected_status);
    CHECK(e.retry_after == 60s);
    CHECK(e.attempts == 1);
  }
  SUBCASE("asked for by a 429") {
    too_many(f.backend, "60");
    const auto e = failure(f.client().user("rolf").post("x", {}));
    CHECK(e.code == errc::rate_limited);
    CHECK(e.http_status == 429);
    CHECK(e.retry_after == 60s);
    CHECK(e.attempts == 1);
  }
  SUBCASE("absurdly large") {
    f.options.retry.base_delay = f.options.retry.max_delay = milliseconds::max();
    f.backend.answer(503, "busy", {{"Retry-After", "99999999999999999999"}});
    CHECK(failure(f.client().get("x")).attempts == 1);
  }
  CHECK(manual_clock::now() == start);
  CHECK(f.backend.calls() == 1);
  CHECK_FALSE(f.attempts.back().retry_in);
}

TEST_CASE("a delay that would take up all that is left does not fit either") {
  fixture f;
  f.options.timeout = 2s;
  f.backend.answer(503, "", {{"Retry-After", "2"}}).answer(503, "", {{"Retry-After", "1"}}).ok();
  CHECK(failure(f.client().get("x")).attempts == 1);
  CHECK(manual_clock::elapsed() == 0s);
  CHECK(f.client().get("x"));
  CHECK(manual_clock::elapsed() == 1s);
}

TEST_CASE("time that attempts took counts for the deadline of the call") {
  fixture f;
  f.options.timeout = 5s;
  f.backend.always([](const http_request&) -> nango::result<http_response> {
    manual_clock::advance(3s);
    return lost(errc::timed_out, true);
  });
  const auto e = failure(f.client().get("x"));
  CHECK(e.code == errc::timed_out);
  CHECK(e.attempts == 2);
  CHECK(f.backend.calls() == 2);
}

TEST_CASE("the attempts of a success are counted") {
  fixture f;
  f.backend.fail(lost(errc::connection_failed, false)).answer(502, "").ok(7);
  const auto got = f.client().request("GET", "x");
  REQUIRE(got);
  CHECK(got->attempts == 3);
  CHECK(got->result == 7);
}

TEST_CASE("a decode_error after retries tells the attempts") {
  fixture f;
  f.backend.answer(502, "").ok("text");
  const auto e = failure(f.client().get<int>("x"));
  CHECK(e.code == errc::decode_error);
  CHECK(e.attempts == 2);
  CHECK(f.backend.calls() == 2);
}

// --- Cancellation ---

TEST_CASE("a call that is canceled before it begins sends nothing") {
  fixture f;
  const nango::cancel_source source;
  source.cancel();
  const nango::call_options options{.cancel = source.token()};
  const auto api = f.client();
  const auto check = [](const auto& got) {
    const auto e = failure(got);
    CHECK(e.code == errc::canceled);
    CHECK(e.message == "canceled before it was sent");
    CHECK(e.attempts == 0);
    CHECK_FALSE(e.may_have_executed);
  };
  check(api.get("x", {}, options));
  check(api.user("rolf").post("x", {}, options));
  check(api.send("GET", "x", {}, {}, "", options));
  CHECK(f.backend.calls() == 0);
  CHECK(f.attempts.empty());
}

TEST_CASE("a call that is canceled during the backoff ends within 100 ms") {
  fixture f;
  const nango::cancel_source source;
  int waits = 0;
  watched_clock::on_wait = [&] {
    if (++waits == 5) source.cancel();
  };
  f.backend.answer(503, "", {{"Retry-After", "10"}});
  SUBCASE("after an attempt that may have been acted on") {
    const auto e = failure(f.client().get("x", {}, {.cancel = source.token()}));
    CHECK(e.code == errc::canceled);
    CHECK(e.message == "canceled before another attempt");
    CHECK(e.attempts == 1);
    CHECK(e.may_have_executed);
  }
  SUBCASE("of a call that is limited") {
    CHECK(failure(f.client().user("rolf").get("x", {}, {.cancel = source.token()})).code == errc::canceled);
  }
  CHECK(waits == 5);
  CHECK(manual_clock::elapsed() <= 5 * 100ms);
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("a cancellation during the backoff after what was not acted on says that nothing was") {
  fixture f;
  const nango::cancel_source source;
  watched_clock::on_wait = [&] { source.cancel(); };
  too_many(f.backend, "10");
  const auto e = failure(f.client().post("x", {}, {.cancel = source.token()}));
  CHECK(e.code == errc::canceled);
  CHECK(e.attempts == 1);
  CHECK_FALSE(e.may_have_executed);
}

TEST_CASE("a call that is canceled while its attempt fails is not tried again") {
  fixture f;
  const nango::cancel_source source;
  f.backend.then([&](const http_request&) -> nango::result<http_response> {
    source.cancel();
    return lost(errc::connection_failed, false);
  });
  const auto e = failure(f.client().get("x", {}, {.cancel = source.token()}));
  CHECK(e.code == errc::canceled);
  CHECK(e.attempts == 1);
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("an answer that came is given, canceled or not") {
  fixture f;
  const nango::cancel_source source;
  f.backend.then([&](const http_request&) -> nango::result<http_response> {
    source.cancel();
    return http_response{.status = 204};
  });
  CHECK(f.client().get("x", {}, {.cancel = source.token()}));
}

TEST_CASE("a call that is canceled while it waits for the limiter ends within 100 ms and gives its turn up") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 10s};
  const auto rolf = f.client().user("rolf");
  f.backend.ok().ok();
  CHECK(rolf.get("x"));
  const nango::cancel_source source;
  int waits = 0;
  watched_clock::on_wait = [&] {
    if (++waits == 5) source.cancel();
  };
  const auto e = failure(rolf.get("x", {}, {.cancel = source.token()}));
  CHECK(e.code == errc::canceled);
  CHECK(e.attempts == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK(waits == 5);
  CHECK(manual_clock::elapsed() <= 5 * 100ms);
  CHECK(f.backend.calls() == 1);
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 10s);
}

// --- The observer ---

TEST_CASE("the observer sees each attempt, in order, with what became of it") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  f.options.timeout = 60s;
  const auto take = [](std::chrono::nanoseconds time, nango::result<http_response> outcome) {
    return [=](const http_request&) {
      manual_clock::advance(time);
      return outcome;
    };
  };
  f.backend.then(take(3ms, lost(errc::connection_failed, false)))
      .then(take(4ms, http_response{.status = 503, .headers = {{"Retry-After", "7"}}}))
      .then(take(5ns, http_response{.status = 204}));
  CHECK(f.client().user("rolf").get("crm/contacts/a%20b", {{"name", "Rolf"}}));
  REQUIRE(f.attempts.size() == 3);
  CHECK(f.paths == std::vector<std::string>(3, "crm/contacts/a%20b"));
  const auto &first = f.attempts[0], &second = f.attempts[1], &third = f.attempts[2];
  CHECK(first.number == 1);
  CHECK(first.http_status == 0);
  CHECK(first.outcome == errc::connection_failed);
  CHECK(first.waited == 0ns);
  CHECK(first.elapsed == 3ms);
  CHECK(first.retry_in == 0ms);
  CHECK(second.number == 2);
  CHECK(second.http_status == 503);
  CHECK(second.outcome == errc::unexpected_status);
  CHECK(second.waited == 5s);
  CHECK(second.elapsed == 4ms);
  CHECK(second.retry_in == 7s);
  CHECK(third.number == 3);
  CHECK(third.http_status == 204);
  CHECK_FALSE(third.outcome);
  CHECK(third.waited == 0s);  // the slot was back before the backoff ended
  CHECK(third.elapsed == 5ns);
  CHECK_FALSE(third.retry_in);
}

TEST_CASE("the observer sees the method, the status and the outcome of any attempt") {
  fixture f;
  std::vector<std::string> methods;
  std::vector<std::pair<int, std::optional<errc>>> outcomes;
  f.options.on_attempt = [&](const nango::attempt& seen) {
    methods.emplace_back(seen.method);
    outcomes.emplace_back(seen.http_status, seen.outcome);
  };
  f.options.max_response_bytes = 30;
  f.backend.answer(200, std::string(31, 'x')).answer(200, "no JSON").answer(404, "raw").ok("text");
  f.backend.fail({.code = errc::malformed_response, .http_status = 206, .message = "said by the backend"});
  static_cast<void>(f.client().post("x", {}));
  static_cast<void>(f.client().del("x"));
  static_cast<void>(f.client().send("PURGE", "x"));
  f.options.max_response_bytes = 1000;
  static_cast<void>(f.client().get<int>("x"));
  static_cast<void>(f.client().patch("x", {}));
  CHECK(methods == std::vector<std::string>{"POST", "DELETE", "PURGE", "GET", "PATCH"});
  const std::vector<std::pair<int, std::optional<errc>>> expected{{200, errc::response_too_large},
                                                                  {200, errc::malformed_response},
                                                                  {404, std::nullopt},
                                                                  {200, std::nullopt},
                                                                  {206, errc::malformed_response}};
  CHECK(outcomes == expected);
}

TEST_CASE("the observer is called on the calling thread") {
  fixture f;
  std::vector<std::thread::id> seen;
  f.options.on_attempt = [&](const nango::attempt&) { seen.push_back(std::this_thread::get_id()); };
  f.backend.answer(503, "").ok();
  std::thread::id caller;
  std::thread other([&] {
    caller = std::this_thread::get_id();
    static_cast<void>(f.client().get("x"));
  });
  other.join();
  CHECK(seen == std::vector{caller, caller});
}

TEST_CASE("the observer may make calls of its own: it is called outside every lock, with the permit back") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  std::optional<timed_client> rolf;
  int nested = 0;
  f.options.on_attempt = [&](const nango::attempt&) {
    if (std::exchange(nested, 1) == 0) CHECK(rolf->get("nested"));
  };
  rolf = f.client().user("rolf");
  f.backend.ok().ok();
  CHECK(rolf->get("x"));
  CHECK(f.backend.last().url == "https://api.example.com/v1/nested");
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("an exception of the observer ends the call and breaks nothing") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  bool throws = true;
  f.options.on_attempt = [&](const nango::attempt& seen) {
    if (throws) throw std::out_of_range("attempt " + std::to_string(seen.number));
  };
  const auto rolf = f.client().user("rolf");
  f.backend.answer(503, "").ok().ok(2);
  CHECK_THROWS_WITH_AS(static_cast<void>(rolf.get("x")), "attempt 1", std::out_of_range);
  CHECK(f.backend.calls() == 1);
  CHECK_THROWS_WITH_AS(static_cast<void>(rolf.send("GET", "x")), "attempt 1", std::out_of_range);
  CHECK(f.backend.calls() == 2);
  throws = false;
  CHECK(rolf.get<int>("x").value() == 2);
  CHECK(manual_clock::elapsed() == 5s + 5050ms);  // each permit was back at its answer, none lingered
}

}  // namespace client_retries_tests
