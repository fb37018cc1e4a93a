// Default backend: each fault of the wire ends a call with the right error, in time, and with nothing sent twice.
//
// What the default backend owes its callers, and the tests that show it (a file, its case or rows of
// support/faults.hpp):
//
//  1. TLS                faults_certificates; faults_proxy, "the certificate is checked through the tunnel"
//  2. SIGPIPE            faults_sigpipe
//  3. Deadline, cancel   here, "each fault", "a peer that does not read"; faults_cancel; faults_threads, "destroyed",
//                        "a client starts no thread"
//  4. Connecting         here, "the connect timeout"; httplib_connecting
//  5. Size               faults_memory, "the peak"; rows "an endless"; httplib_backend, "a body larger than allowed";
//                        httplib_answers, "a head is 64 KiB", "long lines need no stack"
//  6. Heads              rows of odd but sound answers and of malformed heads and chunks; httplib_answers
//  7. Idle connections   rows "surplus bytes", "two answers", "the idle connection", "on a kept connection"; every call
//                        that follows a fault here; httplib_answers, "a connection"; httplib_pool
//  8. No second send     here, "with retries on", "a POST that was read"; httplib_requests, "is sent once";
//                        faults_threads, "64 threads"
//  9. Pool               httplib_pool; httplib_backend, "one thread keeps", "threads share"
// 10. Latency            httplib_pool, "what is written goes out"; httplib_backend, "a body of any size"
// 11. Bytes              httplib_requests; httplib_backend, "a request arrives byte for byte"
// 12. Early answers      httplib_answers, "an answer that comes while", "an early 429"
// 13. Redirects, status  here, "a redirect"; rows "status"; httplib_answers, "an encoding that cannot be read"
// 14. fork()             faults_fork
// 15. Silent death       faults_silence
// 16. Nothing thrown     every case here: an exception would fail it; httplib_memory

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace faults_tests {

namespace {

using nango::errc;
using nango_test::ending;
using nango_test::entrance;
using nango_test::fault;
using nango_test::fault_server;
using nango_test::moment;
using nango_test::verdict;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds patience{nango_test::is_sanitized ? 1000 : 400}, margin{nango_test::is_sanitized ? 2000 : 250};

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .timeout = patience,
          .retry = {.max_attempts = 1},
          .max_response_bytes = std::size_t{1} << 20,
          .ca_file = server.ca_file(),
          .allow_plaintext_loopback = true};
}

std::optional<errc> code_of(verdict end) {
  switch (end) {
    case verdict::broken: return errc::connection_failed;
    case verdict::malformed: return errc::malformed_response;
    case verdict::too_large: return errc::response_too_large;
    case verdict::late: return errc::timed_out;
    case verdict::answer: break;
  }
  return std::nullopt;
}

void check_outcome(const fault& row, bool tls, const nango::result<nango::http_response>& outcome) {
  const auto expected = code_of(row.end);
  if (!expected) {
    CHECK_MESSAGE(outcome, outcome.error());
    if (!outcome) return;
    CHECK(outcome->status == row.status);
    CHECK(outcome->body == row.body);
    return;
  }
  CHECK_FALSE(outcome);
  if (outcome) return;
  const auto& e = outcome.error();
  CHECK_MESSAGE(e.code == *expected, e);
  const bool may_be_unsent = !tls && row.script.size() == 1 && row.script.front().at == moment::accept;
  if (!may_be_unsent) CHECK(e.may_have_executed == !row.before_the_request(tls));
  CHECK(e.attempts == 1);
}

// False: this machine was too slow for the fault to be met, or for the bound, and it is worth another try.
bool meet_once(const fault& row, bool tls, std::string_view method, bool last_try) {
  auto script = row.script;
  if (row.connected) script.push_front({.bytes = nango_test::sound_answer("0")});
  fault_server server({.tls = tls, .script = script, .door = row.door});
  auto options = options_for(server);
  if (row.end != verdict::late) options.timeout = milliseconds(20'000);  // plenty, on a slow machine too
  const nango::client api(options);
  if (row.connected) REQUIRE(api.get("first", {}, {.timeout = milliseconds(5000)}));

  const auto began = steady_clock::now();
  const auto outcome = api.send(method, "fault", {}, method == "POST" ? R"({"a":1})" : "");
  const bool in_time = steady_clock::now() - began < options.timeout + margin, is_met = server.acts_left() == 0;
  if (!last_try && !(in_time && is_met)) return false;
  CHECK(in_time);
  CHECK(is_met);
  check_outcome(row, tls, outcome);
  CHECK(server.started() <= (row.connected ? 2 : 1));

  if (row.door != entrance::open) server.open();
  const auto last = row.script.empty() ? ending::keep : row.script.back().then;
  const bool closes = row.end == verdict::answer && last != ending::keep && last != ending::ticket;
  if (closes) REQUIRE(nango_test::comes_true([&] { return server.open_connections() == 0; }));
  for (const auto* next : {"GET", "POST"}) {
    const auto sound = api.request_json(next, "next", {}, {}, {.timeout = milliseconds(5000)});
    CHECK_MESSAGE(sound, sound.error());
    if (sound) CHECK(sound->result == "/v1/next");
  }
  return true;
}

void meet(const fault& row, bool tls, std::string_view method) {
  CAPTURE(row.name);
  CAPTURE(tls);
  CAPTURE(method);
  for (int tries = 3; tries > 0 && !meet_once(row, tls, method, tries == 1);) --tries;
}

}  // namespace

