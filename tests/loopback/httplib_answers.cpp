// Default backend: how answers are read, whichever release of httplib is under it. (What can be said of an answer in a
// row stands in support/faults.hpp.)

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include <chrono>
#include <clocale>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace httplib_answers_tests {

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::fault_server;
using nango_test::moment;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

std::string answer(const std::string& status, const std::string& fields, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string ok(const std::string& fields, const std::string& body = "{}") { return answer("200 OK", fields, body); }

// A server that plays a script over TLS or plain TCP, and a client.
struct exchange {
  explicit exchange(std::deque<act> script, bool tls = true, nango::retry_policy retry = {.max_attempts = 1},
                    std::function<void(SSL_CTX*)> adjust = {})
      : server({.tls = tls, .script = std::move(script), .adjust = std::move(adjust)}),
        api({.api_key = "key",
             .base_url = server.base_url(),
             .timeout = seconds(5),
             .retry = retry,
             .max_response_bytes = std::size_t{1} << 20,
             .ca_file = server.ca_file(),
             .allow_plaintext_loopback = true}) {}

  nango::result<nango::http_response> get() const { return api.send("GET", "x"); }
  void check_malformed() const {
    const auto got = get();
    REQUIRE_FALSE(got);
    CHECK_MESSAGE(got.error().code == errc::malformed_response, got.error());
    CHECK(got.error().may_have_executed);
  }
  void check_body(const std::string& body) const {
    const auto got = get();
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->status == 200);
    CHECK(got->body == body);
  }
  // Another call succeeds, on a connection that is the server's `connection`th.
  void check_next(int connection) const {
    const auto next = api.get("next");
    REQUIRE_MESSAGE(next, next.error());
    CHECK(*next == "/v1/next");
    CHECK(server.connections() == connection);
  }

  fault_server server;
  nango::client api;
};

std::string value_of(const nango::headers& fields, std::string_view name) {
  for (const auto& field : fields) {
    if (field.name == name) return field.value;
  }
  return "(none)";
}

}  // namespace

// ---- Early answers ----

TEST_CASE("an answer that comes while a large body is sent is the outcome, at once") {
  const std::string body(8'000'000, 'x');
  for (const bool tls : {true, false}) {
    for (const auto then : {ending::stall, ending::close_later}) {
      for (const std::string status : {"413 Content Too Large", "401 Unauthorized", "500 Internal Server Error"}) {
        CAPTURE(tls);
        CAPTURE(status);
        CAPTURE(then == ending::stall);
        const exchange e(
            {{.at = moment::head, .bytes = answer(status, "X-A: b\r\n", "enough"), .then = then, .reads = 64 * 1024}},
            tls);
        const auto began = steady_clock::now();
        const auto got = e.api.send("POST", "x", {}, body, "text/plain");
        CHECK(steady_clock::now() - began < seconds(3));
        REQUIRE_MESSAGE(got, got.error());
        CHECK(got->status == std::stoi(status));
        CHECK(got->body == "enough");
        CHECK(value_of(got->headers, "X-A") == "b");
        e.check_next(2);
        CHECK(e.server.started() == 2);
      }
    }
  }
}

TEST_CASE("an early 429 counts with its Retry-After: a large PUT is not sent again before") {
  const std::string body(8'000'000, 'x');
  for (const bool tls : {true, false}) {
    for (const auto then : {ending::stall, ending::close_later}) {
      CAPTURE(tls);
      CAPTURE(then == ending::stall);
      const exchange e({{.at = moment::head,
                         .bytes = answer("429 Too Many Requests", "Retry-After: 20\r\n", "slow down"),
                         .then = then,
                         .reads = 64 * 1024}},
                       tls, {});
      const auto began = steady_clock::now();
      const auto got = e.api.send("PUT", "x", {}, body, "text/plain");
      CHECK(steady_clock::now() - began < seconds(3));
      REQUIRE_FALSE(got);
      CHECK_MESSAGE(got.error().code == errc::rate_limited, got.error());
      CHECK(got.error().http_status == 429);
      CHECK(got.error().retry_after == seconds(20));
      CHECK(got.error().attempts == 1);
      CHECK_FALSE(got.error().may_have_executed);
      CHECK(e.server.started() == 1);
      e.check_next(2);
    }
  }
}

