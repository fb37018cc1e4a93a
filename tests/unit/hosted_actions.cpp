// Hosted API: actions, those that are run in the background, and the wait for what became of them.

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hosted_client.hpp"
#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

namespace hosted_actions_tests {

namespace {

namespace hosted = nango::hosted;
using namespace std::chrono_literals;
using fixture = nango_test::hosted_fixture;
using nango::errc;
using nango::json;
using nango_test::manual_clock;

const std::string not_found = R"({"error":{"code":"not_found","message":"No action 'a-1' found"}})";
std::string failure_of(const std::string& code, const json& payload) {
  return json{{"error", {{"code", code}, {"message", "it failed"}, {"payload", payload}}}}.dump();
}

}  // namespace

TEST_CASE("an action in the background: its id") {
  fixture f;
  f.backend.answer(202, R"({"id":"a-1","statusUrl":"/action/a-1"})");
  const auto id = hosted::trigger_action_async(*f.link, "add", {{"a", 1}}, {.headers = {{"X-Trace", "7"}}});
  REQUIRE_MESSAGE(id, id.error());
  CHECK(*id == "a-1");
  CHECK(f.backend.last().method == "POST");
  CHECK(f.backend.last().url == "https://api.nango.dev/action/trigger");
  CHECK(f.backend.last().header("X-Async") == "true");
  CHECK(f.backend.last().header("X-Trace") == "7");
  CHECK(json::parse(f.backend.last().body) == json{{"action_name", "add"}, {"input", {{"a", 1}}}});
  for (const std::string body : {"{}", "[]", "7", R"({"id":7})", R"({"id":""})", R"({"id":null})"}) {
    CAPTURE(body);
    f.backend.answer(202, body);
    const auto none = hosted::trigger_action_async(*f.link, "add", nullptr);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == errc::decode_error);
    CHECK(none.error().request == "POST action/trigger");
    CHECK(none.error().body == body);
  }
  f.backend.answer(404, not_found);
  CHECK(hosted::trigger_action_async(*f.link, "add", nullptr).error().code == errc::api_error);
}

TEST_CASE("waiting for an action: asked with growing pauses until it ended") {
  fixture f;
  std::vector<std::chrono::milliseconds> asked;
  f.backend.always([&](const nango::http_request& request) -> nango::result<nango::http_response> {
    CHECK(request.method == "GET");
    CHECK(request.url == "https://api.nango.dev/action/a%2F1");
    asked.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(manual_clock::elapsed()));
    if (asked.size() < 10) return nango::http_response{.status = 404, .body = not_found};
    return nango::http_response{.status = 200, .body = R"({"sum":3})"};
  });
  const auto got = hosted::wait_for_action<std::map<std::string, int>>(*f.link, "a/1", {.timeout = 10min});
  REQUIRE_MESSAGE(got, got.error());
  CHECK(got->at("sum") == 3);
  std::vector<std::chrono::milliseconds> pauses;
  for (std::size_t i = 1; i < asked.size(); ++i) pauses.push_back(asked[i] - asked[i - 1]);
  CHECK(pauses == std::vector<std::chrono::milliseconds>{100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 5s, 5s, 5s});
}

TEST_CASE("wait_for_action returns any kind of result, and fails on answers without one") {
  fixture f;
  f.backend.answer(200, "null").answer(200, "7").answer(200, R"("seven")");
  CHECK(hosted::wait_for_action(*f.link, "a-1")->is_null());
  CHECK(hosted::wait_for_action<int>(*f.link, "a-1").value() == 7);
  CHECK(hosted::wait_for_action<int>(*f.link, "a-1").error().code == errc::decode_error);
  CHECK(hosted::wait_for_action(*f.link, "").error().code == errc::invalid_argument);
  CHECK(hosted::wait_for_action(*f.link, "a-1", {.timeout = 0ms}).error().code == errc::invalid_argument);
  CHECK(f.backend.calls() == 3);
}

TEST_CASE("waiting for an action: what it reported itself is the end, with all that it said") {
  for (const auto& [status, code] : {std::pair{424, "script_http_error"},
                                     {500, "action_script_runtime_error"},
                                     {500, "script_internal_error"},
                                     {500, "action_script_failure"}}) {
    CAPTURE(code);
    fixture f;
    const auto body = failure_of(code, {{"reason", "no such ticket"}});
    f.backend.answer(404, not_found).answer(status, body);
    const auto got = hosted::wait_for_action(*f.link, "a-1");
    CHECK(f.backend.calls() == 2);
    CHECK(got.error().type == code);
    CHECK(got.error().body == body);
    CHECK(got.error().attempts == 2);
    CHECK(json::parse(got.error().body).at("error").at("payload").at("reason") == "no such ticket");
  }
  for (const int status : {400, 401, 402, 403}) {
    fixture f;
    f.backend.answer(status, R"({"error":{"code":"c"}})");
    CHECK(hosted::wait_for_action(*f.link, "a-1").error().http_status == status);
    CHECK(f.backend.calls() == 1);
  }
  fixture f;
  f.backend.answer(200, "<html>");  // the dashboard
  CHECK(hosted::wait_for_action(*f.link, "a-1").error().code == errc::malformed_response);
}

