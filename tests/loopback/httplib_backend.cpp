// Default backend: over loopback, against the local HTTPS server of the API.

#include <doctest/doctest.h>
#include <openssl/err.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace httplib_backend_tests {

namespace {

using nango::errc;
using nango_test::local_nango;
using nango_test::open_descriptors;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

nango::client_options options_for(const local_nango& server) {
  return {.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()};
}

// A server, and a client that trusts it.
struct fixture {
  local_nango server{};
  nango::client api{options_for(server)};
  nango::client user = api.user(server.user_token());
};

std::string header_of(const nango::json& echoed, const char* name) {
  return echoed.at("headers").value(name, std::string());
}

}  // namespace

TEST_CASE("releases of httplib older than 0.11.4 are told from those that are not") {
  for (const auto* newer : {"0.11.4", "0.12.0", "0.53.1", "0.100.0", "1.0.0", "10.2"}) {
    CHECK_MESSAGE(nango::detail::is_from_0_11_4(newer), newer);
  }
  for (const auto* older : {"0.11.3", "0.10.9", "0.9.10", "0.2"}) {
    CHECK_MESSAGE(!nango::detail::is_from_0_11_4(older), older);
  }
}

TEST_CASE("the five lines: contacts come over verified HTTPS") {
  fixture f;
  const auto contacts = f.user.get("crm/contacts", {{"name", "Rolf"}});
  REQUIRE_MESSAGE(contacts, contacts.error());
  REQUIRE(contacts->size() >= 1);
  CHECK(contacts->at(0).at("first_name") == "Rolf");
}

TEST_CASE("each error type of the API arrives as such") {
  fixture f;
  const auto params = f.user.get("crm/contacts/no-uuid");
  REQUIRE_FALSE(params);
  CHECK(params.error().code == errc::params_error);
  CHECK(params.error().http_status == 400);
  CHECK_FALSE(params.error().may_have_executed);

  auto once = options_for(f.server);
  once.retry.max_attempts = 1;
  const auto processing = nango::client(once).get("test/processing-error");
  REQUIRE_FALSE(processing);
  CHECK(processing.error().code == errc::processing_error);
  CHECK(processing.error().may_have_executed);

  const auto auth = f.api.user("nobody").get("crm/contacts");
  REQUIRE_FALSE(auth);
  CHECK(auth.error().code == errc::auth_error);
  CHECK(auth.error().http_status == 401);
}

TEST_CASE("a request arrives byte for byte") {
  fixture f;
  const auto echoed = f.api.get("test/echo", {{"a b", "ü/?&=+%"}, {"n", 7}});
  REQUIRE_MESSAGE(echoed, echoed.error());
  CHECK(echoed->at("method") == "GET");
  CHECK(echoed->at("target") == "/v1/test/echo?a%20b=%C3%BC%2F%3F%26%3D%2B%25&n=7");
  CHECK(header_of(*echoed, "authorization") == "Bearer " + f.server.api_key());
  CHECK(header_of(*echoed, "accept") == "application/json");
  CHECK(header_of(*echoed, "user-agent") == "nango.hpp/" NANGO_VERSION);
#ifdef CPPHTTPLIB_ZLIB_SUPPORT
  CHECK(header_of(*echoed, "accept-encoding") == "gzip");
#else
  CHECK(header_of(*echoed, "accept-encoding") == "identity");
#endif
  CHECK(header_of(*echoed, "host") == "127.0.0.1:" + std::to_string(f.server.port()));
  CHECK(echoed->at("headers").size() == 5);  // and nothing else
}