TEST_CASE("interim answers that come while a large body is sent do not hide the final one behind them") {
  const std::string body(8'000'000, 'x'), interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const exchange e(
        {{.at = moment::head,
          .bytes = "HTTP/1.1 100 Continue\r\n\r\n" + interim + interim + answer("413 Content Too Large", "", "enough"),
          .then = ending::stall,
          .reads = 64 * 1024}},
        tls);
    const auto got = e.api.send("POST", "x", {}, body, "text/plain");
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->status == 413);
    CHECK(got->body == "enough");
    e.check_next(2);
  }
}

TEST_CASE("a body that the server takes its time to read is answered in the end") {
  // It reads the first bytes, then nothing for a while, then everything.
  const std::string body(8'000'000, 'x');
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const fault_server server({.tls = tls, .afterwards = [](std::string_view request) {
                                 std::this_thread::sleep_for(milliseconds(300));
                                 return nango_test::answer_soundly(request);
                               }});
    const nango::client api({.api_key = "key",
                             .base_url = server.base_url(),
                             .ca_file = server.ca_file(),
                             .allow_plaintext_loopback = true});
    const auto got = api.send("POST", "x", {}, body, "text/plain");
    REQUIRE_MESSAGE(got, got.error());
    CHECK(server.requests().at(0).ends_with(body));
    CHECK(server.connections() == 1);
  }
}

// ---- Heads ----

TEST_CASE("the headers of an answer are handed on as they came: spelling, order, repetitions and every byte") {
  const nango::headers sent{{"X-Percent", "a%0D%0AX-B: b%00%41+%zz"},
                            {"x-LOWER", "a, b;c=\"d\""},
                            {"X-Utf-8", "caf\xc3\xa9"},
                            {"X-Latin-1", "caf\xe9"},
                            {"X-Tab", "a\tb  c"},
                            {"Set-Cookie", "one=1; Path=/"},
                            {"set-cookie", "two=2"},
                            {"Set-Cookie", "one=1; Path=/"},
                            {"X-Empty", ""},
                            {"!#$%&'*+-.^_`|~9", "a token"},
                            {"Content-Type", "application/json"},
                            {"Content-Length", "2"}};
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    std::string text = "HTTP/1.1 200 OK\r\n";
    for (const auto& field : sent) text += field.name + ": " + field.value + "\r\n";
    const exchange e({{.bytes = "HTTP/1.1 103 Early Hints\r\nX-Early: a\r\n\r\n" + text + "\r\n{}"}}, tls);
    const auto got = e.get();
    REQUIRE_MESSAGE(got, got.error());
    REQUIRE(got->headers.size() == sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      CHECK(got->headers[i].name == sent[i].name);
      CHECK(got->headers[i].value == sent[i].value);
    }
    e.check_next(1);
  }
}

TEST_CASE("a head is 64 KiB at most, in lines of any length") {
  constexpr std::size_t most = 64 * 1024, of_line_ends = 2 * 1002;  // which need not count
  const auto head_of = [](std::size_t size, std::size_t lines, bool in_status_line) {
    std::string status = "HTTP/1.1 200 OK", fields = "Content-Length: 2\r\n";
    for (std::size_t i = 1; i < lines; ++i) fields += "X-A: " + std::string(50, 'x') + "\r\n";
    const std::string last = "X-Z: ";
    const auto missing = size - (status + "\r\n" + fields + last + "\r\n\r\n").size();
    (in_status_line ? status : fields) += (in_status_line ? "" : last) + std::string(missing, 'y');
    fields += in_status_line ? last + "\r\n" : "\r\n";
    return status + "\r\n" + fields + "\r\n";
  };
  for (const bool tls : {true, false}) {
    for (const std::size_t lines : {1U, 500U}) {
      for (const bool in_status_line : {true, false}) {
        CAPTURE(tls);
        CAPTURE(lines);
        CAPTURE(in_status_line);
        const auto fits = head_of(most, lines, in_status_line),
                   larger = head_of(most + of_line_ends, lines, in_status_line);
        REQUIRE(fits.size() == most);
        const exchange e({{.bytes = fits + "{}"}, {.bytes = larger + "{}"}}, tls);
        e.check_body("{}");
        e.check_malformed();
        e.check_next(2);
      }
    }
  }
}

