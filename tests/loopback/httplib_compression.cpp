// Default backend: answers in gzip, which are asked for where httplib is built with zlib. What is truncated, corrupt or
// too large is an error as it is without compression.

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"

namespace httplib_compression_tests {

#ifdef CPPHTTPLIB_ZLIB_SUPPORT

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::fault_server;

std::string gzip_of(std::string_view plain) {
  std::string out;
  httplib::detail::gzip_compressor writer;
  const bool written = writer.compress(plain.data(), plain.size(), true, [&](const char* data, std::size_t size) {
    out.append(data, size);
    return true;
  });
  REQUIRE(written);
  return out;
}

enum class framing { length, chunks, end_of_stream };
constexpr framing framings[] = {framing::length, framing::chunks, framing::end_of_stream};

// An answer with that body, whatever `fields` say of it; in chunks: of 7 bytes.
act answer(framing how, const std::string& body, const std::string& fields = "Content-Encoding: gzip\r\n") {
  const std::string begin = "HTTP/1.1 200 OK\r\n" + fields;
  if (how == framing::length) {
    return {.bytes = begin + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body};
  }
  if (how == framing::end_of_stream) return {.bytes = begin + "\r\n" + body, .then = ending::close};
  auto text = begin + "Transfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0; at < body.size(); at += 7) {
    const auto chunk = body.substr(at, 7);
    text += std::to_string(chunk.size()) + "\r\n" + chunk + "\r\n";
  }
  return {.bytes = text + "0\r\n\r\n"};
}

struct fixture {
  explicit fixture(act first, std::size_t most = std::size_t{1} << 20)
      : server({std::move(first)}),
        api({.api_key = "key",
             .base_url = server.base_url(),
             .retry = {.max_attempts = 1},
             .max_response_bytes = most,
             .ca_file = server.ca_file()}) {}

  nango::result<nango::http_response> send(const nango::headers& extra = {}) const {
    return api.send("GET", "x", {}, {}, {}, {.headers = extra});
  }
  void check_fails(errc code) const {
    const auto answer = send();
    REQUIRE_FALSE(answer);
    CHECK_MESSAGE(answer.error().code == code, answer.error());
    CHECK(answer.error().may_have_executed);
    CHECK(answer.error().http_status == 200);
    const auto next = api.get("next");
    REQUIRE_MESSAGE(next, next.error());
    CHECK(*next == "/v1/next");
  }

  fault_server server;
  nango::client api;
};

// Several blocks, of which the first are not all compressible.
std::string sample() {
  std::string text;
  unsigned state = 1;
  for (int i = 0; i < 400; ++i) text += static_cast<char>('!' + (state = state * 1103515245 + 12345) / 65536 % 90);
  return text + std::string(3000, 'x') + "the end";
}

}  // namespace

TEST_CASE("an answer in gzip is read as if it were not compressed") {
  for (const auto how : framings) {
    CAPTURE(static_cast<int>(how));
    for (const auto& plain : {std::string(), std::string("{}"), sample(), std::string(1 << 20, 'y')}) {
      const fixture f(answer(how, gzip_of(plain), "Content-Encoding: GZIP\r\nX-A: b\r\n"));
      const auto got = f.send();
      REQUIRE_MESSAGE(got, got.error());
      CHECK(got->body == plain);
      for (const auto& field : got->headers) {  // what is said of the compressed body is of no use
        CHECK(field.name != "Content-Encoding");
        CHECK(field.name != "Content-Length");
      }
      CHECK(f.server.requests().at(0).find("Accept-Encoding: gzip\r\n") != std::string::npos);
      REQUIRE(f.api.get("next"));
      CHECK(f.server.connections() == (how == framing::end_of_stream ? 2 : 1));
    }
  }
}

