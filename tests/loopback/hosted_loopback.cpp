// Hosted API: over HTTPS, against the local server.

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstddef>
#include <sstream>
#include <string>
#include <utility>

#include "child.hpp"
#include "local_nango.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace {

namespace hosted = nango::hosted;
using nango::errc;
using nango::json;
using nango_test::hosted_routes;
using nango_test::local_nango;

nango::client_options options_for(const std::string& key, const std::string& url, const std::string& ca_file) {
  auto options = hosted::options(key);
  options.base_url = url;
  options.ca_file = ca_file;
  return options;
}

struct fixture {
  explicit fixture(nango_test::hosted_options of_server = {}) : server({.hosted = of_server}) {}
  local_nango server;
  nango::client api{options_for(server.api_key(), server.hosted_url(), server.ca_file())};
  nango::client link = hosted::connection(api, hosted_routes::connection_id, hosted_routes::provider_config_key);
};

}  // namespace

TEST_CASE("connections, records, actions and the proxy") {
  const fixture f({.records = 250});
  CHECK(f.api.get("connections")->at("connections").size() == 1);

  std::size_t seen = 0;
  const auto progress = hosted::for_each_record(
      f.link, "Ticket", [&](json&& record) { CHECK(record.at("title") == "Ticket " + std::to_string(++seen)); });
  CHECK_FALSE(progress.failure);
  CHECK(progress.done);
  CHECK(seen == 250);

  CHECK(hosted::trigger_action(f.link, "echo", {{"a", 1}}).value() == json{{"a", 1}});
  CHECK(hosted::trigger_action(f.link, "http-error", {}).error().type == "script_http_error");
  const auto failed = hosted::trigger_action(f.link, "custom-error", {}).error();
  CHECK(json::parse(failed.body).at("error").at("payload").at("reason") == "no such ticket");
  const auto id = hosted::trigger_action_async(f.link, "echo", {{"a", 2}});
  REQUIRE_MESSAGE(id, id.error());
  CHECK(hosted::wait_for_action(f.link, *id).value() == json{{"a", 2}});
  const auto broken = hosted::trigger_action_async(f.link, "http-error", {});
  CHECK(hosted::wait_for_action(f.link, *broken).error().type == "script_http_error");
  CHECK(hosted::wait_for_action(f.link, "7").error().type == "invalid_uri_params");
  CHECK(hosted::wait_for_action(f.link, "01a20b85-7fe3-78c7-a07c-000000000999", {.timeout = std::chrono::seconds(1)})
            .error()
            .code == errc::timed_out);

  const auto proxied = hosted::proxy(f.link, "PATCH", "v3/x", {{"q", "a b"}}, "raw", "text/plain",
                                     {.headers = {{"Nango-Proxy-Accept", "x/y"}}});
  REQUIRE_MESSAGE(proxied, proxied.error());
  CHECK(json::parse(proxied->body) == json{{"method", "PATCH"},
                                           {"url", "/v3/x?q=a%20b"},
                                           {"headers", {{"Accept", "x/y"}, {"Content-Type", "text/plain"}}},
                                           {"body", "raw"}});
  CHECK(hosted::proxy(f.link, "GET", "status/404").value().status == 404);
  CHECK(hosted::proxy(f.link, "GET", "ratelimited").value().status == 429);
}

TEST_CASE("the connected API as if it were ours: its paths and types of body") {
  const fixture f;
  const auto upstream = hosted::upstream(f.link);
  for (const auto& [asked, url] : {std::pair{"api/v1/contacts/", "/api/v1/contacts/"}, {"", "/"}, {"a//b", "/a//b"}}) {
    CHECK(upstream.get(asked).value().at("url") == url);
  }
  const auto type_of = [](const nango::result<nango::http_response>& got) {
    return json::parse(got.value().body).at("headers").value("Content-Type", "");
  };
  for (const auto* type : {"text/xml", "text/csv", "application/merge-patch+json", "application/x-www-form-urlencoded",
                           "application/x-ndjson"}) {
    CHECK(type_of(upstream.send("PATCH", "x", {}, "a=1", type)) == type);
    CHECK(type_of(hosted::proxy(f.link, "PUT", "x", {}, "a=1", type)) == type);
    CHECK(type_of(f.link.send("POST", "proxy/x", {}, "a=1", type)) != type);  // what it is there for
  }
  const auto* multipart = "multipart/form-data; boundary=b";
  const auto* form = "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n1\r\n--b--\r\n";
  CHECK(type_of(upstream.send("POST", "x", {}, form, multipart)) == multipart);
  CHECK(upstream.post("x", {{"a", 1}}).value().at("headers").at("Content-Type") == "application/json");
  CHECK(upstream.get("status/404").error().http_status == 404);
  CHECK(upstream.send("GET", "ratelimited").value().status == 429);
  const auto refused = upstream.get("ratelimited", {}, {.retry = nango::retry_policy{.max_attempts = 1}}).error();
  CHECK(refused.retry_after == std::chrono::seconds(10));
  CHECK(f.api.get("connections"));  // nobody is held
}