TEST_CASE("a trailer is read and dropped, within the bounds of a head") {
  const std::string begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
  const auto lines = [](int count, std::size_t size) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "X-A: " + std::string(size - 7, 'x') + "\r\n";
    return text;
  };
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const exchange e({{.bytes = begin + "X-Trailer: a\r\nContent-Length: 9\r\n\r\n"},
                      {.bytes = begin + lines(1000, 10) + "\r\n"},
                      {.bytes = begin + lines(1, 60'000) + "\r\n"},
                      {.bytes = begin + lines(1001, 10) + "\r\n"},
                      {.bytes = begin + lines(2, 40'000) + "\r\n"}},
                     tls);
    for (int i = 0; i < 3; ++i) {
      CAPTURE(i);
      const auto got = e.get();
      REQUIRE_MESSAGE(got, got.error());
      CHECK(got->body == "{}");
      CHECK(value_of(got->headers, "X-Trailer") == "(none)");
      CHECK(value_of(got->headers, "Content-Length") == "(none)");
    }
    CHECK(e.server.connections() == 1);
    for (int i = 0; i < 2; ++i) e.check_malformed();
    e.check_next(3);
  }
}

TEST_CASE("how TLS wraps an answer does not matter: records of a byte each, padded to their full size") {
  const std::string fields = "X-A: " + std::string(100, 'x') + "\r\n",
                    large = "X-A: " + std::string(60'000, 'x') + "\r\n";
  const exchange e({{.bytes = ok(fields, R"({"a":1})"), .bytewise = true}, {.bytes = ok(large)}}, true,
                   {.max_attempts = 1}, [](SSL_CTX* context) {
                     SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);  // 1.2 pads nothing
                     REQUIRE(SSL_CTX_set_block_padding(context, 16 * 1024) == 1);
                   });
  e.check_body(R"({"a":1})");
  e.check_body("{}");
  e.check_next(1);
}

TEST_CASE("names and keywords of HTTP are read by HTTP's rules, whatever the locale says of letters") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  if (std::setlocale(LC_ALL, "tr_TR.UTF-8") == nullptr) {
    MESSAGE("skipped: there is no locale tr_TR.UTF-8");
    return;
  }
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    for (const std::string name : {"TRANSFER-ENCODING", "Transfer-Encoding", "transfer-encoding"}) {
      CAPTURE(name);
      const exchange e({{.bytes = "HTTP/1.1 200 OK\r\n" + name + ": CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n"}}, tls);
      e.check_body("{}");
      e.check_next(1);
    }
    for (const std::string name : {"CONTENT-LENGTH", "content-length"}) {
      CAPTURE(name);
      const exchange e({{.bytes = "HTTP/1.1 200 OK\r\n" + name + ": 2\r\n\r\n{}"}}, tls);
      e.check_body("{}");
      e.check_next(1);
    }
    const exchange closing({{.bytes = ok("CONNECTION: X-I, CLOSE\r\n")}}, tls);
    closing.check_body("{}");
    closing.check_next(2);
    exchange({{.bytes = ok("CONTENT-ENCODING: IDENTITY\r\n")}}, tls).check_body("{}");
    exchange({{.bytes = ok("CONTENT-ENCODING: XI\r\n")}}, tls).check_malformed();
  }
  std::setlocale(LC_ALL, before.c_str());
}

namespace {

// Runs `act` on a thread with a stack of that size.
void on_a_stack_of(std::size_t size, std::function<void()> act) {
  pthread_attr_t attributes;
  REQUIRE(::pthread_attr_init(&attributes) == 0);
  REQUIRE(::pthread_attr_setstacksize(&attributes, size) == 0);
  pthread_t thread{};
  const auto run = [](void* what) -> void* {
    (*static_cast<std::function<void()>*>(what))();
    return nullptr;
  };
  REQUIRE(::pthread_create(&thread, &attributes, run, &act) == 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace

TEST_CASE("long lines need no stack") {
  if (nango_test::is_sanitized) {
    MESSAGE("skipped: a sanitizer needs more stack itself");
    return;
  }
  // OpenSSL does with it too, for a handshake with certificates of P-256.
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const std::string length = "\r\nContent-Length: 2\r\n\r\n{}";
    const std::deque<act> script{
        {.bytes = "HTTP/1.1 200 " + std::string(30'000, 'x') + length},
        {.bytes = "HTTP/1.1 200 OK\r\nX-A: " + std::string(60'000, 'x') + length},
        {.bytes = "HTTP/1.1 200 OK\r\n" + std::string(60'000, 'x') + ": a" + length},
        {.bytes = "HTTP/1.1 200 " + std::string(1'000'000, 'x') + length},
        {.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + std::string(60'000, 'x') + "\r\n"}};
    const auto rows = static_cast<int>(script.size());
    const fault_server server(script, tls);
    nango::httplib_backend backend({.api_key = "key",
                                    .base_url = server.base_url(),
                                    .ca_file = server.ca_file(),
                                    .allow_plaintext_loopback = true});
    std::vector<std::string> outcomes;
    on_a_stack_of(64 * 1024, [&] {
      for (int i = 0; i < rows; ++i) {
        const auto got = backend.send({.method = "GET",
                                       .url = server.base_url() + "x",
                                       .deadline = steady_clock::now() + seconds(5),
                                       .max_response_bytes = 1000});
        outcomes.push_back(got ? got->body : std::string(to_string(got.error().code)));
      }
    });
    CHECK(outcomes == std::vector<std::string>{"{}", "{}", "{}", "malformed_response", "malformed_response"});
  }
}

// ---- Bodies ----

TEST_CASE("a chunked body that is cut anywhere is an error") {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    body = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-A: b\r\n\r\n";
  for (const bool tls : {true, false}) {
    for (const auto then : {ending::close, ending::break_off}) {
      std::deque<act> script;
      for (std::size_t size = 0; size < body.size(); ++size) {
        script.push_back({.bytes = head + body.substr(0, size), .then = then});
      }
      const exchange e(std::move(script), tls);
      for (std::size_t size = 0; size < body.size(); ++size) {
        CAPTURE(tls);
        CAPTURE(then == ending::close);
        CAPTURE(body.substr(0, size));
        const auto began = steady_clock::now();
        const auto got = e.get();
        CHECK(steady_clock::now() - began < seconds(2));
        CHECK_FALSE(got);
        if (!got) CHECK_MESSAGE(got.error().code == errc::connection_failed, got.error());
      }
      e.check_next(static_cast<int>(body.size()) + 1);
    }
  }
}

TEST_CASE("a chunked body that stalls within its end is no answer, when the deadline has come") {
  for (const std::string chunks :
       {"5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\nX-A: b\r\n", "5\r\nhello"}) {
    CAPTURE(chunks);
    const exchange e(
        {{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, .then = ending::stall}});
    const auto got = e.api.send("GET", "x", {}, {}, {}, {.timeout = milliseconds(300)});
    REQUIRE_FALSE(got);
    CHECK_MESSAGE(got.error().code == errc::timed_out, got.error());
  }
}

TEST_CASE("a body that lasts until the connection's end is whole at the end, however large") {
  const std::string body(700'000, 'x');
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const exchange e({{.bytes = "HTTP/1.1 200 OK\r\n\r\n" + body, .then = ending::close},
                      {.bytes = "HTTP/1.1 404 Not Found\r\n\r\n" + body, .then = ending::close}},
                     tls);
    e.check_body(body);
    const auto missing = e.get();
    REQUIRE_MESSAGE(missing, missing.error());
    CHECK(missing->status == 404);
    CHECK(missing->body == body);
    e.check_next(3);
  }
}

TEST_CASE(
    "a body in an encoding that cannot be read: an error status counts with its headers, a success is malformed") {
  for (const std::string encoding : {"utf-8", "none", "gzip, identity", "br", "gzip, gzip", "x-unknown"}) {
    CAPTURE(encoding);
    const auto fields = "Content-Encoding: " + encoding + "\r\nX-A: b\r\n";
    const exchange e({{.bytes = answer("401 Unauthorized", fields, "who?")},
                      {.bytes = answer("503 Service Unavailable", fields, "later")},
                      {.bytes = answer("429 Too Many Requests", fields + "Retry-After: 20\r\n", "slow down")},
                      {.bytes = ok(fields)}});
    for (const auto& [status, body] : {std::pair(401, "who?"), std::pair(503, "later")}) {
      const auto got = e.get();
      REQUIRE_MESSAGE(got, got.error());
      CHECK(got->status == status);
      CHECK(got->body == body);
      CHECK(value_of(got->headers, "X-A") == "b");
      CHECK(value_of(got->headers, "Content-Encoding") == encoding);
    }
    const auto limited = e.get();
    REQUIRE_FALSE(limited);
    CHECK_MESSAGE(limited.error().code == errc::rate_limited, limited.error());
    CHECK(limited.error().retry_after == seconds(20));
    CHECK(limited.error().body == "slow down");
    e.check_malformed();
    const auto next = e.api.get("next");
    CHECK_MESSAGE(next, next.error());
  }
}

#ifdef CPPHTTPLIB_ZLIB_SUPPORT

namespace {

// {"a":1}, as gzip writes it with no compression.
std::string stored_gzip() {
  return std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x07\0\xf8\xff", 15) + R"({"a":1})" +
         std::string("\xaf\xac\x1b\x56\x07\0\0\0", 8);
}

}  // namespace

TEST_CASE("x-gzip is another name of gzip") {
  for (const std::string encoding : {"gzip", "x-gzip", "X-GZip"}) {
    CAPTURE(encoding);
    const exchange e({{.bytes = ok("Content-Encoding: " + encoding + "\r\n", stored_gzip())}});
    const auto got = e.get();
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->body == R"({"a":1})");
    CHECK(value_of(got->headers, "Content-Encoding") == "(none)");
    e.check_next(1);
  }
}

TEST_CASE("damaged gzip: an error status counts, with the body as it came; a success is malformed") {
  auto damaged = stored_gzip();
  damaged[16] ^= 1;
  const auto cut = stored_gzip().substr(0, 20);
  for (const auto& body : {damaged, cut, std::string("plain text")}) {
    CAPTURE(body.size());
    const exchange e({{.bytes = answer("503 Service Unavailable", "Content-Encoding: gzip\r\nX-A: b\r\n", body)},
                      {.bytes = answer("429 Too Many Requests", "Content-Encoding: gzip\r\nRetry-After: 20\r\n", body)},
                      {.bytes = ok("Content-Encoding: gzip\r\n", body)}});
    const auto got = e.get();
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->status == 503);
    CHECK(got->body == body);
    CHECK(value_of(got->headers, "X-A") == "b");
    const auto limited = e.get();
    REQUIRE_FALSE(limited);
    CHECK_MESSAGE(limited.error().code == errc::rate_limited, limited.error());
    CHECK(limited.error().retry_after == seconds(20));
    e.check_malformed();
    const auto next = e.api.get("next");
    CHECK_MESSAGE(next, next.error());
  }
}

#endif

// ---- The connection afterwards ----

TEST_CASE("a connection whose end was announced is not used again") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    for (const std::string fields :
         {"Connection: close\r\n", "Connection: Close\r\n", "connection: CLOSE\r\n",
          "Connection: keep-alive, close\r\n", "Connection: keep-alive\r\nConnection: close\r\n",
          "Connection: X-A,close ,X-B\r\n"}) {
      CAPTURE(fields);
      const exchange e({{.bytes = ok(fields)}}, tls);
      e.check_body("{}");
      e.check_next(2);
    }
    const exchange old({{.bytes = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"}}, tls);
    old.check_body("{}");
    old.check_next(2);
    const exchange kept({{.bytes = ok("Connection: closed, keep-alive\r\n")}}, tls);
    kept.check_body("{}");
    kept.check_next(1);
  }
}

TEST_CASE("a connection is kept for as long as the server says that it keeps it") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const exchange e(
        {{.bytes = ok("Keep-Alive: timeout=1, max=100\r\n")}, {.bytes = ok("Keep-Alive: max=9,timeout=30\r\n")}}, tls);
    e.check_body("{}");
    std::this_thread::sleep_for(milliseconds(1200));
    e.check_body("{}");
    CHECK(e.server.connections() == 2);
    e.check_next(2);
    const exchange at_once({{.bytes = ok("Keep-Alive: timeout=0\r\n")}}, tls);
    at_once.check_body("{}");
    at_once.check_next(2);
    const exchange senseless({{.bytes = ok("Keep-Alive: timeout=x, timeout=99999999999999999999\r\n")}}, tls);
    senseless.check_body("{}");
    senseless.check_next(1);
  }
}

TEST_CASE("an error about an answer that did not come whole keeps what came of it") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const exchange e({{.bytes = "HTTP/1.1 200 OK\r\nX-Request-Id: r-1\r\nContent-Length: 1000\r\n\r\n{\"sta",
                       .then = ending::break_off}},
                     tls);
    const auto got = e.get();
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::connection_failed);
    CHECK(got.error().http_status == 200);
    CHECK(value_of(got.error().headers, "X-Request-Id") == "r-1");
    CHECK(got.error().body == "{\"sta");
    e.check_next(2);
  }
}

}  // namespace httplib_answers_tests