TEST_CASE("a call leaves no error in OpenSSL's queue, neither its own nor what was there") {
  fixture f;
  ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
  CHECK(f.api.get("test/echo"));
  CHECK(ERR_peek_error() == 0);
  const auto untrusting = nango::client({.api_key = "key", .base_url = f.server.base_url()}).get("test/echo");
  REQUIRE_FALSE(untrusting);
  CHECK(untrusting.error().code == errc::tls_failed);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("a body of any size arrives whole, without an Expect") {
  fixture f;
  for (const std::size_t size : {1U, 1023U, 1024U, 5000U, 2'000'000U}) {
    CAPTURE(size);
    const nango::json body{{"text", std::string(size, 'x')}};
    for (const auto* method : {"POST", "PUT", "PATCH"}) {
      const auto echoed = f.api.request_json(method, "test/echo", body);
      REQUIRE_MESSAGE(echoed, echoed.error());
      CHECK(echoed->result.at("method") == method);
      CHECK(echoed->result.at("body").get<std::string>() == body.dump());
      CHECK(header_of(echoed->result, "content-type") == "application/json");
      CHECK_FALSE(echoed->result.at("headers").contains("expect"));
    }
  }
}

TEST_CASE("a call without a body sends none, and DELETE works") {
  fixture f;
  const auto echoed = f.api.del("test/echo");
  REQUIRE_MESSAGE(echoed, echoed.error());
  CHECK(echoed->at("method") == "DELETE");
  CHECK(echoed->at("body") == "");
}

TEST_CASE("the extra headers of a call and of an identity arrive") {
  fixture f;
  const auto echoed = f.api.as({{{"Connection-Id", "c-1"}}, ""}).get("test/echo", {}, {.headers = {{"X-Trace", "42"}}});
  REQUIRE_MESSAGE(echoed, echoed.error());
  CHECK(header_of(*echoed, "connection-id") == "c-1");
  CHECK(header_of(*echoed, "x-trace") == "42");
}

TEST_CASE("one thread keeps one connection, also across user handles, methods and errors of the API") {
  fixture f;
  for (int i = 0; i < 20; ++i) {
    REQUIRE(f.user.get("crm/contacts"));
    REQUIRE(f.api.post("test/echo", {{"i", i}}));
    REQUIRE_FALSE(f.user.get("crm/contacts/no-uuid"));
  }
  CHECK(f.server.connections() == 1);
}

TEST_CASE("threads share one client, each with a connection of its own at most") {
  fixture f;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t, api = f.api] {
      for (int i = 0; i < 25; ++i) {
        const auto id = std::to_string(t) + "-" + std::to_string(i);
        const auto echoed = api.post("test/echo", {{"id", id}});
        if (!echoed || nango::json::parse(echoed->at("body").get<std::string>()).at("id") != id) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(f.server.connections() <= 8);
}

TEST_CASE("calls of one user are kept within the API's limit, and its server sees that") {
  local_nango server({.limit = 20, .window = milliseconds(300)});
  auto options = options_for(server);
  options.rate = {.requests = 20, .per = milliseconds(300), .linger = milliseconds(300)};
  const auto user = nango::client(options).user(server.user_token());
  for (int i = 0; i < 50; ++i) REQUIRE(user.get("crm/accounts"));
  CHECK(server.refused(server.user_token()) == 0);
  CHECK(server.most_in_a_window(server.user_token()) <= 20);
}

TEST_CASE("a 429 is retried after the time that it names") {
  local_nango server({.limit = 2});
  auto options = options_for(server);
  options.timeout = milliseconds(5000);
  const auto user = nango::client(options).user(server.user_token());
  for (int i = 0; i < 3; ++i) {
    const auto answer = user.request("GET", "crm/accounts");
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(answer->attempts == (i < 2 ? 1 : 2));
  }
  CHECK(server.refused(server.user_token()) == 1);
}

TEST_CASE("a port that refuses is connection_failed, with nothing sent") {
  local_nango server;
  auto options = options_for(server);
  options.retry.max_attempts = 2;
  options.retry.base_delay = milliseconds(1);
  options.base_url = "https://127.0.0.1:1/v1/";
  const auto refused = nango::client(options).post("x", {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::connection_failed);
  CHECK_FALSE(refused.error().may_have_executed);
  CHECK(refused.error().attempts == 2);
}

TEST_CASE("after a call that was given up, its answer is not the next one's") {
  fixture f;
  const auto late = f.api.get("test/sleep", {{"ms", 150}}, {.timeout = milliseconds(50)});
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timed_out);
  const auto echoed = f.api.get("test/echo");
  REQUIRE_MESSAGE(echoed, echoed.error());
  CHECK(echoed->at("target") == "/v1/test/echo");
}

TEST_CASE("a body larger than allowed is refused, and one that just fits is not") {
  local_nango server;
  auto options = options_for(server);
  options.max_response_bytes = 4096;
  const nango::client api(options);
  const std::size_t envelope = std::string(R"({"result":"","status":"ok"})").size();
  CHECK(api.get("test/bytes", {{"count", 4096 - envelope}}));
  const auto large = api.get("test/bytes", {{"count", 4096 - envelope + 1}});
  REQUIRE_FALSE(large);
  CHECK(large.error().code == errc::response_too_large);
  CHECK(large.error().http_status == 200);
  CHECK(api.get("test/echo"));
}

TEST_CASE("a large answer comes whole") {
  fixture f;
  const auto large = f.api.get<std::string>("test/bytes", {{"count", 3'000'000}});
  REQUIRE_MESSAGE(large, large.error());
  CHECK(large->size() == 3'000'000);
}

TEST_CASE("an idle connection that the server closed is noticed: nothing is lost, POST included") {
  auto server = std::make_unique<local_nango>();
  const nango::client api(options_for(*server));
  REQUIRE(api.get("test/echo"));
  server.reset();
  const auto refused = api.post("test/echo", {{"a", 1}}, {.timeout = milliseconds(300)});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::connection_failed);
  CHECK_FALSE(refused.error().may_have_executed);
}

TEST_CASE("HEAD has no body, and send gives every answer as it came") {
  fixture f;
  const auto head = f.api.send("HEAD", "test/echo");
  REQUIRE_MESSAGE(head, head.error());
  CHECK(head->body.empty());
  const auto missing = f.user.send("GET", "crm/contacts/no-uuid");
  REQUIRE_MESSAGE(missing, missing.error());
  CHECK(missing->status == 400);
  CHECK(missing->body.find("PARAMS_ERROR") != std::string::npos);
  const auto text = f.api.send("POST", "test/echo", {}, std::string("\0\xff binary", 9), "application/octet-stream");
  REQUIRE_MESSAGE(text, text.error());
  CHECK(text->status == 200);
}

TEST_CASE("plain http goes to loopback hosts only, and only when allowed") {
  // A port that speaks TLS only: what matters is that the client goes there at all, and tells what went wrong.
  local_nango server;
  nango::client_options options{.api_key = "key", .base_url = "http://127.0.0.1:" + std::to_string(server.port())};
  CHECK_FALSE(nango::client::create(options));
  options.allow_plaintext_loopback = true;
  options.retry.max_attempts = 1;
  const auto answer = nango::client(options).get("x");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::connection_failed);
  CHECK(answer.error().may_have_executed);
  CHECK(server.total_requests() == 0);
}

