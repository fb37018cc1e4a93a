// The example curl_backend, held to the faults that the default backend is held to. Where it ends otherwise, it says
// how.

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "curl_backend.hpp"
#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"
#include "process.hpp"

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
using curl_client = nango::basic_client<curl_backend>;

constexpr milliseconds patience{nango_test::is_sanitized ? 1000 : 400}, margin{nango_test::is_sanitized ? 2000 : 400};

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .timeout = patience,
          .retry = {.max_attempts = 1},
          .max_response_bytes = std::size_t{1} << 20,
          .ca_file = server.ca_file()};
}

std::string code_of(const fault& row) {
  switch (row.end) {
    case verdict::broken: return "connection_failed";
    case verdict::malformed: return "malformed_response";
    case verdict::too_large: return "response_too_large";
    case verdict::late: return "timed_out";
    case verdict::answer: break;
  }
  return "answer";
}

// Where libcurl has it another way.
const std::map<std::string, std::string>& otherwise() {
  static const std::map<std::string, std::string> rows{
      // Nothing was sent; libcurl does not say that the connection broke.
      {"closed after the accept", "tls_failed"},
      {"reset after the accept", "tls_failed"},
      {"closed in the handshake", "tls_failed"},
      {"reset in the handshake", "tls_failed"},
      // It does not mind how TLS ended.
      {"broken off in a body without a length", "answer"},
      // It takes the first or the last of what contradicts itself, and what it does not know for nothing.
      {"a length that is no number", "answer"},
      {"a length with a sign", "answer"},
      {"two lengths", "answer"},
      {"two lengths in one line", "answer"},
      {"chunks and a length", "answer"},
      {"a length and chunks", "answer"},
      {"a second transfer coding, chunked", "answer"},
      {"a length beyond all numbers", "timed_out"},
      {"a folded transfer coding", "timed_out"},
      {"status \"101\"", "timed_out"},
      {"chunks 2/{}|0||", "answer"},
      {"chunks 2|{}/0||", "answer"},
      {"chunks 2x|{}|0||", "answer"},
      // It reads lines as they come.
      {"a CR in a header", "answer"},
      {"a folded header", "answer"},
      {"a header's line that ends in LF", "answer"},
      {"a head in lines that end in LF", "answer"},
      {"a head that ends in LF", "answer"},
      {"a space before a colon", "answer"},
      {"a space in a header's name", "answer"},
      {"a header's name that is no token", "answer"},
      {"a header without a name", "answer"},
      {"1,001 headers", "answer"},
      {"a head over 64 KiB", "answer"},
      // The body as it came: it is not decoded.
      {"an encoding after none", "answer"},
      {"an encoding that was not asked for", "answer"},
      {"truncated gzip", "answer"},
      // All that it cannot read is one error.
      {"a space before the first header", "connection_failed"},
      {"a chunk of 2^64 - 1 bytes", "connection_failed"},
      {"a ticket before a chunk's bad end", "connection_failed"},
      {"10,000 headers and more", "connection_failed"},
      {"endless interim answers", "connection_failed"},
      {"an endless trailer", "connection_failed"},
      {"an endless size of a chunk", "connection_failed"},
      {"endless trailers", "timed_out"},
      {"an endless extension of a chunk", "timed_out"},
      {"an endless header", "response_too_large"},
      {"an endless status line", "response_too_large"}};
  return rows;
}
bool sends_again(const fault& row, const std::string& method) {
  return method == "GET" && row.connected && row.end == verdict::broken &&
         (row.name.find("before the answer on") != std::string::npos ||
          row.name.find("half a request was read") != std::string::npos);
}
std::string due(const fault& row, const std::string& method) {
  if (sends_again(row, method)) return "answer";
  const auto found = otherwise().find(row.name);
  if (found != otherwise().end()) return found->second;
  return row.name.starts_with("chunks ") && row.end == verdict::malformed ? "connection_failed" : code_of(row);
}