TEST_CASE("gzip that is truncated anywhere is malformed_response, whatever frames it") {
  const auto whole = gzip_of(sample());
  for (const auto how : framings) {
    CAPTURE(static_cast<int>(how));
    for (std::size_t size = 1; size < whole.size(); size += (size + 12 < whole.size() && size > 24) ? 19 : 1) {
      CAPTURE(size);
      fixture(answer(how, whole.substr(0, size))).check_fails(errc::malformed_response);
    }
  }
}

TEST_CASE("gzip that is corrupt or goes on after its end is malformed_response") {
  const auto whole = gzip_of(sample());
  auto flipped = whole, other_sum = whole, other_size = whole;
  flipped[whole.size() / 2] ^= 1;
  other_sum[whole.size() - 8] ^= 1;
  other_size[whole.size() - 1] ^= 1;
  const std::vector<std::pair<const char*, std::string>> rows{{"a bit in the middle", flipped},
                                                              {"the CRC-32", other_sum},
                                                              {"the size", other_size},
                                                              {"no gzip", "{\"status\":\"ok\"}"},
                                                              {"a byte after its end", whole + 'x'},
                                                              {"eight bytes after its end", whole + "12345678"},
                                                              {"two members", whole + gzip_of("{}")}};
  for (const auto& [name, body] : rows) {
    CAPTURE(std::string(name));
    for (const auto how : framings) fixture(answer(how, body)).check_fails(errc::malformed_response);
  }
}

TEST_CASE("an answer that is empty is empty, whatever it says of gzip") {
  const fixture f(answer(framing::length, ""));
  const auto got = f.send();
  REQUIRE_MESSAGE(got, got.error());
  CHECK(got->body.empty());
}

TEST_CASE("the bound is on what comes out: one byte more is response_too_large") {
  for (const auto how : framings) {
    CAPTURE(static_cast<int>(how));
    const auto body = gzip_of(std::string(10'000, 'x'));
    const fixture fits(answer(how, body), 10'000);
    const auto got = fits.send();
    REQUIRE_MESSAGE(got, got.error());
    CHECK(got->body.size() == 10'000);
    fixture(answer(how, body), 9'999).check_fails(errc::response_too_large);
    fixture(answer(how, nango_test::gzip_of_a_gibibyte().substr(0, 20'000))).check_fails(errc::response_too_large);
  }
}

TEST_CASE("incompressible data may be longer in gzip than the bound, in chunks") {
  const auto noise = sample().substr(0, 300);
  const auto body = gzip_of(noise);
  const fixture f(answer(framing::chunks, body), noise.size());
  const auto got = f.send();
  REQUIRE_MESSAGE(got, got.error());
  CHECK(got->body == noise);
}

TEST_CASE("another encoding, or gzip twice, is malformed_response") {
  const auto body = gzip_of("{}");
  for (const std::string fields : {"Content-Encoding: br\r\n", "Content-Encoding: gzip, gzip\r\n",
                                   "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"}) {
    CAPTURE(fields);
    fixture(answer(framing::length, body, fields)).check_fails(errc::malformed_response);
  }
}

TEST_CASE("a call with its own Accept-Encoding gets the answer unchanged") {
  const auto body = gzip_of("{}");
  const fixture f(answer(framing::length, body));
  const auto got = f.send({{"Accept-Encoding", "gzip"}});
  REQUIRE_MESSAGE(got, got.error());
  CHECK(got->body == body);
  bool is_said = false;
  for (const auto& field : got->headers) is_said |= field.name == "Content-Encoding" && field.value == "gzip";
  CHECK(is_said);
}

TEST_CASE("a HEAD asks for no encoding, and keeps what the answer says of one") {
  const fixture f({.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n"});
  const auto got = f.api.send("HEAD", "x");
  REQUIRE_MESSAGE(got, got.error());
  CHECK(f.server.requests().at(0).find("Accept-Encoding: identity\r\n") != std::string::npos);
  CHECK(got->headers.size() == 2);
}

#endif

}  // namespace httplib_compression_tests