TEST_CASE("each fault gives the right error, in time, is met once, and leaves the client usable") {
  for (const bool tls : {true, false}) {
    for (const auto& row : nango_test::all_faults()) {
      if (!tls && row.tls_only) continue;
      if (row.method.empty()) {
        meet(row, tls, "GET");
        meet(row, tls, "POST");
      } else {
        meet(row, tls, row.method);
      }
    }
  }
}

TEST_CASE("with retries on, a POST still reaches the server once at most") {
  for (const auto& row : nango_test::all_faults()) {
    if (row.end != verdict::broken && row.end != verdict::malformed) continue;
    CAPTURE(row.name);
    auto script = row.script;
    if (row.connected) script.push_front({.bytes = nango_test::sound_answer("0")});
    fault_server server({.script = script, .door = row.door});
    auto options = options_for(server);
    options.timeout = milliseconds(5000);
    options.retry = {.base_delay = milliseconds(1)};
    const nango::client api(options);
    if (row.connected) REQUIRE(api.get("first"));
    const auto sent = api.post("fault", {{"a", 1}});
    // Where nothing was sent it is tried again, and the fault is met once only.
    CHECK(sent.has_value() == (row.before_the_request(true) && row.door == entrance::open));
    CHECK(server.started() <= (row.connected ? 2 : 1));
  }
}

TEST_CASE("the connect timeout ends a connect before the deadline does, and no handshake") {
  SUBCASE("a connect") {
    fault_server server({.tls = true, .door = entrance::full});
    auto options = options_for(server);
    options.timeout = milliseconds(20'000);
    options.connect_timeout = milliseconds(100);
    const auto answer = nango::client(options).get("x");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == errc::connection_failed);
    CHECK_FALSE(answer.error().may_have_executed);
    CHECK(answer.error().message.find("client_options::connect_timeout") != std::string::npos);
  }
  SUBCASE("no handshake") {
    fault_server server({{.at = moment::accept, .then = ending::stall}});
    auto options = options_for(server);
    options.connect_timeout = milliseconds(100);
    const auto answer = nango::client(options).get("x");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == errc::timed_out);
  }
}

TEST_CASE("a redirect comes as it is and is not followed, wherever it leads") {
  fault_server elsewhere({}, true), in_the_clear({}, false);
  const auto here = [](const std::string& url) { return url + "v1/secret"; };
  for (const auto* status : {"301", "302", "303", "307", "308"}) {
    for (const auto& target : {here(elsewhere.base_url()), here(elsewhere.base_url("localhost")),
                               here(in_the_clear.base_url()), std::string("/v1/secret")}) {
      CAPTURE(status);
      CAPTURE(target);
      fault_server server({{.bytes = std::string("HTTP/1.1 ") + status + " Moved\r\nLocation: " + target +
                                     "\r\nContent-Length: 0\r\n\r\n"}});
      const nango::client api(options_for(server));
      const auto answer = api.get("x");
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == errc::unexpected_status);
      CHECK(answer.error().http_status == std::stoi(status));
      CHECK(api.get("next"));
      CHECK(server.requests().size() == 2);
    }
  }
  CHECK(elsewhere.connections() == 0);
  CHECK(in_the_clear.connections() == 0);
}

TEST_CASE("a peer that does not read a large body is given up at the deadline") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const std::string body(16 << 20, 'x');
    fault_server server({{.bytes = nango_test::sound_answer("0")}, {.at = moment::head, .then = ending::stall}}, tls);
    const nango::client api(options_for(server));
    REQUIRE(api.get("first", {}, {.timeout = milliseconds(5000)}));
    const auto began = steady_clock::now();
    const auto sent = api.send("POST", "x", {}, body, "text/plain");
    CHECK(steady_clock::now() - began < patience + std::chrono::seconds(10));
    REQUIRE_FALSE(sent);
    CHECK(sent.error().code == errc::timed_out);
    CHECK(sent.error().may_have_executed);
    CHECK(api.get("next", {}, {.timeout = milliseconds(5000)}));
  }
}

TEST_CASE("a POST that was read is not denied when the server cannot be reached for a second one") {
  std::atomic<fault_server*> the_server = nullptr;
  fault_server server({.tls = true, .afterwards = [&](std::string_view) {
                         the_server.load()->refuse();
                         return nango_test::act{.then = ending::close};
                       }});
  the_server = &server;
  const auto sent = nango::client(options_for(server)).post("x", {{"a", 1}});
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == errc::connection_failed);
  CHECK(sent.error().may_have_executed);
  CHECK(server.started() == 1);
}

}  // namespace faults_tests
