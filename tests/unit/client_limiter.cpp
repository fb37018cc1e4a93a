// Client: its side of the rate limiter.

#include <doctest/doctest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"
#include "timed_client.hpp"

namespace client_limiter_tests {

namespace {

using namespace std::chrono_literals;
using nango::errc;
using nango::http_request;
using nango::http_response;
using nango::json;
using nango_test::failure;
using nango_test::lost;
using nango_test::manual_clock;
using nango_test::retries_without_delay;
using nango_test::scripted_backend;
using nango_test::timed_client;
using nango_test::too_many;
using nango_test::watched_clock;
using window = nango_test::watched_window;
using fixture = nango_test::timed_fixture;

}  // namespace

// --- The limiter ---

TEST_CASE("the limiter is built from the option rate") {
  fixture f;
  f.options.rate = {.requests = 2, .per = 5s};
  const auto rolf = f.client().user("rolf");
  f.backend.ok().ok().ok();
  CHECK(rolf.get("x"));
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("handles share the limiter: those of one user its slots, those of others have their own") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  const auto api = f.client();
  f.backend.ok().ok().ok().ok();
  CHECK(api.user("rolf").get("x"));
  CHECK(api.user("anna").get("x"));
  CHECK(api.as({{{"X-Tenant", "t"}}, "tenant"}).get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  const auto copy = api;
  CHECK(copy.as({{{"X-Tenant", "t"}}, "rolf"}).get("x"));  // the key counts, not the headers
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("clients that were given copies of one limiter share it") {
  fixture f;
  const window limiter({.requests = 1, .per = 5s});
  f.backend.ok().ok();
  CHECK(timed_client(f.options, f.backend, limiter).user("rolf").get("x"));
  CHECK(timed_client(f.options, f.backend, limiter).user("rolf").get("x"));
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("a client that takes the place of another with its limiter does not double a user's rate") {
  fixture f;
  const window limiter(f.options.rate);
  f.backend.always([](const http_request&) { return http_response{.status = 204}; });
  timed_client current(f.options, f.backend, limiter);
  for (int i = 0; i < 100; ++i) REQUIRE(current.user("rolf").get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  f.options.api_key = "the-new-key-0123456789";
  f.options.timeout = 60s;
  current = timed_client(f.options, f.backend, limiter);
  REQUIRE(current.user("rolf").get("x"));
  CHECK(manual_clock::elapsed() == 1s);
  CHECK(f.backend.last().header("Authorization") == "Bearer the-new-key-0123456789");
}

TEST_CASE("calls without a limit key are not limited, those with the option limit_key are") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  f.backend.always([](const http_request&) -> nango::result<http_response> { return http_response{.status = 204}; });
  const auto free = f.client();
  for (int i = 0; i < 10; ++i) CHECK(free.get("x"));
  CHECK(free.as({{{"X-Tenant", "t"}}, ""}).get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  f.options.limit_key = "account";
  const auto counted = f.client();
  CHECK(counted.get("x"));
  CHECK(counted.get("x"));
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("each attempt takes a permit of its own") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 5s};
  f.backend.answer(503, "").answer(503, "").ok();
  CHECK(f.client().user("rolf").get("x"));
  CHECK(manual_clock::elapsed() == 5s + 5050ms);  // those who wait are let go 1.01 * per / requests apart
}

TEST_CASE("when the limiter refuses the first attempt, the call is rate_limited and nothing is sent") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 10s};
  const auto rolf = f.client().user("rolf");
  f.backend.ok();
  CHECK(rolf.get("x"));
  const auto e = failure(rolf.get("x", {}, {.timeout = 5s}));
  CHECK(e.code == errc::rate_limited);
  CHECK(e.http_status == 0);
  CHECK(e.attempts == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK(e.retry_after == 10s);
  CHECK_FALSE(e.message.empty());
  CHECK(f.backend.calls() == 1);
  CHECK(f.attempts.size() == 1);
  CHECK(manual_clock::elapsed() == 0s);
}

TEST_CASE("when the limiter refuses a later attempt, the call ends with the last attempt's error") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 10s};
  f.options.timeout = 5s;
  f.backend.answer(500, R"({"status":"error","error_type":"PROCESSING_ERROR","error_msg":"no"})");
  const auto e = failure(f.client().user("rolf").get("x"));
  CHECK(e.code == errc::processing_error);
  CHECK(e.http_status == 500);
  CHECK(e.message == "no");
  CHECK(e.attempts == 1);
  CHECK(e.may_have_executed);
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("a 429 holds everyone of its key for the time that it names, and nobody else") {
  fixture f;
  f.options.retry.max_attempts = 1;
  const auto api = f.client();
  too_many(f.backend, "7").ok().ok().ok().ok();
  const auto e = failure(api.user("rolf").get("x"));
  CHECK(e.code == errc::rate_limited);
  CHECK(e.retry_after == 7s);
  CHECK(api.user("anna").get("x"));
  CHECK(api.get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  CHECK(api.user("rolf").get("other/path"));
  CHECK(manual_clock::elapsed() == 7s);
  CHECK(api.user("rolf").get("x"));
  CHECK(manual_clock::elapsed() == 7s + 10'100us);  // 1.01 s / 100 after one that had to wait
}

TEST_CASE("a 429 that names no time holds for the limiter's per, which is put into retry_after") {
  fixture f;
  f.options.retry.max_attempts = 1;
  f.options.rate.per = 2s;
  SUBCASE("of the option") {
    const auto rolf = f.client().user("rolf");
    too_many(f.backend, "").ok();
    CHECK(failure(rolf.get("x")).retry_after == 2s);
    CHECK(rolf.get("x"));
    CHECK(manual_clock::elapsed() == 2s);
  }
  SUBCASE("of the limiter that was handed in") {
    const auto rolf = timed_client(f.options, f.backend, window({.per = 9s})).user("rolf");
    too_many(f.backend, "soon").ok();
    CHECK(failure(rolf.get("x")).retry_after == 9s);
    CHECK(rolf.get("x"));
    CHECK(manual_clock::elapsed() == 9s);
  }
  SUBCASE("rounded up to milliseconds") {
    const auto rolf = timed_client(f.options, f.backend, window({.per = 1500us})).user("rolf");
    too_many(f.backend, "").ok();
    CHECK(failure(rolf.get("x")).retry_after == 2ms);
    CHECK(rolf.get("x"));
    CHECK(manual_clock::elapsed() == 2ms);
  }
}

TEST_CASE("a call that met a 429 waits as long as it says and is tried again, a POST as well") {
  fixture f;
  too_many(too_many(f.backend, "3"), "").ok().ok();
  const auto got = f.client().user("rolf").post("x", {});
  CHECK(got);
  CHECK(f.backend.calls() == 3);
  REQUIRE(f.attempts.size() == 3);
  CHECK(f.attempts[0].retry_in == 3s);
  CHECK(f.attempts[1].retry_in == 1s);
  CHECK(manual_clock::elapsed() == 4s);
}

TEST_CASE("a call that met a 429 keeps its place: it waits in the line, before those that came later") {
  fixture f;
  f.options.on_attempt = nullptr;  // many threads would call it
  f.options.rate = {.requests = 10, .per = 1s};
  f.options.timeout = 5s;
  const auto rolf = f.client().user("rolf");
  too_many(f.backend, "2").always([](const http_request&) { return http_response{.status = 204}; });
  manual_clock::reset();
  bool first = false;
  std::thread early([&] { first = rolf.get("x").has_value(); });
  manual_clock::await_waiters(1);
  const nango::cancel_source rest;
  std::vector<std::thread> later;
  for (int i = 0; i < 60; ++i) {
    later.emplace_back([&] { static_cast<void>(rolf.get("x", {}, {.timeout = 60s, .cancel = rest.token()})); });
  }
  manual_clock::await_waiters(61);
  manual_clock::advance(2s);
  early.join();
  CHECK(first);
  rest.cancel();
  for (auto& thread : later) thread.join();
}

TEST_CASE("a 429 that asks for less than the backoff holds for the backoff, so that the call keeps its place") {
  fixture f;
  f.options.retry = {.max_attempts = 2, .base_delay = 800ms, .max_delay = 800ms};
  const auto rolf = f.client().user("rolf");
  too_many(f.backend, "0").ok();
  CHECK(rolf.get("x"));
  CHECK(f.attempts.at(0).retry_in > 0ms);
  CHECK(manual_clock::elapsed() == f.attempts.at(0).retry_in);
  CHECK(f.attempts.at(1).waited == manual_clock::elapsed());
}

TEST_CASE("a 429 that asks for more than a hold can last is waited out all the same") {
  fixture f;
  f.options.timeout = 20min;
  const auto rolf = f.client().user("rolf");
  too_many(f.backend, "600").ok().ok();
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 600s);
  CHECK(f.attempts.at(1).waited == 600s);
}

TEST_CASE("without a key the call that met a 429 waits alone") {
  fixture f;
  const auto api = f.client();
  int others = 0;
  too_many(f.backend, "3").ok("other").ok("own");
  watched_clock::on_wait = [&] {
    watched_clock::on_wait = nullptr;
    const auto before = manual_clock::now();
    others += api.get("x").value_or(json()) == "other" ? 1 : 0;
    CHECK(manual_clock::now() == before);
  };
  CHECK(api.get("x").value() == "own");
  CHECK(others == 1);
  CHECK(manual_clock::elapsed() == 3s);
  f.options.retry.max_attempts = 1;
  too_many(f.backend, "").ok();
  CHECK(failure(f.client().get("x")).retry_after == 1s);
  CHECK(f.client().get("x"));
  CHECK(manual_clock::elapsed() == 3s);
}

TEST_CASE("Retry-After is heeded on other errors too, by the call alone") {
  fixture f;
  const auto rolf = f.client().user("rolf");
  f.backend.answer(503, "", {{"Retry-After", "4"}}).ok("other").ok("own");
  watched_clock::on_wait = [&] {
    watched_clock::on_wait = nullptr;
    CHECK(rolf.get("x").value_or(json()) == "other");
  };
  CHECK(rolf.get("x").value() == "own");
  CHECK(manual_clock::elapsed() == 4s);
}

TEST_CASE("send holds for a 429 of the API's own, tries again, and gives rate_limited in the end") {
  fixture f;
  f.options.retry.max_attempts = 2;
  const auto rolf = f.client().user("rolf");
  too_many(too_many(f.backend, "3"), "2").ok();
  const auto e = failure(rolf.send("POST", "x"));
  CHECK(e.code == errc::rate_limited);
  CHECK(e.http_status == 429);
  CHECK(e.attempts == 2);
  CHECK(e.retry_after == 2s);
  CHECK_FALSE(e.may_have_executed);
  CHECK(manual_clock::elapsed() == 3s);
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 5s);
}

TEST_CASE("a 429 of another API is an answer of send, which holds nothing and is not tried again") {
  fixture f;
  f.options.dialect.is_upstream = [](std::string_view path, const http_response& answer) {
    return path == "passed/on" && answer.body != "slow down";
  };
  const auto rolf = f.client().user("rolf");
  f.backend.answer(429, "upstream", {{"Retry-After", "60"}}).ok();
  const auto got = rolf.send("GET", "/passed/on");
  REQUIRE(got);
  CHECK(got->status == 429);
  CHECK(got->body == "upstream");
  CHECK_FALSE(f.attempts.at(0).outcome);
  CHECK(f.attempts.at(0).http_status == 429);
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  too_many(f.backend, "3").answer(200, "");
  CHECK(rolf.send("GET", "passed/on"));  // false: the API's own
  CHECK(manual_clock::elapsed() == 3s);
}

TEST_CASE("a call that reads its answer tries again after another API's 429, by its word, and holds nobody else") {
  fixture f;
  f.options.dialect.is_upstream = [](std::string_view, const http_response&) { return true; };
  const auto rolf = f.client().user("rolf");
  f.backend.answer(429, "", {{"Retry-After", "3"}})
      .then([&](const http_request&) -> nango::result<http_response> {
        CHECK(manual_clock::elapsed() == 3s);
        return http_response{.status = 429};
      })
      .ok();
  f.options.retry.base_delay = 0ms;
  CHECK(rolf.get("x"));
  CHECK(manual_clock::elapsed() < 4s);  // a 429 that names no time: the usual backoff

  fixture one;
  one.options.dialect.is_upstream = f.options.dialect.is_upstream;
  one.options.retry.max_attempts = 1;
  too_many(one.backend, "60").ok();
  const auto api = one.client().user("rolf");
  CHECK(failure(api.get("x")).retry_after == 60s);
  CHECK(api.get("x"));
  CHECK(manual_clock::elapsed() == 0s);
}

TEST_CASE("a slot counts from the answer on, or longer where none came") {
  struct outcome_row {
    std::string what;
    scripted_backend::step outcome;
    std::chrono::nanoseconds taken;  // how long the next call waits
  };
  const auto answered = [](int status) {
    return [=](const http_request&) -> nango::result<http_response> {
      manual_clock::advance(2s);
      return http_response{.status = status, .body = std::string(200, 'x')};
    };
  };
  const auto failed = [](errc code, bool may_have_executed) {
    return [=](const http_request&) -> nango::result<http_response> {
      manual_clock::advance(2s);
      return lost(code, may_have_executed);
    };
  };
  const std::vector<outcome_row> table{
      {"200", answered(200), 1s},
      {"404", answered(404), 1s},
      {"500", answered(500), 1s},
      {"said to be too large", failed(errc::response_too_large, true), 1s},
      {"refused", failed(errc::connection_failed, false), 1s},
      {"handshake", failed(errc::tls_failed, false), 1s},
      {"timed out before it was sent", failed(errc::timed_out, false), 1s},
      {"timed out", failed(errc::timed_out, true), 6s},
      {"reset", failed(errc::connection_failed, true), 6s},
      {"canceled", failed(errc::canceled, true), 6s},
  };
  for (const auto& row : table) {
    CAPTURE(row.what);
    fixture f;
    f.options.rate = {.requests = 1, .per = 1s, .linger = 5s};
    f.options.retry.max_attempts = 1;
    const auto rolf = f.client().user("rolf");
    f.backend.then(row.outcome).answer(204, "");
    static_cast<void>(rolf.get("x"));
    const auto before = manual_clock::now();
    CHECK(rolf.get("x"));
    CHECK(manual_clock::now() - before == row.taken);
  }
}

// --- The limiter, seen from its side ---

namespace {

// Writes down what a client does to it, and refuses when it is told to.
class recording_limiter {
 public:
  using clock = manual_clock;
  struct record {
    std::vector<std::string> events{};
    std::deque<std::optional<nango::error>> refusals{};  // for each acquire; none: a permit
    std::vector<clock::time_point> deadlines{};
    std::vector<clock::time_point> holds{};
    std::chrono::nanoseconds takes{};  // how long acquire takes, whatever the deadline
  };

  class permit {
   public:
    explicit permit(std::shared_ptr<record> log) : log_(std::move(log)) {}
    permit(permit&&) = default;
    permit& operator=(permit&&) = default;
    ~permit() {
      if (log_) log_->events.emplace_back("end");
    }
    void answered() { log_->events.emplace_back("answered"); }

   private:
    std::shared_ptr<record> log_;
  };

  nango::result<permit> acquire(std::string_view key, clock::time_point deadline, const nango::cancel_token&) {
    log->events.push_back("acquire " + std::string(key));
    log->deadlines.push_back(deadline);
    std::optional<nango::error> refusal;
    if (!log->refusals.empty()) {
      refusal = log->refusals.front();
      log->refusals.pop_front();
    }
    if (refusal) return *std::move(refusal);
    manual_clock::advance(log->takes);
    return permit(log);
  }
  void hold(std::string_view key, clock::time_point until) {
    log->events.push_back("hold " + std::string(key));
    log->holds.push_back(until);
  }

  std::shared_ptr<record> log = std::make_shared<record>();
};
static_assert(nango::rate_limiter<recording_limiter>);

using recorded_client = nango::basic_client<scripted_backend, recording_limiter>;
using events = std::vector<std::string>;

struct recorded : fixture {
  recorded() {
    options.on_attempt = [this](const nango::attempt&) { limiter.log->events.emplace_back("observed"); };
    options.retry.max_attempts = 1;
  }
  recorded_client recorded_api() const { return {options, backend, limiter}; }
  // The events of one call.
  template <class Call> events of(const Call& call) {
    limiter.log->events.clear();
    static_cast<void>(call(recorded_api().user("rolf")));
    return limiter.log->events;
  }
  events of_get() {
    return of([](const recorded_client& api) { return api.get("x"); });
  }
  recording_limiter limiter{};
};

}  // namespace

TEST_CASE("a permit is answered for answers of any status and for what was certainly not sent") {
  recorded f;
  const events answered{"acquire rolf", "answered", "end", "observed"};
  for (const int status : {200, 204, 302, 400, 401, 404, 500, 503}) {
    CAPTURE(status);
    f.backend.answer(status, "");
    CHECK(f.of_get() == answered);
    f.backend.answer(status, "");
    CHECK(f.of([](const recorded_client& api) { return api.send("GET", "x"); }) == answered);
  }
  for (const auto code : {errc::connection_failed, errc::tls_failed, errc::timed_out, errc::canceled}) {
    CAPTURE(nango::to_string(code));
    f.backend.fail(lost(code, false));
    CHECK(f.of_get() == answered);
  }
  f.backend.fail(lost(errc::response_too_large, true));
  CHECK(f.of_get() == answered);
  f.backend.fail({.code = errc::malformed_response, .message = "an answer, but no sound one"});
  CHECK(f.of_get() == answered);
  f.backend.fail({.code = errc::timed_out, .http_status = 200, .message = "the head came, the body did not"});
  CHECK(f.of_get() == answered);
  f.options.max_response_bytes = 10;
  f.backend.answer(200, std::string(11, 'x'));
  CHECK(f.of_get() == answered);
}

TEST_CASE("a permit is not answered where the request may still arrive") {
  recorded f;
  for (const auto code : {errc::connection_failed, errc::tls_failed, errc::timed_out, errc::canceled}) {
    CAPTURE(nango::to_string(code));
    f.backend.fail(lost(code, true));
    CHECK(f.of_get() == events{"acquire rolf", "end", "observed"});
  }
}

TEST_CASE("a permit comes back when the backend throws") {
  recorded f;
  f.backend.then([](const http_request&) -> nango::result<http_response> { throw std::runtime_error("mine"); });
  CHECK_THROWS_AS(static_cast<void>(f.recorded_api().user("rolf").get("x")), std::runtime_error);
  CHECK(f.limiter.log->events == events{"acquire rolf", "end"});
}

TEST_CASE("a 429 gives its permit back, holds, and is then observed") {
  recorded f;
  too_many(f.backend, "7");
  CHECK(f.of_get() == events{"acquire rolf", "answered", "end", "hold rolf", "observed"});
  CHECK(f.limiter.log->holds.at(0) - manual_clock::now() == 7s);
  // A limiter that does not tell its rate: that of the options.
  f.options.rate.per = 4s;
  too_many(f.backend, "");
  CHECK(f.of([](const recorded_client& api) { return api.send("GET", "x"); }).at(3) == "hold rolf");
  CHECK(f.limiter.log->holds.at(1) - manual_clock::now() == 4s);
}

TEST_CASE("a permit that comes before the time of a 429 is handed back, and another taken then") {
  recorded f;
  f.options.retry = retries_without_delay();
  too_many(f.backend, "7").ok();
  CHECK(f.of_get() == events{"acquire rolf", "answered", "end", "hold rolf", "observed", "acquire rolf", "answered",
                             "end", "acquire rolf", "answered", "end", "observed"});
  CHECK(manual_clock::elapsed() == 7s);
  f.limiter.log->refusals = {std::nullopt, std::nullopt, lost(errc::timed_out, false)};
  too_many(f.backend, "7");
  CHECK(failure(f.recorded_api().user("rolf").get("x")).http_status == 429);
}

TEST_CASE("without a key the limiter is neither asked nor told of a 429") {
  recorded f;
  f.options.retry = retries_without_delay();
  too_many(f.backend, "7").ok();
  CHECK(f.recorded_api().get("x"));
  CHECK(f.limiter.log->events == events{"observed", "observed"});
}

TEST_CASE("an answer other than HTTP 429 holds nothing, even if a custom parse calls it rate_limited") {
  recorded f;
  f.options.dialect.parse = [](http_response) -> nango::result<nango::response> {
    return nango::error{.code = errc::rate_limited, .message = "a quota"};
  };
  f.backend.answer(403, "");
  CHECK(f.of_get() == events{"acquire rolf", "answered", "end", "observed"});
}

TEST_CASE("a 429 that a parse function takes for something else holds nothing") {
  recorded f;
  f.options.dialect.parse = [](http_response) -> nango::result<nango::response> {
    return nango::error{.code = errc::api_error, .message = "a plan's limit"};
  };
  too_many(f.backend, "7");
  CHECK(f.of_get() == events{"acquire rolf", "answered", "end", "observed"});
}

TEST_CASE("hold_for holds the key after any answer that is the API's own, before its permit is back") {
  recorded f;
  f.options.dialect.is_upstream = [](std::string_view path, const http_response&) { return path == "other"; };
  f.options.dialect.hold_for = [](std::string_view path,
                                  const http_response& answer) -> std::optional<std::chrono::milliseconds> {
    if (path == "spent") return 7s;
    return answer.status == 500 ? std::optional<std::chrono::milliseconds>(9s) : std::nullopt;
  };
  f.options.retry.max_attempts = 1;
  f.backend.ok().ok().answer(500, "").ok();
  const auto rolf = f.recorded_api().user("rolf");
  CHECK(rolf.get("/spent"));
  CHECK(f.limiter.log->events == events{"acquire rolf", "hold rolf", "answered", "end", "observed"});
  f.limiter.log->events.clear();
  CHECK(rolf.get("x"));
  CHECK(f.limiter.log->events == events{"acquire rolf", "answered", "end", "observed"});
  f.limiter.log->events.clear();
  CHECK_FALSE(rolf.send("GET", "x").value().status == 200);
  CHECK(f.limiter.log->events == events{"acquire rolf", "hold rolf", "answered", "end", "observed"});
  CHECK(f.limiter.log->holds == std::vector{manual_clock::now() + 7s, manual_clock::now() + 9s});
  f.limiter.log->events.clear();
  CHECK(rolf.get("other"));
  CHECK(f.limiter.log->events == events{"acquire rolf", "answered", "end", "observed"});
}

TEST_CASE("the limiter gets the deadline of the call for each attempt") {
  recorded f;
  f.options.retry = retries_without_delay();
  f.options.timeout = 20s;
  f.options.attempt_timeout = 1s;
  const auto start = manual_clock::now();
  f.backend.answer(503, "", {{"Retry-After", "3"}}).ok();
  CHECK(f.recorded_api().user("rolf").get("x"));
  CHECK(f.limiter.log->deadlines == std::vector{start + 20s, start + 20s});
}

TEST_CASE("the limiter's errors before the first attempt are the call's, without a retry") {
  recorded f;
  f.options.retry = retries_without_delay();
  for (const auto code : {errc::rate_limited, errc::timed_out, errc::canceled}) {
    CAPTURE(nango::to_string(code));
    f.limiter.log->refusals = {lost(code, false)};
    const auto e = failure(f.recorded_api().user("rolf").get("x"));
    CHECK(e.code == code);
    CHECK(e.message.starts_with("lost"));
    CHECK(e.attempts == 0);
    CHECK_FALSE(e.may_have_executed);
  }
  CHECK(f.limiter.log->events == events{"acquire rolf", "acquire rolf", "acquire rolf"});
  CHECK(f.backend.calls() == 0);
}

TEST_CASE("the limiter's errors before a later attempt give way to that attempt's, a cancellation aside") {
  recorded f;
  f.options.retry = retries_without_delay();
  for (const auto code : {errc::rate_limited, errc::timed_out}) {
    CAPTURE(nango::to_string(code));
    f.limiter.log->refusals = {std::nullopt, lost(code, false)};
    f.backend.answer(502, "bad gateway");
    const auto e = failure(f.recorded_api().user("rolf").get("x"));
    CHECK(e.code == errc::unexpected_status);
    CHECK(e.body == "bad gateway");
    CHECK(e.attempts == 1);
  }
  f.limiter.log->refusals = {std::nullopt, lost(errc::canceled, false)};
  f.backend.answer(502, "bad gateway");
  const auto e = failure(f.recorded_api().user("rolf").get("x"));
  CHECK(e.code == errc::canceled);
  CHECK(e.attempts == 1);
  CHECK(e.may_have_executed);  // by the first attempt
  CHECK(f.backend.calls() == 3);
}

TEST_CASE("a permit that comes after the deadline sends nothing and is given back as answered") {
  recorded f;
  f.options.timeout = 5s;
  f.limiter.log->takes = 5s;
  const auto e = failure(f.recorded_api().user("rolf").get("x"));
  CHECK(e.code == errc::timed_out);
  CHECK(e.attempts == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK(f.limiter.log->events == events{"acquire rolf", "answered", "end"});
  CHECK(f.backend.calls() == 0);
}

}  // namespace client_limiter_tests