// False: this machine was too slow for the fault to be met, or for the bound, and it is worth another try.
bool meet_once(const fault& row, const std::string& method, bool last_try) {
  auto script = row.script;
  if (row.connected) script.push_front({.bytes = nango_test::sound_answer("0")});
  fault_server server({.tls = true, .script = script, .door = row.door});
  auto options = options_for(server);
  const auto expected = due(row, method);
  if (expected != "timed_out") options.timeout = milliseconds(5000);
  const curl_client api(options);
  if (row.connected) REQUIRE(api.get("first", {}, {.timeout = milliseconds(5000)}));

  const auto began = steady_clock::now();
  const auto outcome = api.send(method, "fault", {}, method == "POST" ? R"({"a":1})" : "");
  const bool in_time = steady_clock::now() - began < options.timeout + margin, is_met = server.acts_left() == 0;
  if (!last_try && !(in_time && is_met)) return false;
  CHECK(in_time);
  CHECK(is_met);
  CHECK_MESSAGE((outcome ? "answer" : std::string(to_string(outcome.error().code))) == expected,
                (outcome ? "" : outcome.error().message));
  if (outcome && row.end == verdict::answer) {
    CHECK(outcome->status == row.status);
    CHECK(outcome->body == row.body);
  }
  if (!outcome) CHECK(outcome.error().may_have_executed == !row.before_the_request(true));
  CHECK(server.started() <= (row.connected ? 2 : 1) + (sends_again(row, method) ? 1 : 0));

  // What it takes for an answer leaves its connection with a peer that says nothing more.
  if (outcome && row.end != verdict::answer) return true;
  if (row.door != entrance::open) server.open();
  for (const auto* next : {"GET", "POST"}) {
    const auto sound = api.request_json(next, "next", {}, {}, {.timeout = milliseconds(5000)});
    CHECK_MESSAGE(sound, sound.error());
    if (sound) CHECK(sound->result == "/v1/next");
  }
  return true;
}

}  // namespace

TEST_CASE("each fault ends a call as it is written, in time, and leaves the client usable") {
  for (const auto& row : nango_test::all_faults()) {
    for (const std::string method : {"GET", "POST"}) {
      if (!row.method.empty() && row.method != method) continue;
      CAPTURE(row.name);
      CAPTURE(method);
      for (int tries = 3; tries > 0 && !meet_once(row, method, tries == 1);) --tries;
    }
  }
}

TEST_CASE("each difference is one of a fault that there is") {
  std::set<std::string> names;
  for (const auto& row : nango_test::all_faults()) names.insert(row.name);
  for (const auto& [name, _] : otherwise()) CHECK_MESSAGE(names.count(name) == 1, name);
}

TEST_CASE("a POST is sent once, also with retries and on a connection that was kept and is closed now") {
  fault_server server(nango_test::fault_server_options{});
  auto options = options_for(server);
  options.timeout = milliseconds(5000);
  options.retry = {.base_delay = milliseconds(1)};
  const curl_client api(options);
  for (int i = 1; i <= 5; ++i) {
    REQUIRE(api.get("first"));
    server.reset_all();
    REQUIRE(nango_test::comes_true([&] { return server.open_connections() == 0; }));
    REQUIRE(api.post("x", {{"a", 1}}));
    CHECK(server.requests().size() == static_cast<std::size_t>(2 * i));
  }
}

TEST_CASE("a cancel ends a call in each phase") {
  for (const auto at : {moment::accept, moment::handshake, moment::request}) {
    CAPTURE(static_cast<int>(at));
    fault_server server({{.at = at, .then = ending::stall}});
    auto options = options_for(server);
    options.timeout = std::chrono::seconds(20);
    const curl_client api(options);
    nango::cancel_source source;
    std::thread canceler([&] {
      nango_test::comes_true([&] { return server.acts_left() == 0; });
      source.cancel();
    });
    const auto got = api.get("x", {}, {.cancel = source.token()});
    canceler.join();
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::canceled);
    CHECK(got.error().may_have_executed == (at == moment::request));
  }
}

TEST_CASE("certificates are verified, and nothing is sent where they are not") {
  fault_server server(nango_test::fault_server_options{});
  auto options = options_for(server);
  options.timeout = milliseconds(5000);
  options.ca_file.clear();
  const auto stranger = curl_client(options).get("x");
  REQUIRE_FALSE(stranger);
  CHECK(stranger.error().code == errc::tls_failed);
  CHECK_FALSE(stranger.error().may_have_executed);
  CHECK(server.started() == 0);
}

TEST_CASE("a redirect is not followed") {
  fault_server server({{.bytes = "HTTP/1.1 302 Found\r\nLocation: /v1/secret\r\nContent-Length: 0\r\n\r\n"}});
  auto options = options_for(server);
  options.timeout = milliseconds(5000);
  const auto got = curl_client(options).get("x");
  REQUIRE_FALSE(got);
  CHECK(got.error().http_status == 302);
  CHECK(server.requests().size() == 1);
}

TEST_CASE("many threads share a backend, each with a connection of its own") {
  fault_server server(nango_test::fault_server_options{});
  auto options = options_for(server);
  options.timeout = std::chrono::seconds(20);
  const curl_client api(options);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int call = 0; call < 50; ++call) {
        const auto path = "t" + std::to_string(i) + "-" + std::to_string(call);
        right += api.get(path).value_or(nango::json()) == "/v1/" + path ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 400);
  CHECK(server.connections() <= 8);
}