TEST_CASE("records go on where they were, and new ones are asked for later") {
  const fixture f({.records = 25});
  std::size_t seen = 0;
  const auto some = hosted::for_each_record(f.link, "Ticket", [&](const json&) { return ++seen < 7; }, {.limit = 5});
  const auto rest = hosted::for_each_record(f.link, "Ticket", [&](const json&) { ++seen; }, {.cursor = some.cursor});
  CHECK(rest.done);
  CHECK(seen == 25);
  const auto later = hosted::for_each_record(f.link, "Ticket", [&](const json&) { ++seen; },
                                             {.cursor = rest.cursor, .modified_after = hosted::timestamp({})});
  CHECK(later.done);
  CHECK(seen == 25);
  CHECK(hosted::for_each_record(f.link, "Ticket", [](const json&) {}, {.modified_after = "2026-01-01"}).failure->type ==
        "invalid_query_params");
  CHECK(hosted::for_each_record(f.link, "Ticket", [](const json&) {}, {.cursor = "damaged"}).failure->http_status ==
        500);
}

TEST_CASE("mistakes are explained") {
  const fixture f;
  const auto model = f.link.get("records");
  REQUIRE_FALSE(model);
  CHECK(model.error().code == errc::params_error);
  CHECK(model.error().message == "model: Invalid input: expected string, received undefined");
  CHECK(f.api.get("records").error().type == "invalid_headers");
  CHECK(hosted::connection(f.api, "nobody", hosted_routes::provider_config_key).get("records").error().type ==
        "unknown_connection");
  CHECK(f.api.get("no-such-path").error().code == errc::malformed_response);
  CHECK(f.api.del("no-such-path").error().code == errc::unexpected_status);
  const nango::client stranger(options_for("another-key-entirely", f.server.hosted_url(), f.server.ca_file()));
  CHECK(stranger.get("connections").error().code == errc::auth_error);
}

TEST_CASE("the account's state is told, and its limit is met with an error that says when") {
  const fixture f({.limit = 3});
  const auto first = f.api.request("GET", "connections");
  REQUIRE(first);
  std::string left;
  for (const auto& field : first->headers) left += field.name == "X-RateLimit-Remaining" ? field.value : "";
  CHECK(left == "2");
  REQUIRE(f.api.get("connections"));
  REQUIRE(f.api.get("connections"));
  const nango::client other(options_for(f.server.api_key(), f.server.hosted_url(), f.server.ca_file()));
  for (const auto& [api, attempts] : {std::pair{&f.api, 0}, {&other, 1}}) {  // which knows, or is told
    const auto refused = api->get("connections", {}, {.timeout = std::chrono::seconds(5)});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::rate_limited);
    CHECK(refused.error().attempts == attempts);
    CHECK(refused.error().type == (attempts == 0 ? "" : "too_many_request"));
    CHECK(refused.error().retry_after > std::chrono::seconds(30));
  }
}

TEST_CASE("a million records take the memory of a page") {
  constexpr std::size_t all = nango_test::is_sanitized ? 200'000 : 1'000'000;
  nango_test::child server({LOCAL_SERVER, std::to_string(all)});
  std::string url, ca_file, key;
  REQUIRE(nango_test::comes_true([&] {
    std::istringstream lines(server.output());
    return std::getline(lines, url) && std::getline(lines, ca_file) && std::getline(lines, key) && !lines.eof();
  }));
  url.erase(url.size() - 3);  // "v1/"
  const nango::client api(options_for(key, url, ca_file));
  const auto link = hosted::connection(api, hosted_routes::connection_id, hosted_routes::provider_config_key);
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  std::size_t seen = 0;
  long after_ten_pages = 0;
  const auto progress = hosted::for_each_record(link, "Ticket",
                                                [&](json&& record) {
                                                  if (++seen == 100'000) after_ten_pages = peak();
                                                  if (record.at("title") != "Ticket " + std::to_string(seen))
                                                    FAIL("record " << seen << " is another");
                                                },
                                                {.limit = 10'000});
  CHECK_MESSAGE(!progress.failure, *progress.failure);
  CHECK(progress.done);
  CHECK(seen == all);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(peak() - after_ten_pages < 8 * 1024);  // KiB
#endif
}
