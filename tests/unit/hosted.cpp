// Hosted API: answers recorded from the service, and what is made of them; connections, records, actions, the proxy.

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hosted_client.hpp"
#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

namespace hosted_tests {

namespace {

namespace hosted = nango::hosted;
using namespace std::chrono_literals;
using nango::errc;
using nango::json;
using nango_test::hosted_client;
using nango_test::manual_clock;
using nango_test::scripted_backend;
using fixture = nango_test::hosted_fixture;

// The system's clock, if the manual clock's were so.
std::time_t epoch_of(manual_clock::time_point t) {
  return 1'795'489'548 + std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count();
}
std::string http_date(std::time_t time) {
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&time));
  return text.data();
}

// The service's limit as it was seen: 200 calls in a window of a minute that is fixed, and times rounded down.
struct fixed_window {
  // A call of some program of the account.
  bool admit() {
    if (const auto now = manual_clock::now(); now >= ends) {
      used = 0;
      ends = now + 60s;
    }
    const bool fits = used < 200;
    if (fits) ++used;
    return fits;
  }
  nango::http_response answer() {
    const bool fits = admit();
    const auto now = manual_clock::now();
    const auto left = std::chrono::floor<std::chrono::seconds>(ends - now).count();
    nango::http_response made{.status = 200, .body = "{}"};
    if (tells) {
      made.headers = {{"Date", http_date(epoch_of(now))},
                      {"x-ratelimit-remaining", std::to_string(200 - used)},
                      {"x-ratelimit-reset", std::to_string(epoch_of(now) + left)}};
    }
    if (fits) return made;
    ++refused;
    made.status = 429;
    made.headers.push_back({"Retry-After", std::to_string(left)});
    made.body = R"({"error":{"code":"too_many_request"}})";
    return made;
  }
  bool tells = false;  // how much is left
  int used = 0;
  manual_clock::time_point ends{};
  int refused = 0;
};

void no_retries(nango::client_options& options) { options.retry.max_attempts = 1; }

// What a person expects of each recorded answer.
struct expectation {
  const char* name;
  std::optional<errc> code;        // none: success
  std::string_view type, message;  // the message begins so
};
constexpr auto ok = std::nullopt;
const expectation expectations[] = {
    {"health", ok, {}, {}},
    {"providers-hubspot", ok, {}, {}},
    {"integrations-post-missing-credentials", errc::params_error, "invalid_body", "Missing credentials"},
    {"integrations-post-no-body", errc::params_error, "invalid_body",
     "Invalid input: expected object, received undefined"},
    {"integrations-post-malformed-json", errc::params_error, "invalid_json", "Unexpected end of JSON input"},
    {"connections-nope", errc::params_error, "unknown_provider_config", "Provider does not exists"},
    {"records-no-headers-no-model", errc::params_error, "invalid_query_params",
     "model: Invalid input: expected string, received undefined"},
    {"action-trigger-no-headers", errc::params_error, "invalid_headers",
     "provider-config-key: Invalid input: expected string, received undefined; co"},
    {"action-trigger-unknown-connection", errc::params_error, "unknown_connection", "Failed to find connection"},
    {"auth-malformed-not-uuid", errc::auth_error, "invalid_secret_key_format",
     "Authentication failed. The provided secret key is not a UUID v4."},
    {"auth-malformed-no-bearer", ok, {}, {}},
    {"auth-basic-scheme", errc::auth_error, "invalid_secret_key_format", "Authentication failed."},
    {"auth-wrong-key", errc::auth_error, "unknown_account", "Authentication failed. The provided authorization header"},
    {"auth-wrong-key-integrations", errc::auth_error, "unknown_account", "Authentication failed."},
    {"content-type-415-get", errc::params_error, "invalid_content_type",
     "Content-Type header must be application/json"},
    {"unknown-method-delete", errc::unexpected_status, "", "the answer does not say why"},
    {"options-preflight", ok, {}, {}},
    {"unknown-route-get-no-webapp-build", errc::processing_error, "generic_error_support",
     "An error occurred. Please contact support"},
    {"unknown-route-get-noauth", errc::malformed_response, "", "the answer is a web page; is the path right?"},
    {"integrations-post-ok-apikey", ok, {}, {}},
    {"integrations-get-include", ok, {}, {}},
    {"integrations-get-include-invalid", errc::params_error, "invalid_query_params", "include: Invalid input"},
    {"integrations-patch-unknown", errc::api_error, "not_found", "Integration \"none\" does not exist"},
    {"providers-list-search", ok, {}, {}},
    {"connections-post-invalid", errc::params_error, "invalid_body",
     "provider_config_key: Invalid input: expected string, received undefined; crede"},
    {"connections-post-ok-none", ok, {}, {}},
    {"connections-post-invalid-enduser-organization", errc::params_error, "invalid_body",
     "end_user: Unrecognized key: \"organization\""},
    {"connections-post-ok-basic", ok, {}, {}},
    {"connections-post-ok-oauth2", ok, {}, {}},
    {"connections-list-limit", ok, {}, {}},
    {"connections-list-search", ok, {}, {}},
    {"connections-list-invalid-query", errc::params_error, "invalid_query_params",
     "limit: Invalid input: expected number, received NaN; Unrecognized key: \"foo\""},
    {"connections-get-oauth2", ok, {}, {}},
    {"connections-metadata-unknown", errc::api_error, "unknown_connection",
     "Connection with connection id nope and provider config key open not found."},
    {"connections-post-invalid-apikey-snakecase", errc::params_error, "invalid_body",
     "credentials.apiKey: Invalid input: expected string, received undefined; credentials: Unrecognized key: "
     "\"api_key\""},
    {"records-page2", ok, {}, {}},
    {"records-filter-updated", ok, {}, {}},
    {"records-ids", ok, {}, {}},
    {"records-limit-too-big", errc::params_error, "invalid_query_params",
     "limit: Too big: expected number to be <=10000"},
    {"action-trigger-bad-async-header", errc::params_error, "invalid_headers",
     "x-async: Invalid option: expected one of \"true\""},
    {"sync-trigger-no-key", errc::params_error, "missing_provider_config_key", "Missing provider_config_key."},
    {"sync-frequency-invalid", errc::params_error, "invalid_body", "frequency: Invalid string: must match pattern"},
    {"integrations-functions", ok, {}, {}},
    {"scope-403-connections", errc::auth_error, "forbidden",
     "Insufficient scope. Required one of: environment:connections:list"},
    {"scope-403-integration-get", errc::auth_error, "forbidden", "Insufficient scope."},
    {"scope-403-account-key", errc::auth_error, "forbidden", "Insufficient scope."},
    {"action-trigger-race-in-progress", errc::processing_error, "action_script_failure",
     "The action script failed with an error: {}"},
    {"action-trigger-http-error", errc::api_error, "script_http_error", "script_http_error"},
    {"action-trigger-internal-error", errc::processing_error, "script_internal_error",
     "An internal error occurred during the script execution"},
    {"sync-frequency", ok, {}, {}},
    {"sync-status-triggered", ok, {}, {}},
    {"ratelimit-4", ok, {}, {}},
    {"ratelimit-5", errc::rate_limited, "too_many_request", "too_many_request"},
    {"ratelimit-script-bucket", errc::auth_error, "unknown_account", "Authentication failed."},
    {"limited-account-size-s", ok, {}, {}},
    {"connections-post-ok-temp", ok, {}, {}},
    {"integrations-delete-unknown", errc::api_error, "not_found", "Integration does not exist"},
    {"path-bad-percent-encoding", errc::processing_error, "generic_error_support", "An error occurred."},
    {"connections-get-json-content-type-charset", ok, {}, {}},
};
// Through the proxy an answer comes as it is, whoever gave it.
const std::set<std::string> proxied{"proxy-no-headers",
                                    "proxy-unknown-connection-known-integration",
                                    "proxy-get-ok",
                                    "proxy-get-csv",
                                    "proxy-upstream-404",
                                    "proxy-upstream-503",
                                    "proxy-upstream-refused",
                                    "proxy-upstream-429-with-ratelimit-headers",
                                    "proxy-outbound-loopback-denied-default-policy"};

