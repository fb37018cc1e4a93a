// Client: what its errors and its observer say of a call: which request, whose, and what the server answered.

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"
#include "timed_client.hpp"

namespace client_errors_tests {

namespace {

using namespace std::chrono_literals;
using nango::errc;
using nango::http_request;
using nango::http_response;
using nango_test::failure;
using nango_test::lost;
using nango_test::manual_clock;
using nango_test::too_many;
using fixture = nango_test::timed_fixture;
using step = nango_test::scripted_backend::step;

constexpr std::string_view refusal =
    R"({"status":"error","error_type":"AUTH_ERROR","error_msg":"the api key is unknown"})";

std::string print(const nango::error& e) {
  std::ostringstream out;
  out << e;
  return out.str();
}

std::string value_of(const nango::headers& fields, std::string_view name) {
  for (const auto& field : fields) {
    if (field.name == name) return field.value;
  }
  return "";
}

// Fails after `takes`.
step late(std::chrono::milliseconds takes, std::string message) {
  return [=](const http_request&) -> nango::result<http_response> {
    manual_clock::advance(takes);
    return nango::error{.code = errc::timed_out, .message = message};
  };
}

}  // namespace

// --- Which call ---

TEST_CASE("an error says which call it was, also in its one line and in what()") {
  fixture f;
  f.backend.answer(401, std::string(refusal));
  const auto e = failure(f.client().get("crm/contacts", {{"name", "Rolf"}}));
  CHECK(e.request == "GET crm/contacts");
  CHECK(print(e) == "AUTH_ERROR (HTTP 401): the api key is unknown [GET crm/contacts]");
  CHECK(nango::exception(e).what() == print(e));
}

TEST_CASE("each way to call says which call it was") {
  fixture f;
  f.options.retry.max_attempts = 1;
  f.backend.always([](const http_request&) -> nango::result<http_response> { return http_response{.status = 404}; });
  const auto api = f.client();
  CHECK(failure(api.get("a")).request == "GET a");
  CHECK(failure(api.get<int>("/a/b")).request == "GET a/b");
  CHECK(failure(api.get<void>("a")).request == "GET a");
  CHECK(failure(api.del("a")).request == "DELETE a");
  CHECK(failure(api.post("a", 1)).request == "POST a");
  CHECK(failure(api.put<int>("a", 1)).request == "PUT a");
  CHECK(failure(api.patch("a", 1)).request == "PATCH a");
  CHECK(failure(api.request("PURGE", "a", {{"q", 1}})).request == "PURGE a");
  CHECK(failure(api.request_json("PURGE", "a", 1)).request == "PURGE a");
  CHECK(failure(nango::crm::get_contact(api, "c 1")).request == "GET crm/contacts/c%201");
  f.backend.answer(429, "");
  CHECK(failure(api.send("GET", "a")).request == "GET a");
}

TEST_CASE("a call that is refused says which it was, in one line and without its query") {
  fixture f;
  const auto api = f.client();
  CHECK(failure(api.get("a?token=b")).request == "GET a");
  CHECK(failure(api.get("a#b")).request == "GET a");
  CHECK(failure(api.get("a\nb")).request == "GET a b");
  CHECK(failure(api.request("HEAD", "a")).request == "HEAD a");
  CHECK(failure(api.request_json("POST", "a", nango::json("\xFF"))).request == "POST a");
  CHECK(failure(api.post<int>("a", nango::json("\xFF"))).request == "POST a");
  CHECK(failure(api.user("").send("GET", "a")).request == "GET a");
  CHECK(f.backend.calls() == 0);
  CHECK(failure(nango_test::timed_client::create({}, f.backend)).request.empty());
}

TEST_CASE("several attempts are told beside the request") {
  fixture f;
  f.backend.answer(503, "").answer(503, "").answer(503, "busy");
  CHECK(print(failure(f.client().get("x"))) ==
        "unexpected_status (HTTP 503): the answer is no envelope [GET x, 3 attempts]");
}

// --- What the server said ---

TEST_CASE("an error has the headers and the body of the answer that it is about, in both dialects") {
  for (const bool hosted : {false, true}) {
    fixture f;
    f.options.retry.max_attempts = 2;
    if (hosted) f.options.dialect = nango::hosted::options("some-key").dialect;
    const std::string said =
        hosted ? R"({"error":{"code":"script_http_error","payload":{"reason":7}}})" : std::string(refusal);
    f.backend.answer(503, "the first", {{"X-Request-Id", "r-1"}}).answer(424, said, {{"X-Request-Id", "r-2"}});
    const auto e = failure(f.client().get("x"));
    CHECK(e.attempts == 2);
    CHECK(e.body == said);
    CHECK(value_of(e.headers, "X-Request-Id") == "r-2");
  }
}

TEST_CASE("the client adds what a custom parse leaves out of an error") {
  fixture f;
  f.options.dialect.parse = [](http_response answer) -> nango::result<nango::response> {
    return nango::error{.code = errc::api_error, .message = "no", .body = answer.status == 400 ? "its own" : ""};
  };
  const std::string body(20'000, 'x');
  f.backend.answer(404, body, {{"X-Request-Id", "r-1"}}).answer(400, body);
  const auto e = failure(f.client().get("x"));
  CHECK(e.body == body.substr(0, 16'384));
  CHECK(value_of(e.headers, "X-Request-Id") == "r-1");
  CHECK(failure(f.client().get("x")).body == "its own");
}

TEST_CASE("a result of another type keeps its answer") {
  fixture f;
  const std::string body = R"({"status":"ok","result":"seven"})";
  const auto check = [&](const auto& got) {
    const auto e = failure(got);
    CHECK(e.code == errc::decode_error);
    CHECK(e.body == body);
    CHECK(value_of(e.headers, "X-Request-Id") == "r-1");
  };
  for (int i = 0; i < 3; ++i) f.backend.answer(200, body, {{"X-Request-Id", "r-1"}});
  check(f.client().get<int>("x"));
  check(f.client().post<std::vector<int>>("x", {}));
  check(nango::crm::list_contacts(f.client()));

  f.options.dialect.parse = &nango::hosted::parse_bare;
  f.backend.answer(200, R"({"records":7})", {{"X-Request-Id", "r-2"}});
  const auto failed = nango::hosted::for_each_record(f.client(), "Contact", [](nango::json&&) {}).failure.value();
  CHECK(failed.request == "GET records");
  CHECK(failed.body == R"({"records":7})");
  CHECK(value_of(failed.headers, "X-Request-Id") == "r-2");
}

TEST_CASE("an error that no answer came for has no headers, and those of a backend's own are kept") {
  fixture f;
  f.options.retry.max_attempts = 1;
  f.backend.fail(lost(errc::connection_failed, true));
  CHECK(failure(f.client().get("x")).headers.empty());
  f.backend.fail({.code = errc::response_too_large, .http_status = 200, .message = "large", .headers = {{"A", "b"}}});
  CHECK(value_of(failure(f.client().get("x")).headers, "A") == "b");
}

// --- What the observer is told ---

TEST_CASE("the observer is told whose call it was and has the answer's headers") {
  fixture f;
  std::vector<std::string> keys, ids;
  f.options.limit_key = "program";
  f.options.on_attempt = [&](const nango::attempt& seen) {
    keys.emplace_back(seen.limit_key);
    ids.push_back(value_of({seen.headers.begin(), seen.headers.end()}, "X-Request-Id"));
  };
  f.backend.answer(503, "", {{"X-Request-Id", "r-1"}})
      .answer(200, R"({"status":"ok"})", {{"X-Request-Id", "r-2"}})
      .answer(404, "", {{"X-Request-Id", "r-3"}})
      .fail(lost(errc::canceled, true));
  const auto api = f.client();
  CHECK(api.user("rolf").get("x"));
  CHECK(api.send("GET", "x"));
  CHECK_FALSE(api.get("x"));
  CHECK(keys == std::vector<std::string>{"rolf", "rolf", "program", "program"});
  CHECK(ids == std::vector<std::string>{"r-1", "r-2", "r-3", ""});
}

// --- Which limit passed ---

TEST_CASE("timed_out says which limit it was, how long, and the phase") {
  struct row {
    std::function<void(nango::client_options&, nango::call_options&)> set;
    std::string limit;
  };
  const std::vector<row> rows{
      {[](auto&, auto&) {}, "client_options::timeout, 30000 ms"},
      {[](auto& client, auto&) { client.timeout = 7s; }, "client_options::timeout, 7000 ms"},
      {[](auto&, auto& call) { call.timeout = 5ms; }, "call_options::timeout, 5 ms"},
      {[](auto& client, auto&) { client.attempt_timeout = 2s; }, "client_options::attempt_timeout, 2000 ms"},
      {[](auto& client, auto& call) { client.attempt_timeout = 2s, call.timeout = 1s; },
       "call_options::timeout, 1000 ms"},
  };
  for (const auto& [set, limit] : rows) {
    for (const std::string phase :
         {"connecting", "sending the request", "waiting for the answer", "reading the answer"}) {
      fixture f;
      nango::call_options options;
      set(f.options, options);
      f.options.retry.max_attempts = 1;
      f.backend.then(late(1ms, "the deadline passed while " + phase));
      CHECK(failure(f.client().get("x", {}, options)).message ==
            "the deadline passed while " + phase + " (" + limit + ")");
    }
  }
}

TEST_CASE("a backend that says nothing about its timed_out gets words, other errors get none") {
  fixture f;
  f.options.retry.max_attempts = 1;
  f.backend.then(late(1ms, "")).fail(lost(errc::connection_failed, true));
  CHECK(failure(f.client().get("x")).message == "the deadline passed (client_options::timeout, 30000 ms)");
  CHECK(failure(f.client().get("x")).message == "lost");
}

TEST_CASE("a deadline that passes in the limiter says so") {
  fixture f;
  f.options.rate = {.requests = 1, .per = 3s};
  const auto rolf = f.client().user("rolf");
  f.backend.ok();
  CHECK(rolf.get("x"));
  nango_test::watched_clock::on_wait = [] { manual_clock::advance(20s); };
  const auto e = failure(rolf.get("x", {}, {.timeout = 4s}));
  CHECK(e.code == errc::timed_out);
  CHECK(e.message == "the deadline passed while waiting for the rate limiter (call_options::timeout, 4000 ms)");
  CHECK(e.request == "GET x");
}

TEST_CASE("a deadline that passes in backoff says so, and what came before") {
  fixture f;
  f.options.timeout = 10s;
  f.options.retry = {.max_attempts = 3, .base_delay = 1ms, .max_delay = 1ms};
  f.options.on_attempt = [](const nango::attempt&) { manual_clock::advance(11s); };
  f.backend.answer(503, "busy", {{"X-Request-Id", "r-1"}, {"Retry-After", "1"}});
  const auto e = failure(f.client().get("x"));
  CHECK(e.code == errc::timed_out);
  CHECK(e.message ==
        "the deadline passed while waiting for another attempt (client_options::timeout, 10000 ms); before that: "
        "unexpected_status (HTTP 503): the answer is no envelope");
  CHECK(e.attempts == 1);
  CHECK(e.may_have_executed);
  CHECK(e.body == "busy");
  CHECK(value_of(e.headers, "X-Request-Id") == "r-1");
  CHECK(f.backend.calls() == 1);
}

// --- How patient a call is ---

TEST_CASE("a call's own retry policy takes the place of the client's") {
  fixture f;
  const auto api = f.client();
  f.backend.always([](const http_request&) -> nango::result<http_response> { return http_response{.status = 503}; });
  CHECK(failure(api.get("x", {}, {.retry = nango::retry_policy{.max_attempts = 1}})).attempts == 1);
  CHECK(failure(api.get("x", {}, {.retry = nango::retry_policy{5, 0ms, 0ms}})).attempts == 5);
  CHECK(failure(api.get("x")).attempts == 3);
}

TEST_CASE("a retry policy that makes no sense is invalid_argument of its call") {
  fixture f;
  const auto api = f.client();
  for (const nango::retry_policy& policy :
       {nango::retry_policy{.max_attempts = 0}, {.base_delay = -1ms}, {.max_delay = -1ms}}) {
    const auto e = failure(api.get("x", {}, {.retry = policy}));
    CHECK(e.code == errc::invalid_argument);
    CHECK(e.message.starts_with("call_options::retry."));
    CHECK_FALSE(e.may_have_executed);
  }
  CHECK(f.backend.calls() == 0);
}

TEST_CASE("an idempotent call is tried again whatever its method, and tells the truth") {
  fixture f;
  const auto api = f.client();
  const nango::call_options again{.headers = {{"Idempotency-Key", "k-1"}}, .idempotent = true};
  f.backend.fail(lost(errc::connection_failed, true)).answer(503, "").ok(1);
  CHECK(api.post("x", {}, again));
  CHECK(f.backend.calls() == 3);
  for (const auto& seen : f.backend.requests()) CHECK(seen.header("Idempotency-Key") == "k-1");
  f.backend.fail(lost(errc::connection_failed, true))
      .fail(lost(errc::connection_failed, false))
      .fail(lost(errc::connection_failed, false));
  const auto e = failure(api.post("x", {}, again));
  CHECK(e.attempts == 3);
  CHECK(e.may_have_executed);
}

TEST_CASE("no header makes a call idempotent") {
  fixture f;
  f.backend.fail(lost(errc::connection_failed, true));
  CHECK(failure(f.client().post("x", {}, {.headers = {{"Idempotency-Key", "k-1"}}})).attempts == 1);
}

}  // namespace client_errors_tests