TEST_CASE("the backend itself sends nowhere but to the base URL's host") {
  local_nango server;
  nango::httplib_backend backend(options_for(server));
  const auto origin = "https://127.0.0.1:" + std::to_string(server.port());
  const auto send = [&](const std::string& url) {
    return backend.send({.method = "GET",
                         .url = url,
                         .deadline = steady_clock::now() + std::chrono::seconds(5),
                         .max_response_bytes = 10'000});
  };
  for (const auto& url :
       {std::string("https://127.0.0.2:1/"), origin + "0/", origin + ".example/", origin, std::string()}) {
    CAPTURE(url);
    const auto refused = send(url);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK_FALSE(refused.error().may_have_executed);
  }
  CHECK(server.total_requests() == 0);
  const auto answered = send(origin + "/v1/test/echo");
  REQUIRE_MESSAGE(answered, answered.error());
  CHECK(answered->status == 401);
}

TEST_CASE("descriptors and threads are given back with the last handle") {
  local_nango server;
  const auto before = open_descriptors();
  {
    const nango::client api(options_for(server));
    const auto user = api.user(server.user_token());
    for (int i = 0; i < 3; ++i) REQUIRE(user.get("crm/contacts"));
    CHECK(open_descriptors() > before);
  }
  CHECK(nango_test::comes_true([&] { return open_descriptors() <= before; }));  // the server's side takes a while
}

TEST_CASE("any_backend shares a default backend between clients of two types") {
  local_nango server;
  const auto backend = std::make_shared<nango::httplib_backend>(options_for(server));
  const nango::basic_client<nango::any_backend> first(options_for(server), backend),
      second(options_for(server), backend);
  REQUIRE(first.get("test/echo"));
  REQUIRE(second.get("test/echo"));
  CHECK(server.connections() == 1);
}

}  // namespace httplib_backend_tests