TEST_CASE("wait_for_action polls on after answers that are not the outcome") {
  fixture f;
  f.backend.answer(500, failure_of("action_script_failure", {{"error", "Task 01a2 is in progress"}}))
      .answer(500, failure_of("action_script_failure", {{"error", "x"}, {"payload", {{"retryKey", "a-1"}}}}))
      .answer(502, "<html>bad gateway</html>")
      .answer(503, "")
      .answer(500, R"({"error":{"code":"server_error"}})")
      .fail({.code = errc::connection_failed, .message = "reset"})
      .fail({.code = errc::timed_out, .message = "of the attempt"})
      .answer(408, "")
      .answer(200, "7");
  const auto got = hosted::wait_for_action<int>(*f.link, "a-1", {.timeout = 5min});
  REQUIRE_MESSAGE(got, got.error());
  CHECK(*got == 7);
  CHECK(f.backend.calls() == 9);
}

TEST_CASE("waiting for an action: a 429 is waited out, with a key and without") {
  for (const auto* key : {"account", ""}) {
    CAPTURE(key);
    fixture f([&](nango::client_options& options) { options.limit_key = key; });
    f.backend.answer(429, R"({"error":{"code":"too_many_request"}})", {{"Retry-After", "20"}})
        .then([](const nango::http_request&) -> nango::result<nango::http_response> {
          CHECK(manual_clock::elapsed() >= 21s);
          CHECK(manual_clock::elapsed() < 22s);
          return nango::http_response{.status = 200, .body = "7"};
        });
    CHECK(hosted::wait_for_action<int>(*f.link, "a-1").value() == 7);
  }
}

TEST_CASE("wait_for_action ends at its deadline and quotes the last answer") {
  fixture f;
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 404, .body = not_found};
  });
  for (const bool own : {true, false}) {
    const auto began = manual_clock::now();
    const auto calls = f.backend.calls();
    nango::call_options options;
    if (own) options.timeout = 30s;
    const auto got = hosted::wait_for_action(*f.link, "a-1", options);
    CHECK(got.error().code == errc::timed_out);
    CHECK_MESSAGE(got.error().message.find("never was; the last answer: No action 'a-1' found") != std::string::npos,
                  got.error());
    CHECK(got.error().request == "GET action/a-1");
    CHECK(got.error().attempts == static_cast<int>(f.backend.calls() - calls));
    CHECK(manual_clock::now() - began <= (own ? 30s : 90s));  // the client's timeout
    CHECK(manual_clock::now() - began >= (own ? 25s : 85s));
  }
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 503, .body = R"({"error":"restarting"})"};
  });
  const auto got = hosted::wait_for_action(*f.link, "a-1");
  CHECK(got.error().code == errc::timed_out);
  CHECK_MESSAGE(got.error().message.find("restarting") != std::string::npos, got.error());
  CHECK(got.error().body == R"({"error":"restarting"})");
}

TEST_CASE("waiting for an action ends with its deadline also where the limiter has no turn before it") {
  fixture f([](nango::client_options& options) { options.rate = {.requests = 1, .per = 1min}; });
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 404, .body = not_found};
  });
  const auto got = hosted::wait_for_action(*f.link, "a-1", {.timeout = 30s});
  CHECK(got.error().code == errc::timed_out);
  CHECK(got.error().attempts == 1);
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("waiting for an action: each request has what is left of the time") {
  fixture f;
  const auto deadline = manual_clock::now() + 10s;
  f.backend.always([&](const nango::http_request& request) -> nango::result<nango::http_response> {
    CHECK(request.deadline == deadline);
    manual_clock::advance(1s);
    return nango::http_response{.status = 404, .body = not_found};
  });
  CHECK(hosted::wait_for_action(*f.link, "a-1", {.timeout = 10s}).error().code == errc::timed_out);
  // One that takes all of it ends the wait.
  f.backend.always([&](const nango::http_request& request) -> nango::result<nango::http_response> {
    manual_clock::advance(request.deadline - manual_clock::now());
    return nango::error{.code = errc::timed_out, .message = "waiting for the answer"};
  });
  const auto calls = f.backend.calls();
  CHECK(hosted::wait_for_action(*f.link, "a-1").error().code == errc::timed_out);
  CHECK(f.backend.calls() == calls + 1);
}

TEST_CASE("waiting for an action: canceled before, while it is asked and between") {
  for (const int when : {0, 1, 2}) {
    CAPTURE(when);
    fixture f;
    nango::cancel_source source;
    if (when == 0) source.cancel();
    f.backend.always([&](const nango::http_request&) -> nango::result<nango::http_response> {
      source.cancel();
      if (when == 1) return nango::error{.code = errc::canceled, .message = "canceled"};
      return nango::http_response{.status = 404, .body = not_found};
    });
    const auto got = hosted::wait_for_action(*f.link, "a-1", {.cancel = source.token()});
    CHECK(got.error().code == errc::canceled);
    CHECK(got.error().request == "GET action/a-1");
    CHECK(f.backend.calls() == (when == 0 ? 0 : 1));
  }
}

}  // namespace hosted_actions_tests