struct recording {
  std::string method{}, target{};
  nango::http_response answer{};
};
std::map<std::string, recording> recordings() {
  std::ifstream file(HOSTED_ANSWERS);
  std::map<std::string, recording> all;
  for (const auto& one : json::parse(file)) {
    recording read{one.at("method"), one.at("target"), {.status = one.at("status"), .body = one.at("body")}};
    for (const auto& field : one.at("headers")) read.answer.headers.push_back({field.at(0), field.at(1)});
    all.emplace(one.at("name"), std::move(read));
  }
  return all;
}
std::string path_of(const recording& one) { return one.target.substr(1, one.target.find('?') - 1); }

// Of one page of records.
std::string page_of(const std::vector<std::string>& ids, const json& next) {
  json records = json::array();
  for (const auto& id : ids) records.push_back({{"id", id}});
  return json{{"records", records}, {"next_cursor", next}}.dump();
}

std::string parameter(const std::string& url, const std::string& name) {
  const auto at = url.find(name + '=');
  return at == std::string::npos ? "" : url.substr(at + name.size() + 1, url.find('&', at) - at - name.size() - 1);
}

}  // namespace

TEST_CASE("each recorded answer is what a person expects of it") {
  auto all = recordings();
  CHECK(all.size() == 68);
  for (const auto& expected : expectations) {
    CAPTURE(expected.name);
    REQUIRE(all.count(expected.name) == 1);
    const auto one = all.at(expected.name);
    all.erase(expected.name);
    fixture f(no_retries);
    f.backend.answer(one.answer.status, one.answer.body, one.answer.headers);
    const auto got = f.api->request(one.method, path_of(one));
    if (!expected.code) {
      REQUIRE_MESSAGE(got, got.error());
      CHECK(got->http_status == one.answer.status);
      CHECK(got->result == (one.answer.body.empty() ? json() : json::parse(one.answer.body)));
      CHECK(got->headers.size() == one.answer.headers.size());
      continue;
    }
    REQUIRE_FALSE(got);
    const auto& e = got.error();
    CHECK(e.code == *expected.code);
    CHECK(e.http_status == one.answer.status);
    CHECK(e.type == expected.type);
    CHECK_MESSAGE(e.message.starts_with(expected.message), e.message);
    const bool did_not_act = *expected.code == errc::params_error || *expected.code == errc::auth_error ||
                             *expected.code == errc::rate_limited;
    CHECK(e.may_have_executed == !did_not_act);
    CHECK(e.body == one.answer.body);
    if (one.answer.status == 429) CHECK(e.retry_after == 58s);  // it says 57, rounded down
  }
  for (const auto& name : proxied) {
    CAPTURE(name);
    REQUIRE(all.count(name) == 1);
    const auto one = all.at(name);
    all.erase(name);
    fixture f;
    f.backend.answer(one.answer.status, one.answer.body, one.answer.headers);
    const auto got = hosted::proxy(*f.link, one.method, path_of(one).substr(6));
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->status == one.answer.status);
    CHECK(got->body == one.answer.body);
    CHECK(got->headers.size() == one.answer.headers.size());
    CHECK(f.backend.calls() == 1);
    CHECK(f.backend.last().url.starts_with("https://api.nango.dev/proxy/"));
  }
  for (const auto& [name, _] : all) FAIL_CHECK("nothing is expected of " << name);
}

