// Default backend: what is on the wire is the request as it was given, plus the framing, and it is there once.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"

namespace httplib_requests_tests {

namespace {

using nango_test::ending;
using nango_test::fault_server;
using std::chrono::seconds;
using std::chrono::steady_clock;

// A server that answers soundly, over TLS or plain TCP, and a backend alone.
struct fixture {
  explicit fixture(bool tls, std::deque<nango_test::act> script = {})
      : server(std::move(script), tls),
        backend({.api_key = "key",
                 .base_url = server.base_url(),
                 .ca_file = server.ca_file(),
                 .allow_plaintext_loopback = true}) {}

  // `target`: from the slash of the path on.
  nango::result<nango::http_response> send(std::string_view method, const std::string& target,
                                           const nango::headers& headers = {}, std::string_view body = {}) {
    const auto url = server.base_url();
    return backend.send({.method = method,
                         .url = url.substr(0, url.size() - std::string_view("/v1/").size()) + target,
                         .headers = headers,
                         .body = body,
                         .deadline = steady_clock::now() + seconds(10),
                         .max_response_bytes = std::size_t{1} << 20});
  }

  fault_server server;
  nango::httplib_backend backend;
};

// A request as it came in.
struct request_text {
  explicit request_text(const std::string& text) {
    const auto end = text.find("\r\n\r\n");
    REQUIRE(end != text.npos);
    body = text.substr(end + 4);
    for (std::size_t at = 0; at <= end;) {
      const auto stop = text.find("\r\n", at);
      const auto next = text.substr(at, stop - at);
      at = stop + 2;
      if (line.empty()) {
        line = next;
        continue;
      }
      const auto colon = next.find(": ");
      REQUIRE(colon != next.npos);
      fields.push_back({next.substr(0, colon), next.substr(colon + 2)});
    }
  }
  std::size_t count(std::string_view name) const {
    const auto is_it = [&](const nango::header& field) { return field.name == name; };
    return static_cast<std::size_t>(std::count_if(fields.begin(), fields.end(), is_it));
  }
  std::string value(std::string_view name) const {
    for (const auto& field : fields) {
      if (field.name == name) return field.value;
    }
    return "(none)";
  }

  std::string line{}, body{};
  nango::headers fields{};
};

bool is_framing(std::string_view name) {
  return name == "Host" || name == "Content-Length" || name == "Accept-Encoding" || name == "Connection";
}

// The request that came in is the one given, with nothing but framing added.
void check_wire(const fixture& f, const request_text& got, const std::string& line, const nango::headers& headers,
                std::string_view body) {
  CHECK(got.line == line);
  CHECK(got.body == body);
  nango::headers ours;
  for (const auto& field : got.fields) {
    if (!is_framing(field.name)) ours.push_back(field);
  }
  REQUIRE(ours.size() == headers.size());
  for (std::size_t i = 0; i < headers.size(); ++i) {
    CHECK(ours[i].name == headers[i].name);
    CHECK(ours[i].value == headers[i].value);
  }
  for (const std::string_view name : {"Host", "Content-Length", "Accept-Encoding", "Connection"}) {
    CHECK(got.count(name) <= 1);
  }
  CHECK(got.value("Host") == "127.0.0.1:" + std::to_string(f.server.port()));
  if (!body.empty()) CHECK(got.value("Content-Length") == std::to_string(body.size()));
}

const nango::headers& odd_headers() {
  static const nango::headers fields{{"X-Second", "2"},
                                     {"accept", "a/b, */*;q=0.1"},
                                     {"X-First", "1"},
                                     {"X-Second", "again"},
                                     {"Cookie", "a=b; c=%2B+"},
                                     {"x-utf-8", "caf\xc3\xa9"},
                                     {"!#$%&'*+-.^_`|~", "t"},
                                     {"X-Empty", ""},
                                     {"Authorization", "Bearer k"},
                                     {"User-Agent", "a/1"},
                                     {"Content-Type", "a/b"}};
  return fields;
}

std::string all_bytes(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(i * 7 % 256);
  return text;
}

}  // namespace

TEST_CASE("a request is method, target and HTTP/1.1, the headers in their order, and the body") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    std::size_t number = 0;
    for (const std::string method : {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"}) {
      for (const std::size_t size : {0U, 1U, 300U, 5'000U, 2'000'000U}) {
        if (method == "GET" && size != 0) continue;
        CAPTURE(method);
        CAPTURE(size);
        const auto body = all_bytes(size);
        const auto sent = f.send(method, "/v1/x?a=b", odd_headers(), body);
        REQUIRE_MESSAGE(sent, sent.error());
        const request_text got(f.server.requests().at(number++));
        check_wire(f, got, method + " /v1/x?a=b HTTP/1.1", odd_headers(), body);
        CHECK(got.count("Transfer-Encoding") + got.count("Expect") == 0);
        if (size == 0 && (method == "POST" || method == "PUT" || method == "PATCH")) {
          CHECK(got.value("Content-Length") == "0");
        }
        if (method == "GET") CHECK(got.count("Content-Length") == 0);
      }
    }
    CHECK(f.server.connections() == 1);
  }
}

TEST_CASE("a HEAD is sent as it is") {
  fixture f(true, {{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}});
  REQUIRE(f.send("HEAD", "/v1/x?a=b", odd_headers()));
  check_wire(f, request_text(f.server.requests().at(0)), "HEAD /v1/x?a=b HTTP/1.1", odd_headers(), "");
}

TEST_CASE("an Accept-Encoding of the caller's is the only one") {
  fixture f(true);
  REQUIRE(f.send("GET", "/v1/x", {{"accept-encoding", "br"}}));
  const request_text got(f.server.requests().at(0));
  CHECK(got.value("accept-encoding") == "br");
  CHECK(got.count("Accept-Encoding") == 0);
}

TEST_CASE("path and query are sent byte for byte") {
  const std::vector<std::string> targets{
      "/",
      "/v1/",
      "/v1/x",
      "/v1/x?",
      "/v1/x?a",
      "/v1/x?a=",
      "/v1/x?a=&b",
      "/v1/x?a=b&a=c&a=b",
      "/v1/x?b=1&a=2",
      "/v1/x?a=%2B+%20b&c=+",
      "/v1/x?a=%2b%2B%41%7e~",
      "/v1/x?a;b=c;d",
      "/v1/x?=a&&=&",
      "/v1/x?a=b=c==",
      "/v1/x?a=b?c/d:e@f!$'()*,",
      "/v1/x?%00=%0D%0A",
      "/v1/x?a=%zz%",
      "/v1/x?[a]={\"b\"}|^`<>\\",
      "/v1/%2F/%2e%2E/a%20b/+/a:b@c;d=e,f/!$&'()*",
      "/v1//x//",
      "/v1/%C3%A9",
      "/v1/x?a=http://elsewhere/?b=c",
  };
  for (const bool tls : {true, false}) {
    fixture f(tls);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      CAPTURE(tls);
      CAPTURE(targets[i]);
      const auto method = i % 2 == 0 ? std::string("GET") : std::string("POST");
      const auto sent = f.send(method, targets[i]);
      REQUIRE_MESSAGE(sent, sent.error());
      CHECK(request_text(f.server.requests().at(i)).line == method + ' ' + targets[i] + " HTTP/1.1");
    }
    CHECK(f.server.connections() == 1);
  }
}

