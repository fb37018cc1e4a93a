// Hosted API: the connected API through the proxy, with its paths, its content types and its 429.

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "hosted_client.hpp"
#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

namespace hosted_upstream_tests {

namespace {

namespace hosted = nango::hosted;
using namespace std::chrono_literals;
using fixture = nango_test::hosted_fixture;
using nango::errc;
using nango::json;
using nango_test::manual_clock;

const std::string own_429 = R"({"error":{"code":"too_many_request"}})";

}  // namespace

TEST_CASE("upstream: the connected API's calls go through the proxy, and are counted with the account") {
  fixture f;
  const auto github = hosted::upstream(*f.link);
  f.backend.answer(200, R"([{"id":1}])").answer(201, R"({"id":7})").answer(204, "");
  CHECK(github.limit_key() == f.api->limit_key());
  CHECK(github.get("user/repos", {{"per_page", 50}})->at(0).at("id") == 1);
  CHECK(f.backend.last().url == "https://api.nango.dev/proxy/user/repos?per_page=50");
  CHECK(f.backend.last().header("Connection-Id") == "c-1");
  CHECK(f.backend.last().count("Content-Type") == 0);
  CHECK(f.backend.last().count("Nango-Proxy-Content-Type") == 0);
  CHECK(github.post("repos", {{"name", "x"}})->at("id") == 7);
  CHECK(f.backend.last().header("Nango-Proxy-Content-Type") == "application/json");
  CHECK(github.del<void>("repos/x"));
  CHECK(f.backend.last().method == "DELETE");
}

TEST_CASE("upstream: of an upstream itself is the same") {
  fixture f;
  f.backend.answer(200, "{}");
  CHECK(hosted::upstream(hosted::upstream(*f.link)).get("x"));
  CHECK(f.backend.last().url == "https://api.nango.dev/proxy/x");
}

TEST_CASE("upstream: errors are by status, with the upstream's body and headers, and name the whole path") {
  fixture f;
  const auto github = hosted::upstream(*f.link);
  const std::string body = R"({"message":"Not Found","documentation_url":"https://docs.example.com"})";
  f.backend.answer(404, body, {{"X-Request-Id", "r-7"}});
  const auto e = github.get("/user/repos").error();
  CHECK(e.code == errc::api_error);
  CHECK(e.message == "Not Found");
  CHECK(e.body == body);
  CHECK(e.headers.at(0).value == "r-7");
  CHECK(e.request == "GET proxy/user/repos");
  // The service's own are known by their code.
  f.backend.answer(424, R"({"error":{"code":"script_http_error"}})");
  CHECK(github.get("x").error().type == "script_http_error");
}

TEST_CASE("upstream: lists, wherever the connected API puts them") {
  fixture f;
  f.backend.answer(200, R"({"total":2,"items":[{"id":1},{"id":2}]})").answer(200, "[1,2,3]").answer(200, R"([1,"2"])");
  const auto github = hosted::upstream(*f.link);
  int seen = 0;
  const auto take = [&](const json& item) { seen += item.at("id").get<int>(); };
  CHECK(github.for_each("search/code", take, {{"q", "x"}}, {.list_member = "items"}).value() == 2);
  CHECK(f.backend.last().url == "https://api.nango.dev/proxy/search/code?q=x");
  CHECK(seen == 3);
  CHECK(github.for_each<int>("numbers", [&](int number) { seen += number; }).value() == 3);
  CHECK(seen == 9);
  const auto e = github.for_each<int>("numbers", [](int) {}).error();
  CHECK(e.request == "GET proxy/numbers");
  CHECK(e.message.find("[1]") != std::string::npos);
}

TEST_CASE("upstream: a result that is not of the type asked for names the whole path") {
  fixture f;
  f.backend.answer(200, R"("seven")");
  const auto e = hosted::upstream(*f.link).get<int>("answer").error();
  CHECK(e.code == errc::decode_error);
  CHECK(e.request == "GET proxy/answer");
}

TEST_CASE("upstream: the observer sees the whole path") {
  std::string seen;
  fixture f(
      [&](nango::client_options& options) { options.on_attempt = [&](const nango::attempt& a) { seen = a.path; }; });
  f.backend.answer(200, "{}");
  CHECK(hosted::upstream(*f.link).get("/x/"));
  CHECK(seen == "proxy/x/");
}

TEST_CASE("upstream: its 429 is retried by its own Retry-After and holds no key") {
  for (const auto& [word, least, most] :
       {std::tuple{"7", 8s, 8s}, {"Tue, 24 Nov 2026 00:00:05 GMT", 6s, 6s}, {"", 0s, 1s}}) {
    CAPTURE(word);
    fixture f;
    nango::headers said{{"Date", "Tue, 24 Nov 2026 00:00:00 GMT"}, {"x-ratelimit-remaining", "0"}};
    if (*word != '\0') said.push_back({"Retry-After", word});
    bool asked = false;
    f.backend.answer(429, R"({"error":"slow down"})", said)
        .then([&, least = least, most = most](const nango::http_request&) -> nango::result<nango::http_response> {
          asked = true;
          CHECK(manual_clock::elapsed() >= least);
          CHECK(manual_clock::elapsed() <= most);
          return nango::http_response{.status = 429};
        })
        .answer(200, "{}");
    const auto got = hosted::upstream(*f.link).get("x", {}, {.retry = nango::retry_policy{.max_attempts = 2}});
    CHECK(got.error().code == errc::rate_limited);
    CHECK(asked);
    const auto before = manual_clock::elapsed();
    CHECK(f.link->get("records"));
    CHECK(manual_clock::elapsed() == before);
  }
}

TEST_CASE("upstream: the service's own 429 holds the account as ever") {
  fixture f;
  f.backend.answer(429, own_429, {{"Retry-After", "9"}}).answer(200, "{}");
  const auto github = hosted::upstream(*f.link);
  CHECK(github.get("x", {}, {.retry = nango::retry_policy{.max_attempts = 1}}).error().type == "too_many_request");
  CHECK(f.api->get("connections"));
  CHECK(manual_clock::elapsed() >= 10s);
}

TEST_CASE("upstream: send gives its 429 as it came") {
  fixture f;
  f.backend.answer(429, "slow down", {{"Retry-After", "9"}});
  const auto got = hosted::upstream(*f.link).send("GET", "x");
  CHECK(got->status == 429);
  CHECK(got->body == "slow down");
  CHECK(f.backend.calls() == 1);
}

TEST_CASE("proxy and upstream: the paths that other APIs have") {
  for (const auto& [written, sent] :
       std::vector<std::pair<std::string, std::string>>{{"api/v1/contacts/", "api/v1/contacts/"},
                                                        {"/api/v1/contacts/", "api/v1/contacts/"},
                                                        {"", ""},
                                                        {"/", ""},
                                                        {"a//b", "a//b"},
                                                        {"//b", "/b"},
                                                        {"a b/%2F", "a%20b/%2F"},
                                                        {nango::path("a", "", "b"), "a//b"},
                                                        {nango::path("", "b"), "/b"},
                                                        {"sheets/A1:B2:append", "sheets/A1:B2:append"}}) {
    CAPTURE(written);
    fixture f;
    f.backend.answer(200, "{}").answer(200, "{}");
    CHECK(hosted::proxy(*f.link, "GET", written));
    CHECK(f.backend.last().url == "https://api.nango.dev/proxy/" + sent);
    CHECK(hosted::upstream(*f.link).get(written));
    CHECK(f.backend.last().url == "https://api.nango.dev/proxy/" + sent);
  }
}

TEST_CASE("proxy and upstream: what no path may have") {
  fixture f;
  for (const auto& [written, says] : std::vector<std::pair<std::string, std::string>>{
           {"a/../b", "write the path out"},
           {".", "write the path out"},
           {"a//%2e%2e/b", "write the path out"},
           {nango::path("a", ".."), "write the path out"},
           {"a?b=1", "nango::query"},
           {"a#b", "nango::query"},
           {"a\nb", "control characters"},
           {"https://api.github.com/user/repos", "scheme and host"},
           {"/https://api.github.com/user", "scheme and host"},
           {"https://api.github.com/user/repos?page=2", "scheme and host"}}) {
    CAPTURE(written);
    for (const auto& e :
         {hosted::proxy(*f.link, "GET", written).error(), hosted::upstream(*f.link).get(written).error()}) {
      CHECK(e.code == errc::invalid_argument);
      CHECK_MESSAGE(e.message.find(says) != std::string::npos, e.message);
    }
  }
  CHECK(f.link->get("connections/").error().code == errc::invalid_argument);  // a missing id
  CHECK(f.backend.calls() == 0);
}

TEST_CASE("proxy and upstream: the content type reaches the upstream, but never without a body") {
  for (const auto* type : {"text/xml", "text/csv", "application/merge-patch+json", "application/x-www-form-urlencoded",
                           "multipart/form-data; boundary=b", "application/x-ndjson"}) {
    CAPTURE(type);
    fixture f;
    f.backend.answer(200, "{}").answer(200, "{}").answer(200, "{}").answer(200, "{}");
    CHECK(hosted::proxy(*f.link, "POST", "x", {}, "body", type));
    CHECK(f.backend.last().header("Content-Type") == type);
    CHECK(f.backend.last().header("Nango-Proxy-Content-Type") == type);
    CHECK(hosted::upstream(*f.link).send("POST", "x", {}, "body", type));
    CHECK(f.backend.last().header("Nango-Proxy-Content-Type") == type);
    // Whoever gives it knows better.
    CHECK(hosted::proxy(*f.link, "POST", "x", {}, "body", type, {.headers = {{"nango-proxy-content-type", "own/1"}}}));
    CHECK(f.backend.last().header("nango-proxy-content-type") == "own/1");
    CHECK(f.backend.last().count("Nango-Proxy-Content-Type") == 0);
    CHECK(hosted::proxy(*f.link, "POST", "x", {}, "", type));
    CHECK(f.backend.last().count("Content-Type") + f.backend.last().count("Nango-Proxy-Content-Type") == 0);
  }
  fixture f;
  f.backend.answer(200, "{}");
  CHECK(f.link->post("connections", 1));
  CHECK(f.backend.last().count("Nango-Proxy-Content-Type") == 0);
}

TEST_CASE("a connection's headers cannot be given again: they would go out twice") {
  fixture f;
  for (const auto* name : {"Connection-Id", "connection-id", "Provider-Config-Key"}) {
    const nango::call_options again{.headers = {{name, "c-2"}}};
    for (const auto& e :
         {f.link->get("records", {}, again).error(), hosted::upstream(*f.link).get("x", {}, again).error(),
          hosted::proxy(*f.link, "GET", "x", {}, {}, {}, again).error()}) {
      CHECK(e.code == errc::invalid_argument);
      CHECK_MESSAGE(e.message.find(name) != std::string::npos, e.message);
    }
  }
  CHECK(f.backend.calls() == 0);
  f.backend.answer(200, "{}");
  CHECK(f.api->get("records", {}, {.headers = {{"Connection-Id", "c-1"}, {"Provider-Config-Key", "crm"}}}));
}

}  // namespace hosted_upstream_tests