TEST_CASE("answers that nobody recorded") {
  const auto parse = [](int status, const std::string& body, nango::headers headers = {}) {
    return hosted::parse_bare({.status = status, .headers = std::move(headers), .body = body});
  };
  CHECK(parse(200, "")->result.is_null());
  CHECK(parse(204, "")->result.is_null());
  CHECK(parse(202, R"({"id":"a","statusUrl":"/action/a"})")->result.at("id") == "a");
  CHECK(parse(299, "7")->result == 7);
  CHECK(parse(200, "null")->result.is_null());
  for (const std::string body : {"{", "[1]x", "\xff", " "})
    CHECK(parse(200, body).error().code == errc::malformed_response);
  CHECK(parse(200, std::string(600, '[') + std::string(600, ']')).error().code == errc::malformed_response);
  CHECK(parse(200, std::string(20'000, 'x')).error().body.size() == 16'384);

  CHECK(parse(400, R"({"error":"what is wrong"})").error().message == "what is wrong");
  CHECK(parse(400, R"({"error":"what is wrong"})").error().code == errc::params_error);
  CHECK(parse(422, R"({"message":"a\nb"})").error().message == "a b");
  for (const int status : {400, 415, 422}) CHECK(parse(status, R"({"error":"x"})").error().code == errc::params_error);
  for (const int status : {401, 403}) CHECK(parse(status, R"({"error":"x"})").error().code == errc::auth_error);
  for (const int status : {500, 501, 503}) {
    CHECK(parse(status, R"({"error":"x"})").error().code == errc::processing_error);
  }
  for (const int status : {402, 404, 409, 414, 416, 421, 423, 499, 302}) {
    CHECK(parse(status, R"({"error":"x"})").error().code == errc::api_error);
  }
  CHECK(parse(409, R"({"error":{"code":"conflict"}})").error().code == errc::api_error);
  CHECK(parse(402, R"({"error":{"code":"plan_limit"}})").error().type == "plan_limit");
  CHECK(parse(503, R"({"error":{"code":"server_error"}})").error().code == errc::processing_error);
  CHECK(parse(503, "<html>").error().code == errc::unexpected_status);
  CHECK(parse(302, "").error().code == errc::unexpected_status);
  CHECK(parse(403, "<html>").error().code == errc::auth_error);
  CHECK(parse(403, "<html>").error().body == "<html>");
  CHECK(parse(400, "{}").error().code == errc::unexpected_status);
  CHECK(parse(400, R"({"error":7})").error().code == errc::unexpected_status);
  CHECK(parse(400, R"({"error":{"message":"no code"}})").error().code == errc::params_error);
  CHECK(parse(400, R"({"error":{"message":"no code"}})").error().message == "no code");
  CHECK(parse(500, R"({"error":{"message":"m","code":7}})").error().message == "m");
  CHECK(parse(500, R"({"error":{"message":"m","code":7}})").error().type.empty());
  CHECK(parse(400, R"({"error":{"errors":[]}})").error().code == errc::unexpected_status);
  CHECK(parse(400, R"({"error":{"message":7}})").error().code == errc::unexpected_status);
  CHECK(parse(400,
              R"({"error":{"code":"c","errors":[{"message":"m","path":["a",0,"b"]},7,{"path":[]},{"message":"n"}]}})")
            .error()
            .message == "a.0.b: m; n");
  CHECK(parse(400, R"({"error":{"code":"c","errors":[]}})").error().message == "c");
  CHECK(parse(400, R"({"error":""})").error().message == "PARAMS_ERROR");

  CHECK(parse(429, "").error().code == errc::rate_limited);
  CHECK(parse(429, "", {{"Retry-After", "0"}}).error().retry_after == 1s);  // the service rounds it down
  CHECK(parse(429, "", {{"Retry-After", "59"}}).error().retry_after == 60s);
  CHECK_FALSE(parse(429, "").error().retry_after);
  CHECK_FALSE(parse(429, "").error().may_have_executed);
  CHECK(parse(500, "", {{"Retry-After", "3"}}).error().retry_after == 3s);
}

TEST_CASE("options: one limit for a key, another for each key, and time to wait a window out") {
  const auto options = hosted::options("some-key-1");
  CHECK(options.api_key == "some-key-1");
  CHECK(options.base_url == "https://api.nango.dev/");
  CHECK((options.dialect.parse == &hosted::parse_bare));
  CHECK(options.rate.requests == 200);
  CHECK(options.rate.per == 1min);
  CHECK(options.timeout == 90s);
  CHECK(options.limit_key.starts_with("account:"));
  CHECK(options.limit_key.find("some-key") == std::string::npos);
  CHECK(options.limit_key == hosted::options("some-key-1", {2'000, 1min}).limit_key);
  CHECK(options.limit_key != hosted::options("some-key-2").limit_key);
  CHECK(hosted::options("k", {5'000, std::chrono::nanoseconds::max()}).timeout > 24h * 364);
  CHECK(hosted::options("").limit_key == "account:cbf29ce484222325");   // FNV-1a's published offset
  CHECK(hosted::options("a").limit_key == "account:af63dc4c8601ec8c");  // and its value for "a"
}

TEST_CASE("a connection is named by two headers, and counted with its account") {
  fixture f;
  f.backend.answer(200, "{}").answer(200, "{}");
  CHECK(f.link->limit_key() == f.api->limit_key());
  REQUIRE(f.link->get("records", {{"model", "Ticket"}}));
  CHECK(f.backend.last().header("Connection-Id") == "c-1");
  CHECK(f.backend.last().header("Provider-Config-Key") == "crm");
  CHECK(f.backend.last().count("X-User-Account") == 0);
  for (const auto& [id, key] : {std::pair{"", "crm"}, {"c-1", ""}, {"c\n", "crm"}, {"c-1", " "}}) {
    const auto bad = hosted::connection(*f.api, id, key).get("x");
    REQUIRE_FALSE(bad);
    CHECK(bad.error().code == errc::invalid_argument);
  }
  CHECK(hosted::connection(*f.api, "", "crm").get("x").error().message ==
        "the header Connection-Id of an identity is empty");
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("clients and connections of a key share one window") {
  fixture f;
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 200, .body = "{}"};
  });
  const auto other = hosted::connection(*f.api, "c-2", "crm");
  for (int i = 0; i < 100; ++i) REQUIRE((f.link->get("x") && other.get("x")));
  CHECK(manual_clock::elapsed() == 0s);
  REQUIRE(f.api->get("x"));
  CHECK(manual_clock::elapsed() >= 60s);
  CHECK(f.api->get("x", {}, {.timeout = 1ms}).error().code == errc::rate_limited);
}

TEST_CASE("so do two clients that share a limiter; those of two keys have one each") {
  manual_clock::reset();
  manual_clock::run_by_itself();
  scripted_backend backend;
  backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 200, .body = "{}"};
  });
  const nango::basic_sliding_window<manual_clock> limiter(hosted::options("a").rate);
  const hosted_client one(hosted::options("key-1"), backend, limiter), same(hosted::options("key-1"), backend, limiter),
      other(hosted::options("key-2"), backend, limiter);
  for (int i = 0; i < 100; ++i) REQUIRE((one.get("x") && same.get("x") && other.get("x")));
  for (int i = 0; i < 100; ++i) REQUIRE(other.get("x"));
  CHECK(manual_clock::elapsed() == 0s);
  CHECK(same.get("x", {}, {.timeout = 1ms}).error().code == errc::rate_limited);
  CHECK(other.get("x", {}, {.timeout = 1ms}).error().code == errc::rate_limited);
}

TEST_CASE("the account's state is there for callers of request()") {
  fixture f;
  f.backend.answer(200, "{}", {{"X-RateLimit-Remaining", "17"}, {"X-RateLimit-Reset", "1795489548"}});
  const auto got = f.api->request("GET", "connections");
  REQUIRE(got);
  CHECK(got->headers.at(0).value == "17");
}

TEST_CASE("a program that starts anew within a spent window loses no call") {
  for (const auto started : {100ms, 30'300ms, 59'001ms, 59'999ms}) {
    CAPTURE(started);
    fixture f;
    fixed_window service{.used = 200, .ends = manual_clock::now() + 60s};
    f.backend.always([&](const nango::http_request&) { return service.answer(); });
    manual_clock::advance(started);
    for (int i = 0; i < 450; ++i) REQUIRE(f.link->get("records", {{"model", "Ticket"}}));
    CHECK(service.refused == 1);
    CHECK(manual_clock::elapsed() < 200s);
  }
}

TEST_CASE("a window that other programs of the account helped to spend is waited out, mostly without a 429") {
  enum class other { before, after, at_once };
  for (const auto& [takes, most] : {std::pair{other::before, 0}, {other::after, 39}, {other::at_once, 0}}) {
    CAPTURE(static_cast<int>(takes));
    fixture f;
    fixed_window service{.tells = true};
    int calls = 0;
    f.backend.always([&, takes = takes](const nango::http_request&) {
      manual_clock::advance(37ms);
      if (takes == other::before) service.admit();
      auto made = service.answer();
      if (takes == other::after) service.admit();
      if (takes == other::at_once && service.used == 1) service.used += 100;
      return made;
    });
    for (; calls < 2'000; ++calls) REQUIRE(f.link->get("records", {{"model", "Ticket"}}));
    CHECK(service.refused <= most);  // of 2,000: fewer than one in fifty
    CHECK(manual_clock::elapsed() < 21 * 62s);
  }
}

TEST_CASE("a spent window holds the account until a second after the reset") {
  using fields = nango::headers;
  const auto held = [](const fields& said, const char* path = "records", int status = 200) {
    fixture f(no_retries);
    f.backend.answer(status, "{}", said).answer(200, "{}");
    static_cast<void>(f.link->send("GET", path));
    REQUIRE(f.api->get("connections"));  // another handle of the account
    return std::chrono::floor<std::chrono::milliseconds>(manual_clock::elapsed());
  };
  const std::string date = "Tue, 24 Nov 2026 00:00:00 GMT";  // 1795478400
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795478430"}}) == 31s);
  CHECK(held({{"Date", date}, {"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "1795478400"}}) == 1s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795478430"}}, "x", 404) == 31s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795478399"}}) == 0s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1"}}) == 0s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "1"}, {"X-RateLimit-Reset", "1795478430"}}) == 0s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}}) == 0s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Reset", "1795478430"}}) == 0s);
  for (const char* odd : {"", "-1", "soon", "1795478430.5", "99999999999999999999999"}) {
    CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", odd}}) == 0s);
  }
  // However far away the reset is said to be, the call's timeout and the limiter's five minutes bound it.
  const auto rest = hosted::options("k").dialect.hold_for;
  const auto far_away = [&](const char* reset) {
    return rest("x", {.headers = {{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", reset}}});
  };
  CHECK(far_away("18446744073709551615") == std::chrono::hours(24 * 365) + 1s);
  CHECK(far_away("1795478401") == 2s);
  // Without a Date the system's clock is asked.
  const auto soon = std::to_string(std::time(nullptr) + 100);
  const auto wait = rest("x", {.headers = {{"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", soon}}});
  REQUIRE(wait);
  CHECK(*wait > 90s);
  CHECK(*wait <= 102s);
  // Under proxy/ the headers may be an upstream's.
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795478430"}}, "proxy/x") == 0s);
  CHECK(held({{"Date", date}, {"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795478430"}}, "/proxy/x") == 0s);
}

TEST_CASE("a path under proxy/ by hand: another API's 429 is retried by its Retry-After and holds no key") {
  fixture f;
  f.backend.answer(429, R"({"error":"slow down"})", {{"Retry-After", "9"}, {"x-ratelimit-remaining", "0"}});
  f.backend.then([](const nango::http_request&) -> nango::result<nango::http_response> {
    CHECK(manual_clock::elapsed() == 10s);
    return nango::http_response{.status = 429, .headers = {{"Retry-After", "50"}}};
  });
  f.backend.answer(200, "{}").answer(200, "{}");
  CHECK(f.link->get("proxy/x", {}, {.retry = nango::retry_policy{.max_attempts = 2}}).error().retry_after == 51s);
  CHECK(f.link->get("records"));
  CHECK(manual_clock::elapsed() == 10s);
}

TEST_CASE("a 429 that says 0 is waited for all the same") {
  fixture f([](nango::client_options& options) {
    options.retry = {.max_attempts = 3, .base_delay = 800ms, .max_delay = 800ms};
  });
  f.backend.answer(429, R"({"error":{"code":"too_many_request"}})", {{"Retry-After", "0"}})
      .answer(429, R"({"error":{"code":"too_many_request"}})", {{"Retry-After", "0"}})
      .answer(200, "{}");
  REQUIRE(f.api->get("connections"));
  CHECK(f.backend.calls() == 3);
  CHECK(manual_clock::elapsed() > 0s);
}

TEST_CASE("records: 201 pages at 200 a minute wait the window out") {
  fixture f;
  int pages = 0;
  f.backend.always([&](const nango::http_request& request) -> nango::result<nango::http_response> {
    const auto cursor = parameter(std::string(request.url), "cursor");
    CHECK(cursor == (pages == 0 ? "" : "p" + std::to_string(pages)));
    ++pages;
    return nango::http_response{
        .status = 200,
        .body = page_of({std::to_string(pages)}, pages < 201 ? json("p" + std::to_string(pages)) : json())};
  });
  std::size_t seen = 0;
  const auto progress = hosted::for_each_record(
      *f.link, "Ticket", [&](const json& record) { CHECK(record.at("id") == std::to_string(++seen)); });
  CHECK_FALSE(progress.failure);
  CHECK(progress.done);
  CHECK(progress.count == 201);
  CHECK(seen == 201);
  CHECK(progress.cursor == "p200");
  CHECK(manual_clock::elapsed() >= 60s);
  CHECK(manual_clock::elapsed() < 70s);
}

TEST_CASE("records: short pages and empty ones are not the end") {
  fixture f;
  f.backend.answer(200, page_of({"1"}, "a")).answer(200, page_of({}, "b")).answer(200, page_of({"2", "3"}, nullptr));
  std::string seen;
  const auto progress =
      hosted::for_each_record(*f.link, "Ticket", [&](json&& record) { seen += record.at("id").get<std::string>(); });
  CHECK(progress.done);
  CHECK(progress.count == 3);
  CHECK(seen == "123");
}

TEST_CASE("records: what is asked for") {
  fixture f;
  f.backend.answer(200, page_of({}, "n/x=")).answer(200, page_of({}, json()));
  const auto progress = hosted::for_each_record(
      *f.link, "Ticket", [](const json&) {},
      {.cursor = "c", .limit = 10'000, .modified_after = "2026-01-01T00:00:00Z", .ids = {"1", "2"}, .filter = "added"},
      {.headers = {{"X-Trace", "7"}}});
  CHECK(progress.done);
  CHECK(f.backend.requests().at(0).url ==
        "https://api.nango.dev/"
        "records?model=Ticket&limit=10000&modified_after=2026-01-01T00%3A00%3A00Z&ids=1&ids=2&filter=added&cursor=c");
  CHECK(f.backend.requests().at(1).url.ends_with("&cursor=n%2Fx%3D"));
  CHECK(f.backend.last().header("X-Trace") == "7");
  CHECK(f.backend.last().header("Connection-Id") == "c-1");

  const auto nothing = [](const json&) { FAIL("there is none"); };
  CHECK_FALSE(hosted::for_each_record(*f.link, "", nothing).done);
  CHECK(hosted::for_each_record(*f.link, "", nothing).failure->code == errc::invalid_argument);
  CHECK(hosted::for_each_record(*f.link, "Ticket", nothing, {.limit = 10'001}).failure->code == errc::invalid_argument);
  CHECK(f.backend.calls() == 2);
}

TEST_CASE("records: a cursor that comes again is an error, and no endless loop") {
  for (const std::vector<std::string>& circle :
       {std::vector<std::string>{"a"}, {"a", "b"}, {"a", "b", "c", "d", "e"}}) {
    CAPTURE(circle.size());
    fixture f([](nango::client_options& options) { options.rate.requests = 100'000; });
    std::size_t pages = 0;
    f.backend.always([&](const nango::http_request&) -> nango::result<nango::http_response> {
      return nango::http_response{.status = 200, .body = page_of({"1"}, circle[pages++ % circle.size()])};
    });
    const auto progress = hosted::for_each_record(*f.link, "Ticket", [](const json&) {});
    REQUIRE(progress.failure);
    CHECK(progress.failure->code == errc::malformed_response);
    CHECK_FALSE(progress.done);
    CHECK(pages <= 3 * circle.size() + 3);
  }
}

TEST_CASE("records: an error in the middle leaves the cursor to resume from") {
  fixture f(no_retries);
  f.backend.answer(200, page_of({"1", "2"}, "a")).answer(200, page_of({"3"}, "b")).answer(500, "broken");
  std::string seen;
  const auto progress = hosted::for_each_record(
      *f.link, "Ticket", [&](const json& record) { seen += record.at("id").get<std::string>(); });
  REQUIRE(progress.failure);
  CHECK(progress.failure->code == errc::unexpected_status);
  CHECK(seen == "123");
  CHECK(progress.count == 3);
  CHECK(progress.cursor == "b");
  f.backend.answer(200, page_of({"4"}, json()));
  const auto rest = hosted::for_each_record(*f.link, "Ticket",
                                            [&](const json& record) { seen += record.at("id").get<std::string>(); },
                                            {.cursor = progress.cursor});
  CHECK(rest.done);
  CHECK(seen == "1234");
}

TEST_CASE("records: who has enough stops at once") {
  fixture f;
  f.backend.answer(200, page_of({"1", "2"}, "a")).answer(200, page_of({"3", "4", "5"}, "b"));
  int left = 4;
  const auto progress = hosted::for_each_record(*f.link, "Ticket", [&](const json&) { return --left > 0; });
  CHECK_FALSE(progress.failure);
  CHECK_FALSE(progress.done);
  CHECK(progress.count == 4);
  CHECK(progress.cursor == "a");  // its page was not wholly handed on
  CHECK(f.backend.calls() == 2);

  SUBCASE("with the last of a page: the next one is due") {
    f.backend.answer(200, page_of({"1"}, "z"));
    const auto one = hosted::for_each_record(*f.link, "Ticket", [](const json&) { return false; });
    CHECK(one.cursor == "z");
    CHECK_FALSE(one.done);
  }
  SUBCASE("with the last of all: done") {
    f.backend.answer(200, page_of({"1"}, json()));
    CHECK(hosted::for_each_record(*f.link, "Ticket", [](const json&) { return false; }).done);
  }
  SUBCASE("by throwing") {
    f.backend.answer(200, page_of({"1", "2"}, "z"));
    int calls = 0;
    const auto throws = [&](const json&) {
      ++calls;
      throw std::out_of_range("enough");
    };
    CHECK_THROWS_AS(hosted::for_each_record(*f.link, "Ticket", throws), std::out_of_range);
    CHECK(calls == 1);
    CHECK(f.backend.calls() == 3);
  }
}

TEST_CASE("records: a record's own cursor is where to resume, so that none comes twice") {
  // Ids are their own cursors, "c1" after "1"; a page has two.
  const auto service = [](int last) {
    return [last](const nango::http_request& request) -> nango::result<nango::http_response> {
      const auto cursor = parameter(std::string(request.url), "cursor");
      const int before = cursor.empty() ? 0 : std::stoi(cursor.substr(1));
      json records = json::array();
      for (int i = before + 1; i <= last && i <= before + 2; ++i) {
        records.push_back({{"id", std::to_string(i)}, {"_nango_metadata", {{"cursor", "c" + std::to_string(i)}}}});
      }
      const json next = before + 2 < last ? json("c" + std::to_string(before + 2)) : json();
      return nango::http_response{.status = 200, .body = json{{"records", records}, {"next_cursor", next}}.dump()};
    };
  };
  for (int enough = 1; enough <= 5; ++enough) {  // in the middle of a page, at its end, at that of all
    CAPTURE(enough);
    fixture f;
    f.backend.always(service(5));
    std::string seen;
    const auto take = [&](json&& record) {
      seen += record.at("id").get<std::string>();
      return static_cast<int>(seen.size()) != enough;
    };
    const auto first = hosted::for_each_record(*f.link, "Ticket", take);
    CHECK(first.cursor == "c" + std::to_string(enough));
    CHECK(first.done == (enough == 5));
    const auto rest = hosted::for_each_record(*f.link, "Ticket", take, {.cursor = first.cursor});
    CHECK(rest.done);
    CHECK(seen == "12345");
    CHECK(rest.cursor == "c5");
    f.backend.always(service(7));  // there are new ones later
    const auto later = hosted::for_each_record(*f.link, "Ticket", take, {.cursor = rest.cursor});
    CHECK(seen == "1234567");
    CHECK(later.cursor == "c7");
    CHECK(hosted::for_each_record(*f.link, "Ticket", take, {.cursor = later.cursor}).cursor == "c7");  // none came
    CHECK(seen == "1234567");
  }
}

TEST_CASE("records: the cursor after an error is that of the last record handed on") {
  fixture f(no_retries);
  f.backend
      .answer(200, R"({"records":[{"id":"1","_nango_metadata":{"cursor":"c1"}},{"id":"2","_nango_metadata":{}},
                                  {"id":"3","_nango_metadata":{"cursor":7}},{"id":"4","_nango_metadata":7},)")
      .answer(500, "broken");
  const auto progress = hosted::for_each_record(*f.link, "Ticket", [](const json&) {}, {.cursor = "c0"});
  REQUIRE(progress.failure);
  CHECK(progress.count == 4);
  CHECK(progress.cursor == "c1");  // those that have none come again
  CHECK(hosted::for_each_record(*f.link, "Ticket", [](const json&) {}, {.cursor = "c0"}).cursor == "c0");
}

TEST_CASE("records: a sync's variant, 100 ids at most, and times as the service takes them") {
  fixture f;
  f.backend.answer(200, page_of({}, json())).answer(200, page_of({}, json()));
  using namespace std::chrono;
  const auto nothing = [](const json&) { FAIL("there is none"); };
  const sys_seconds then = sys_days(year(2026) / 2 / 3) + 4h + 5min + 6s;
  CHECK(hosted::timestamp(then) == "2026-02-03T04:05:06Z");
  CHECK(hosted::timestamp({}) == "1970-01-01T00:00:00Z");
  CHECK(
      hosted::for_each_record(*f.link, "Ticket", nothing, {.modified_after = hosted::timestamp(then), .variant = "de"})
          .done);
  CHECK(f.backend.last().url ==
        "https://api.nango.dev/records?model=Ticket&modified_after=2026-02-03T04%3A05%3A06Z&variant=de");
  CHECK(hosted::for_each_record(*f.link, "Ticket", nothing, {.ids = std::vector<std::string>(100, "1")}).done);
  const auto many = hosted::for_each_record(*f.link, "Ticket", nothing, {.ids = std::vector<std::string>(101, "1")});
  REQUIRE(many.failure);
  CHECK(many.failure->code == errc::invalid_argument);
  CHECK(many.failure->message.find("100") != std::string::npos);
  CHECK(f.backend.calls() == 2);
}

TEST_CASE("records: a malformed page is decode_error") {
  for (const std::string body :
       {"[]", "7", "{}", R"({"records":{}})", R"({"records":null})", R"({"records":[],"next_cursor":7})"}) {
    CAPTURE(body);
    fixture f;
    f.backend.answer(200, body);
    const auto progress = hosted::for_each_record(*f.link, "Ticket", [](const json&) {});
    REQUIRE(progress.failure);
    CHECK(progress.failure->code == errc::decode_error);
    CHECK(progress.failure->http_status == 200);
    CHECK(progress.failure->attempts == 1);
  }
  fixture f;
  f.backend.answer(200, R"({"records":[{"id":"1"}]})");
  CHECK(hosted::for_each_record(*f.link, "Ticket", [](const json&) {}).done);  // no next_cursor at all
}

TEST_CASE("actions: what is sent, what comes back, and never twice") {
  fixture f;
  f.backend.answer(200, R"({"sum":3})");
  const auto got =
      hosted::trigger_action<std::map<std::string, int>>(*f.link, "add", {{"a", 1}, {"b", 2}}, {.timeout = 10min});
  REQUIRE(got);
  CHECK(got->at("sum") == 3);
  CHECK(f.backend.last().method == "POST");
  CHECK(f.backend.last().url == "https://api.nango.dev/action/trigger");
  CHECK(json::parse(f.backend.last().body) == json{{"action_name", "add"}, {"input", {{"a", 1}, {"b", 2}}}});
  CHECK(f.backend.last().deadline - manual_clock::now() == 10min);

  f.backend.answer(202, R"({"id":"a","statusUrl":"/action/a"})");
  CHECK(hosted::trigger_action(*f.link, "add", nullptr, {.headers = {{"X-Async", "true"}}})->at("id") == "a");

  const auto sent_before = f.backend.calls();
  f.backend.answer(500, R"({"error":{"code":"script_internal_error"}})");
  const auto failed = hosted::trigger_action(*f.link, "add", {});
  CHECK(failed.error().may_have_executed);
  f.backend.fail({.code = errc::timed_out, .message = "late"});
  CHECK(hosted::trigger_action(*f.link, "add", {}).error().may_have_executed);
  CHECK(f.backend.calls() == sent_before + 2);

  f.backend.answer(429, R"({"error":{"code":"too_many_request"}})", {{"Retry-After", "1"}}).answer(200, "{}");
  CHECK(hosted::trigger_action(*f.link, "add", {}));  // it certainly did not run
}

TEST_CASE("proxy: any method and body go through as they are") {
  fixture f;
  const std::string binary("a\0\xff\r\n", 5);
  for (const auto* method : {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}) {
    CAPTURE(method);
    f.backend.answer(207, binary, {{"X-Upstream", "1"}});
    const auto got = hosted::proxy(*f.link, method, "/v3/objects", {{"q", "a b"}}, binary, "application/octet-stream",
                                   {.headers = {{"Nango-Proxy-Accept", "x/y"},
                                                {"Retries", "0"},
                                                {"Base-Url-Override", "https://api.example.com"},
                                                {"Decompress", "true"}}});
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->status == 207);
    CHECK(got->body == binary);
    CHECK(got->headers.at(0).name == "X-Upstream");
    const auto seen = f.backend.last();
    CHECK(seen.method == method);
    CHECK(seen.url == "https://api.nango.dev/proxy/v3/objects?q=a%20b");
    CHECK(seen.body == binary);
    CHECK(seen.header("Content-Type") == "application/octet-stream");
    CHECK(seen.header("Nango-Proxy-Accept") == "x/y");
    CHECK(seen.header("Connection-Id") == "c-1");
    CHECK(seen.header("Base-Url-Override") == "https://api.example.com");
  }
  for (const int status : {200, 204, 302, 400, 404, 500, 503}) {
    const auto before = f.backend.calls();
    f.backend.answer(status, "");
    CHECK(hosted::proxy(*f.link, "GET", "x").value().status == status);
    CHECK(f.backend.calls() == before + 1);
  }
}

TEST_CASE("send and proxy: the service's own 429 says what the service said") {
  fixture f(no_retries);
  const std::string body = R"({"error":{"code":"too_many_request","message":"the plan's limit"}})";
  f.backend.answer(429, body).answer(429, body).answer(429, "busy");
  for (const auto& got : {hosted::proxy(*f.link, "GET", "x"), f.link->send("GET", "x")}) {
    CHECK(got.error().code == errc::rate_limited);
    CHECK(got.error().type == "too_many_request");
    CHECK(got.error().message == "the plan's limit");
  }
  CHECK(f.link->send("GET", "x").error().code == errc::rate_limited);
}

TEST_CASE("proxy: an upstream's 429 is an answer; the service's own is waited out") {
  fixture f;
  f.backend.answer(429, R"({"error":"slow down"})", {{"Retry-After", "9"}}).answer(200, "");
  CHECK(hosted::proxy(*f.link, "GET", "x").value().status == 429);
  CHECK(f.backend.calls() == 1);
  CHECK(hosted::proxy(*f.link, "GET", "x").value().status == 200);
  CHECK(manual_clock::elapsed() == 0s);  // nothing is held

  f.backend.answer(429, R"({"error":{"code":"too_many_request"}})", {{"Retry-After", "9"}}).answer(200, "");
  CHECK(hosted::proxy(*f.link, "GET", "x").value().status == 200);
  CHECK(f.backend.calls() == 4);
  CHECK(manual_clock::elapsed() >= 9s);
}

}  // namespace hosted_tests