TEST_CASE("a path and a query of 60,000 characters are sent as others are") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    const std::string many(60'000, 'p');
    std::size_t number = 0;
    for (const auto& target :
         {"/v1/" + many + "?a=b", "/v1/x?a=" + many, "/v1/" + many, "/v1/" + many + "?b=" + many}) {
      for (const std::string method : {"GET", "POST"}) {
        CAPTURE(method);
        const auto sent = f.send(method, target, {}, method == "POST" ? "{}" : "");
        REQUIRE_MESSAGE(sent, sent.error());
        CHECK(request_text(f.server.requests().at(number++)).line == method + ' ' + target + " HTTP/1.1");
      }
    }
    CHECK(f.server.connections() == 1);
  }
}

TEST_CASE("no release adds an Expect, whatever the size of the body") {
  for (const bool tls : {true, false}) {
    fixture f(tls);
    std::size_t number = 0;
    for (const std::size_t size : {1U, 1023U, 1024U, 1025U, 5'000U, 2'000'000U}) {
      CAPTURE(tls);
      CAPTURE(size);
      REQUIRE(f.send("POST", "/v1/x", {}, std::string(size, 'x')));
      CHECK(request_text(f.server.requests().at(number++)).count("Expect") == 0);
    }
  }
}

TEST_CASE("a request that the server read and did not answer is sent once, however it ended the connection") {
  for (const bool tls : {true, false}) {
    for (const auto then : {ending::close, ending::break_off, ending::reset}) {
      for (const bool kept : {false, true}) {
        for (const std::string method : {"POST", "GET", "PUT", "DELETE"}) {
          CAPTURE(tls);
          CAPTURE(static_cast<int>(then));
          CAPTURE(kept);
          CAPTURE(method);
          std::deque<nango_test::act> script{{.then = then}};
          if (kept) script.push_front({.bytes = nango_test::sound_answer("0")});
          fixture closing(tls, script);
          if (kept) REQUIRE(closing.send("GET", "/v1/first"));
          const auto lost = closing.send(method, "/v1/x", {}, method == "POST" ? "{}" : "");
          REQUIRE_FALSE(lost);
          CHECK(lost.error().code == nango::errc::connection_failed);
          CHECK(lost.error().may_have_executed);
          CHECK(closing.server.started() == (kept ? 2 : 1));
          CHECK(closing.server.connections() == 1);
        }
      }
    }
  }
}

}  // namespace httplib_requests_tests
