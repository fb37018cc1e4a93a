// Envelope: parse_envelope, row by row.
#include "nango.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "scripted_backend.hpp"

namespace envelope_tests {

using namespace std::chrono_literals;
using namespace std::string_literals;
using nango::errc;
using nango::http_response;
using nango::json;
using nango::parse_envelope;
using nango::response;
using nango::result;

static_assert(std::is_same_v<decltype(&parse_envelope), result<response> (*)(http_response)>);

namespace {

result<response> parse(int status, std::string body, nango::headers headers = {}) {
  return parse_envelope({.status = status, .headers = std::move(headers), .body = std::move(body)});
}

std::string ok(const std::string& result_text) { return R"({"status":"ok","result":)" + result_text + '}'; }
std::string error_body(const std::string& type, const std::string& message = "it is so") {
  return json{{"status", "error"}, {"error_type", type}, {"error_msg", message}}.dump();
}

/// What every error has to have, and the code that this one should have; gives it back to look further.
nango::error failure(const result<response>& got, errc code, int status) {
  REQUIRE_FALSE(got.has_value());
  nango::error e = got.error();
  CHECK(e.code == code);
  CHECK(e.http_status == status);
  CHECK_FALSE(e.message.empty());
  CHECK(e.message.find_first_of("\r\n\0"s) == std::string::npos);
  CHECK(e.attempts == 0);
  const bool did_not_act = code == errc::params_error || code == errc::auth_error || code == errc::rate_limited;
  CHECK(e.may_have_executed == !did_not_act);
  return e;
}
nango::error failure(int status, const std::string& body, errc code) {
  CAPTURE(status);
  CAPTURE(body);
  return failure(parse(status, body), code, status);
}

constexpr int successes[] = {200, 201, 202, 203, 204, 205, 206, 226, 299};
constexpr int others[] = {0,   -1,  100, 199, 300, 301, 302, 304, 400, 402,
                          403, 404, 409, 422, 500, 502, 503, 504, 599, 600};

/// Bodies that are JSON but no envelope: no object, or a `status` that is none of the two.
const char* const no_envelopes[] = {
    "null",
    "7",
    "true",
    R"("ok")",
    "[]",
    R"(["status","ok"])",
    R"([{"status":"ok"}])",
    "{}",
    R"({"result":1})",
    R"({"Status":"ok","result":1})",
    R"({"status":"OK","result":1})",
    R"({"status":"okay","result":1})",
    R"({"status":"","result":1})",
    R"({"status":null,"result":1})",
    R"({"status":true,"result":1})",
    R"({"status":200,"result":1})",
    R"({"status":["ok"],"result":1})",
    R"({"status":{"ok":1},"result":1})",
    R"({"status":"failed","error_type":"PARAMS_ERROR","error_msg":"m"})",
    R"({"error_type":"PARAMS_ERROR","error_msg":"m"})",
};
/// Errors without a string for a type.
const char* const untyped_errors[] = {
    R"({"status":"error"})",
    R"({"status":"error","error_msg":"m"})",
    R"({"status":"error","error_type":null,"error_msg":"m"})",
    R"({"status":"error","error_type":7,"error_msg":"m"})",
    R"({"status":"error","error_type":["PARAMS_ERROR"],"error_msg":"m"})",
    R"({"status":"error","error_type":{"PARAMS_ERROR":1},"error_msg":"m"})",
};

std::vector<std::string> not_json() {
  return {"",
          " ",
          "<html>502 Bad Gateway</html>",
          "{",
          R"({"status":"ok")",
          R"({"status":"ok","result":})",
          R"({"status":"ok",})",
          R"({'status':'ok'})",
          R"({"status":"ok"}x)",
          R"({"status":"ok"}{"status":"ok"})",
          R"({"status":"ok"} null)",
          R"({"status":"ok"}/* and more */)",
          R"({"status":"ok","result":NaN})",
          R"({"status":"ok","result":01})",
          R"({"status":"ok","result":1e99999})",  // no number is so large
          "{\"status\":\"ok\",\"result\":\"\t\"}",
          "{\"status\":\"ok\"}\0"s,
          "{\"status\":\"ok\"}\0and more"s,
          "\0{\"status\":\"ok\"}"s,
          "{\"status\":\"ok\",\"result\":\"a\0b\"}"s,
          "{\"status\":\"ok\",\"result\":\"\xFF\"}",
          "{\"status\":\"ok\",\"result\":\"\xC3\"}",              // cut short
          "{\"status\":\"ok\",\"result\":\"\xC0\xAF\"}",          // overlong
          "{\"status\":\"ok\",\"result\":\"\xED\xA0\x80\"}",      // a surrogate
          "{\"status\":\"ok\",\"result\":\"\xF4\x90\x80\x80\"}",  // past the last code point
          "{\"status\":\"ok\",\"\x80\":1}"};
}

}  // namespace

// ---- Success -------------------------------------------------------------------------------------------------------

TEST_CASE("a 20x with an ok envelope is its result") {
  for (const int status : successes) {
    CAPTURE(status);
    const auto got = parse(status, ok(R"({"id":7})"));
    REQUIRE(got.has_value());
    CHECK(got->result == json{{"id", 7}});
    CHECK(got->http_status == status);
    CHECK(got->attempts == 0);
  }
}

TEST_CASE("the result may be any JSON value") {
  for (const char* text :
       {"null", "true", "false", "0", "-7", "1.5", "18446744073709551615", "-9223372036854775808", R"("")", R"("text")",
        R"("r\u00e9sum\u00e9 \ud83d\ude00 \u0000")", "[]", "[1,[2,[3]],{}]", "{}", R"({"a":{"b":null}})",
        R"({"status":"error","error_type":"PARAMS_ERROR"})", R"([{"status":"ok","result":1}])"}) {
    CAPTURE(text);
    const auto got = parse(200, ok(text));
    REQUIRE(got.has_value());
    CHECK(got->result == json::parse(text));
    CHECK(got->result.type() == json::parse(text).type());
  }
}

TEST_CASE("a 20x with an ok envelope without a result is null") {
  for (const int status : successes) {
    CAPTURE(status);
    const auto got = parse(status, R"({"status":"ok"})");
    REQUIRE(got.has_value());
    CHECK(got->result.is_null());
    CHECK(got->http_status == status);
  }
}

TEST_CASE("a 204 or 205 without a body is null") {
  for (const int status : {204, 205}) {
    CAPTURE(status);
    const auto got = parse(status, "", {{"X-One", "1"}});
    REQUIRE(got.has_value());
    CHECK(got->result.is_null());
    CHECK(got->http_status == status);
    CHECK(got->attempts == 0);
    REQUIRE(got->headers.size() == 1);
    CHECK(got->headers[0].value == "1");
  }
}

TEST_CASE("another 20x without a body is a malformed_response") {
  for (const int status : successes) {
    if (status != 204 && status != 205) CHECK(failure(status, "", errc::malformed_response).body.empty());
  }
}

TEST_CASE("white space around an envelope and unknown members are ignored") {
  const auto got = parse(200, "\r\n\t {\"x\":[1],\"result\":7,\"error_type\":\"AUTH_ERROR\",\"status\":\"ok\"} \n");
  REQUIRE(got.has_value());
  CHECK(got->result == 7);
}

TEST_CASE("an answer's headers come with its result, as they came") {
  const nango::headers headers = {{"X-One", "1"}, {"x-one", "2"}, {"Retry-After", "3"}};
  const auto got = parse(200, ok("1"), headers);
  REQUIRE(got.has_value());
  REQUIRE(got->headers.size() == 3);
  CHECK(got->headers[0].name == "X-One");
  CHECK(got->headers[1].name == "x-one");
  CHECK(got->headers[1].value == "2");
}

// A parsed array grows as it is filled and so has room to spare; a copy of it has none. The sizes are a library's own,
// so they are compared with those of the same text parsed alone.
TEST_CASE("the result is moved out of the envelope, not copied") {
  const json elements(1025, 7);
  const json alone = json::parse(elements.dump());
  const auto room = [](const json& array) { return array.get_ref<const json::array_t&>().capacity(); };
  REQUIRE(room(alone) != room(json(alone)));
  auto got = parse(200, ok(elements.dump()));
  REQUIRE(got.has_value());
  CHECK(got->result == elements);
  CHECK(room(got->result) == room(alone));
  SUBCASE("nor is it copied on its way through a client") {
    nango_test::scripted_backend backend;
    const nango::basic_client<nango_test::scripted_backend, nango::unlimited> api(nango_test::test_options(), backend);
    backend.ok(elements);
    CHECK(room(api.get("x").value()) == room(alone));
    backend.ok(elements);
    CHECK(room(api.request("GET", "x").value().result) == room(alone));
  }
}

TEST_CASE("an answer's headers are moved, not copied") {
  for (const int status : {200, 204}) {
    http_response answer{.status = status, .headers = {{"X-One", "1"}}, .body = status == 200 ? ok("1") : ""};
    const nango::header* const where = answer.headers.data();
    const auto got = parse_envelope(std::move(answer));
    REQUIRE(got.has_value());
    CHECK(got->headers.data() == where);
  }
}

// ---- Errors that the API explains ----------------------------------------------------------------------------------

TEST_CASE("an error envelope is what its type says, and the status is kept as it came") {
  const std::pair<const char*, errc> table[] = {{"PARAMS_ERROR", errc::params_error},
                                                {"PROCESSING_ERROR", errc::processing_error},
                                                {"AUTH_ERROR", errc::auth_error}};
  const auto check_explained = [&](int status) {
    for (const auto& [type, code] : table) {
      const auto e = failure(status, error_body(type), code);
      CHECK(e.type == type);
      CHECK(e.message == "it is so");
      CHECK(e.body == error_body(type));
      CHECK_FALSE(e.retry_after);
    }
  };
  for (const int status : successes) check_explained(status);
  for (const int status : others) check_explained(status);
  check_explained(401);
}

TEST_CASE("an error envelope of another type is an api_error that keeps the type") {
  for (const char* type :
       {"CONFLICT_ERROR", "params_error", "PARAMS_ERROR ", " AUTH_ERROR", "PARAMS", "OK", "", "\xC3\xA9"}) {
    for (const int status : {200, 204, 302, 400, 401, 403, 500, 503}) {
      const auto e = failure(status, error_body(type), errc::api_error);
      CHECK(e.type == type);
      CHECK(e.message == "it is so");
      CHECK(e.body == error_body(type));
    }
  }
}

TEST_CASE("an error envelope without a message that can be read gets one made here") {
  for (const char* rest : {"", R"(,"error_msg":null)", R"(,"error_msg":7)", R"(,"error_msg":["m"])",
                           R"(,"error_msg":{"m":1})", R"(,"error_msg":true)", R"(,"error_msg":"")"}) {
    const auto e =
        failure(400, R"({"status":"error","error_type":"PARAMS_ERROR")" + std::string(rest) + '}', errc::params_error);
    CHECK(e.message.find(' ') != std::string::npos);  // words
    CHECK(e.type == "PARAMS_ERROR");
  }
}

TEST_CASE("a message of several lines becomes one line") {
  const auto e = failure(400, error_body("PARAMS_ERROR", "one\r\ntwo\tthree\x7F\x1B!"), errc::params_error);
  CHECK(e.message == "one  two three  !");
  CHECK(failure(429, error_body("LIMIT", "one\ntwo"), errc::rate_limited).message == "one two");
  CHECK(failure(400, R"({"status":"error","error_type":"PARAMS_ERROR","error_msg":"a\u0000b"})", errc::params_error)
            .message == "a b");
}

TEST_CASE("a message is kept whole, in its own script") {
  const std::string message = "\xE2\x82\xAC r\xC3\xA9sum\xC3\xA9 " + std::string(10'000, 'x');
  CHECK(failure(400, error_body("PARAMS_ERROR", message), errc::params_error).message == message);
}

// ---- Errors that nothing explains ----------------------------------------------------------------------------------

TEST_CASE("a 401 without an envelope is an auth_error that keeps the body") {
  const auto check_auth = [](const std::string& body) {
    const auto e = failure(401, body, errc::auth_error);
    CHECK(e.type.empty());
    CHECK(e.message.find("token") != std::string::npos);
    CHECK(e.body == body);
  };
  for (const auto& body : not_json()) check_auth(body);
  for (const char* body : no_envelopes) check_auth(body);
  for (const char* body : untyped_errors) check_auth(body);
}

TEST_CASE("another status that is not 20x without an envelope is an unexpected_status that keeps the body") {
  const auto check_unexpected = [](const std::string& body) {
    for (const int status : others) {
      const auto e = failure(status, body, errc::unexpected_status);
      CHECK(e.type.empty());
      CHECK(e.body == body);
    }
  };
  for (const auto& body : not_json()) check_unexpected(body);
  for (const char* body : no_envelopes) check_unexpected(body);
  for (const char* body : untyped_errors) check_unexpected(body);
}

TEST_CASE("a redirect's message says that it is not followed") {
  for (const int status : {300, 301, 302, 307, 308, 399}) {
    CHECK(failure(status, "moved", errc::unexpected_status).message.find("redirect") != std::string::npos);
  }
  for (const int status : {199, 299, 400}) {
    const auto code = status == 299 ? errc::malformed_response : errc::unexpected_status;
    CHECK(failure(status, "x", code).message.find("redirect") == std::string::npos);
  }
}

TEST_CASE("a status that is not 20x with an ok envelope is a malformed_response") {
  for (const char* body : {R"({"status":"ok"})", R"({"status":"ok","result":{"id":7}})",
                           R"({"status":"ok","error_type":"PARAMS_ERROR","error_msg":"m"})"}) {
    for (const int status : others) {
      const auto e = failure(status, body, errc::malformed_response);
      CHECK(e.body == body);
      CHECK(e.type.empty());
    }
    failure(401, body, errc::malformed_response);
  }
}

TEST_CASE("a 20x without an envelope is a malformed_response that keeps the body") {
  const auto check_malformed = [](const std::string& body) {
    for (const int status : successes) {
      if (body.empty() && (status == 204 || status == 205)) continue;
      const auto e = failure(status, body, errc::malformed_response);
      CHECK(e.type.empty());
      CHECK(e.body == body);
    }
  };
  for (const auto& body : not_json()) check_malformed(body);
  for (const char* body : no_envelopes) check_malformed(body);
  for (const char* body : untyped_errors) check_malformed(body);
}

TEST_CASE("an error keeps the first 16 KiB of the body, whatever it was") {
  const std::string start = "<html>" + std::string(16'376, 'x') + "ab";
  REQUIRE(start.size() == 16'384);
  for (const auto& [status, code] : {std::pair{200, errc::malformed_response},
                                     {502, errc::unexpected_status},
                                     {401, errc::auth_error},
                                     {429, errc::rate_limited}}) {
    CHECK(failure(status, start.substr(0, 16'383), code).body == start.substr(0, 16'383));
    CHECK(failure(status, start, code).body == start);
    CHECK(failure(status, start + 'c', code).body == start);
    CHECK(failure(status, start + std::string(100'000, 'y'), code).body == start);
  }
  const auto envelope = error_body("AUTH_ERROR", std::string(20'000, 'x'));
  CHECK(failure(401, envelope, errc::auth_error).body == envelope.substr(0, 16'384));
}

TEST_CASE("an error keeps the headers of its answer") {
  for (const auto& [status, body] : {std::pair<int, std::string>{200, "no envelope"},
                                     {400, error_body("PARAMS_ERROR")},
                                     {429, ""},
                                     {500, R"({"status":"ok"})"}}) {
    const auto e = parse(status, body, {{"X-Request-Id", "r-1"}, {"Set-Cookie", "a"}, {"Set-Cookie", "b"}}).error();
    REQUIRE(e.headers.size() == 3);
    CHECK(e.headers[0].name == "X-Request-Id");
    CHECK(e.headers[0].value == "r-1");
    CHECK(e.headers[2].value == "b");
  }
}

TEST_CASE("a kept body does not end within a UTF-8 character") {
  const std::pair<std::string, std::size_t> characters[] = {
      {"\xC3\xA9", 2}, {"\xE2\x82\xAC", 3}, {"\xF0\x9F\x98\x80", 4}};
  for (const auto& [character, size] : characters) {
    for (std::size_t before = 0; before <= size; ++before) {
      CAPTURE(character);
      CAPTURE(before);
      const auto start = std::string(16'384 - before, 'x');
      const auto body = failure(502, start + character + "and more", errc::unexpected_status).body;
      CHECK(body == start + (before == size ? character : ""));
      CHECK_NOTHROW(static_cast<void>(json(body).dump()));
    }
  }
  // What is no UTF-8 is kept as it came.
  CHECK(failure(502, std::string(20'000, '\xA9'), errc::unexpected_status).body == std::string(16'384, '\xA9'));
}

// ---- Texts that are nearly JSON ------------------------------------------------------------------------------------

TEST_CASE("a lone surrogate is read as U+FFFD, in texts and in names") {
  const std::pair<const char*, const char*> texts[] = {
      {R"(caf\ud83d)", "caf\xEF\xBF\xBD"},
      {R"(\uDE00 low)", "\xEF\xBF\xBD low"},
      {R"(\uD83Dx)", "\xEF\xBF\xBDx"},
      {R"(\ud83d\n)", "\xEF\xBF\xBD\n"},
      {R"(\ud83d\u0041)", "\xEF\xBF\xBD\x41"},
      {R"(\ud83d\ud83d\ude00)", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
      {R"(\ude00\ud83d)", "\xEF\xBF\xBD\xEF\xBF\xBD"},
      {R"(\\\ud83d \\ud83d)", "\\\xEF\xBF\xBD \\ud83d"},  // an escaped backslash is no part of an escape
      {R"(\ud83d\ude00 \udfff)", "\xF0\x9F\x98\x80 \xEF\xBF\xBD"},
  };
  for (const auto& [escaped, read] : texts) {
    CAPTURE(escaped);
    const auto got = parse(200, ok('"' + std::string(escaped) + '"'));
    REQUIRE(got);
    CHECK(got->result == read);
    const auto names = parse(200, ok("{\"" + std::string(escaped) + "\":1}"));
    REQUIRE(names);
    CHECK(names->result == json{{read, 1}});
  }
  CHECK(failure(400, R"({"status":"error","error_type":"PARAMS_ERROR","error_msg":"a\ud83d"})", errc::params_error)
            .message == "a\xEF\xBF\xBD");
}

TEST_CASE("one cut character does not lose the other records") {
  json records = json::array();
  for (int i = 0; i < 1'000; ++i) records.push_back({{"name", i == 700 ? "cut" : "whole"}});
  auto body = ok(records.dump());
  body.insert(body.find("cut") + 3, R"(\ud83d)");
  const auto got = parse(200, body);
  REQUIRE(got);
  CHECK(got->result.size() == 1'000);
  CHECK(got->result[700]["name"] == "cut\xEF\xBF\xBD");
}

TEST_CASE("invalid JSON is reported with the byte and the reason") {
  const auto message = [](const std::string& body) { return failure(200, body, errc::malformed_response).message; };
  const std::pair<std::string, const char*> bodies[] = {
      {"{\"status\":\"ok\",\"result\":\"caf\xE9\"}", "byte 30: invalid string: ill-formed UTF-8 byte"},
      {R"({"status":"ok","result":1e400})", "a number is out of range"},
      {R"({"status":"ok","result":[1,2})", "byte 29: unexpected '}'; expected ']'"},
      {R"({"status":"ok"}x)", "byte 16: invalid literal"},
      {R"({"status":"ok","result":"\ud83d",})", "byte 34: unexpected '}'; expected string literal"},
      {"{\"status\":\"ok\"}\0"s, "byte 16: a NUL"},
      {"busy, come again - later; last read", "byte 1: invalid literal"},
      {"", "it is empty"},
  };
  for (const auto& [body, due] : bodies) {
    CAPTURE(body);
    CHECK_MESSAGE(message(body).find(due) != std::string::npos, message(body));
    CHECK_MESSAGE(message(body).find("right?") == std::string::npos, message(body));
  }
  CHECK(message(std::string(2'000, '[')).find("deeper than 512") != std::string::npos);
  CHECK(message("\"" + std::string(100'000, 'x')).size() < 200);
  CHECK(message(std::string(100'000, '9') + "e99999").size() < 200);
  CHECK(message("[]") == "the answer is no envelope");
}

TEST_CASE("a web page is called one, with what may be wrong") {
  for (const std::string page : {"<html>Welcome</html>", " \r\n<!DOCTYPE html><html>", "<!doctype HTML>"}) {
    for (const int status : {200, 404, 502}) {
      CAPTURE(page);
      const auto e = failure(status, page, status == 200 ? errc::malformed_response : errc::unexpected_status);
      CHECK_MESSAGE(e.message.find("web page") != std::string::npos, e.message);
      CHECK(e.message.find("client_options::base_url") != std::string::npos);
      CHECK(e.message.find("nango::hosted::options") != std::string::npos);
    }
  }
  CHECK(failure(200, "<xml/>", errc::malformed_response).message.find("web page") == std::string::npos);
  CHECK(failure(302, "<html>", errc::unexpected_status).message.find("redirect") != std::string::npos);
}

// ---- Nesting -------------------------------------------------------------------------------------------------------

namespace {

/// An ok envelope of so many levels, its own counted.
std::string nested(std::size_t levels, const std::string& open, const std::string& inside, const std::string& close) {
  std::string opened, closed;
  for (std::size_t level = 1; level < levels; ++level) {
    opened += open;
    closed += close;
  }
  return ok(opened + inside + closed);
}

}  // namespace

TEST_CASE("512 levels of nesting are read, 513 count as not JSON") {
  const std::pair<const char*, const char*> kinds[] = {
      {"[", "]"}, {"{\"a\":", "}"}, {"{\"\":", "}"}, {"[0,", ",0]"}, {"[ \n", " \n]"}};
  for (const auto& kind : kinds) {
    CAPTURE(kind.first);
    CHECK(parse(200, nested(512, kind.first, "1", kind.second)).has_value());
    failure(200, nested(513, kind.first, "1", kind.second), errc::malformed_response);
    failure(200, nested(514, kind.first, "1", kind.second), errc::malformed_response);
  }
  CHECK(parse(200, nested(511, "[", "{}", "]")).has_value());
  failure(200, nested(512, "[", "{}", "]"), errc::malformed_response);
}

TEST_CASE("endless nesting is invalid JSON and overflows nothing") {
  failure(200, std::string(1'000'000, '['), errc::malformed_response);
  failure(200, nested(1'000'000, "[", "", "]"), errc::malformed_response);
  failure(500, nested(1'000'000, "{\"a\":", "1", "}"), errc::unexpected_status);
}

TEST_CASE("brackets within strings do not count as nesting") {
  SUBCASE("values beside each other") {
    std::string flat = "[[]";
    for (int i = 0; i < 2000; ++i) flat += ",[{}]";
    CHECK(parse(200, ok(flat + ']')).has_value());
  }
  SUBCASE("brackets in texts") {
    for (const std::string text : {R"(")", R"("\")", R"("\\\")", R"("\\\\\"\n)"}) {
      CAPTURE(text);
      CHECK(parse(200, ok(text + std::string(2000, '[') + '"')).has_value());
      CHECK(parse(200, ok(text + std::string(2000, '{') + R"(\\")")).has_value());
    }
  }
}

TEST_CASE("closing brackets in texts do not hide nesting") {
  failure(200, nested(513, R"(["]",)", "1", "]"), errc::malformed_response);
  failure(200, nested(513, R"(["\"]",)", "1", "]"), errc::malformed_response);
  failure(200, nested(513, R"(["\\",)", "1", "]"), errc::malformed_response);
  CHECK(parse(200, nested(512, R"(["\\",)", "1", "]")).has_value());
}

// ---- 429 -----------------------------------------------------------------------------------------------------------

TEST_CASE("a 429 is rate_limited, with the words of an error envelope where there is one") {
  for (const char* type : {"RATE_LIMIT_ERROR", "PARAMS_ERROR", "PROCESSING_ERROR", "AUTH_ERROR"}) {
    const auto e = failure(429, error_body(type, "slow down"), errc::rate_limited);
    CHECK(e.type == type);
    CHECK(e.message == "slow down");
    CHECK(e.body == error_body(type, "slow down"));
  }
  failure(429, R"({"status":"error","error_type":"X"})", errc::rate_limited);  // with a message made here
}

TEST_CASE("a 429 is rate_limited, whatever its body") {
  const auto check_limited = [](const std::string& body) {
    const auto e = failure(429, body, errc::rate_limited);
    CHECK(e.type.empty());
    CHECK(e.message.find("too many") != std::string::npos);
    CHECK(e.body == body);
  };
  for (const auto& body : not_json()) check_limited(body);
  for (const char* body : no_envelopes) check_limited(body);
  for (const char* body : untyped_errors) check_limited(body);
  for (const char* body : {R"({"status":"ok"})", R"({"status":"ok","result":1})"}) check_limited(body);
}

// ---- Retry-After ---------------------------------------------------------------------------------------------------

namespace {

using wait = std::optional<std::chrono::milliseconds>;

/// retry_after of an answer with these headers.
wait retry_after(nango::headers headers, int status = 429, std::string body = "") {
  const auto got = parse(status, std::move(body), std::move(headers));
  REQUIRE_FALSE(got.has_value());
  return got.error().retry_after;
}
wait retry_after(std::string value) { return retry_after({{"Retry-After", std::move(value)}}); }
wait retry_after_since(std::string date, std::string value) {
  return retry_after({{"Date", std::move(date)}, {"Retry-After", std::move(value)}});
}

// One moment in the three forms of RFC 9110.
const char* const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                             "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 UTC",
                             "Sunday, 06-Nov-94 08:49:37 UTC"};  // UTC is not RFC 9110's, but means the same

}  // namespace

TEST_CASE("an answer without Retry-After names no time") {
  CHECK_FALSE(retry_after(nango::headers()));
  CHECK_FALSE(retry_after({{"Retry", "5"}, {"X-Retry-After", "5"}, {"Retry-After-X", "5"}}));
}

TEST_CASE("Retry-After in seconds") {
  CHECK(retry_after("0") == 0ms);
  CHECK(retry_after("1") == 1s);
  CHECK(retry_after("007") == 7s);
  CHECK(retry_after("120") == 120s);
  CHECK(retry_after("86400") == 24h);
}

TEST_CASE("a fraction of a second in Retry-After is rounded up, and of several numbers the largest counts") {
  CHECK(retry_after("299.997") == 300s);
  CHECK(retry_after("0.001") == 1s);
  CHECK(retry_after("5.000") == 5s);
  CHECK(retry_after("300, 300") == 300s);
  CHECK(retry_after("1,2") == 2s);
  CHECK(retry_after("7 ,\t3.5") == 7s);
  CHECK(retry_after("5,") == 5s);
  CHECK(retry_after("1, 99999999999999999999999999") == 24h * 365);
  CHECK(retry_after("31536000.5") == 24h * 365);
  CHECK(retry_after({{"Retry-After", "3"}, {"retry-after", "30"}, {"Retry-After", "soon"}}) == 30s);
  CHECK(retry_after({{"Retry-After", "soon"}, {"Retry-After", "3"}}) == 3s);
}

TEST_CASE("the name of Retry-After is read in any case, wherever it stands") {
  for (const char* name : {"Retry-After", "retry-after", "RETRY-AFTER"}) {
    CAPTURE(name);
    CHECK(retry_after({{"X-One", "1"}, {name, "7"}, {"X-Two", "2"}}) == 7s);
  }
}

TEST_CASE("Retry-After is read on every error answer") {
  const nango::headers headers = {{"Retry-After", "7"}};
  for (const int status : others) CHECK(retry_after(headers, status, "<html>") == 7s);
  for (const int status : successes) CHECK(retry_after(headers, status, "<html>") == 7s);
  for (const int status : {200, 400, 401, 409, 429, 500, 503}) {
    for (const char* type : {"PARAMS_ERROR", "PROCESSING_ERROR", "AUTH_ERROR", "OTHER"}) {
      CHECK(retry_after(headers, status, error_body(type)) == 7s);
    }
  }
  CHECK(retry_after(headers, 401, "") == 7s);
  CHECK(retry_after(headers, 429, ok("1")) == 7s);
  CHECK(retry_after(headers, 503, ok("1")) == 7s);
}

TEST_CASE("Retry-After that is negative or no number and no HTTP date counts as absent") {
  for (const char* value : {"",    "-1",   "-0", "+1",  "1.",       ".5",  "1.5.5", "1.-5",
                            "1e3", "0x10", "1s", "1 2", "1,-2",     "1:2", "1/",    "soon",
                            "-",   ",",    ".",  "NaN", "\xD9\xA1", "5\n", "Sun",   "tomorrow at 08:49:37 GMT"}) {
    CAPTURE(value);
    CHECK_FALSE(retry_after(value));
  }
  CHECK_FALSE(retry_after("5\0"s));
  CHECK_FALSE(retry_after(std::string(100'000, 'x')));
}

TEST_CASE("an absurdly large Retry-After is a long time, and overflows nothing") {
  for (const char* value : {"4294967296", "9223372036854775", "9223372036854775807", "9223372036854775808",
                            "18446744073709551616", "99999999999999999999999999999999"}) {
    CAPTURE(value);
    CHECK(retry_after(value).value_or(0ms) >= 24h);
  }
  CHECK(retry_after(std::string(100'000, '9')).value_or(0ms) >= 24h);
  // It can be added to a time point: a clock of nanoseconds ends in 292 years.
  constexpr auto century = 24h * 36'525;
  CHECK(retry_after("31535999") == 24h * 365 - 1s);
  CHECK(retry_after("31536001") == 24h * 365);
  CHECK(retry_after(std::string(100'000, '9')).value_or(0ms) < century);
  CHECK(retry_after_since(forms[0], "Fri, 31 Dec 9999 23:59:59 GMT").value_or(0ms) >= 24h);
  CHECK(retry_after_since(forms[0], "Fri, 31 Dec 9999 23:59:59 GMT").value_or(0ms) < century);
}

TEST_CASE("Retry-After as a date is measured from the answer's Date, each in any of the three forms") {
  const char* const later[] = {"Sun, 06 Nov 1994 08:51:40 GMT", "Sunday, 06-Nov-94 08:51:40 GMT",
                               "Sun Nov  6 08:51:40 1994", "Sun, 06 Nov 1994 08:51:40 UTC"};
  for (const char* date : forms) {
    for (const char* value : later) {
      CAPTURE(date);
      CAPTURE(value);
      CHECK(retry_after_since(date, value) == 123s);
    }
  }
  CHECK(retry_after({{"RETRY-AFTER", later[0]}, {"date", forms[0]}}) == 123s);
}

TEST_CASE("a date counts days, months and years as the calendar has them") {
  const auto check_day = [](const char* from, const char* to, std::chrono::seconds apart) {
    CAPTURE(from);
    CHECK(retry_after_since(from, to) == apart);
  };
  check_day("Mon, 28 Feb 2028 23:59:30 GMT", "Wed, 01 Mar 2028 00:00:30 GMT", 24h + 60s);  // a leap year
  check_day("Sun, 28 Feb 2027 23:59:30 GMT", "Mon, 01 Mar 2027 00:00:30 GMT", 60s);
  check_day("Thu, 31 Dec 2026 23:59:59 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", 1s);
  check_day("Thursday, 31-Dec-26 23:59:59 GMT", "Friday, 01-Jan-27 00:00:00 GMT", 1s);
  check_day("Thu Dec 31 23:59:59 2026", "Fri Jan  1 01:02:03 2027", 1h + 2min + 4s);
  check_day("Thu, 31 Dec 2026 23:59:59 GMT", "Friday, 01-Jan-27 00:00:00 GMT", 1s);
  check_day("Thu Dec 31 23:59:59 1998", "Friday, 01-Jan-99 00:00:00 GMT", 1s);
  check_day("Wed, 31 Dec 1969 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:01 GMT", 2s);
  check_day("Thu, 31 Dec 1970 23:59:59 GMT", "Thursday, 31-Dec-70 23:59:59 GMT", 0s);  // two digits from 70 on: 19..
  check_day("Tue, 31 Dec 2069 23:59:58 GMT", "Tuesday, 31-Dec-69 23:59:59 GMT", 1s);   // below: 20..
  check_day("Sat, 31 Dec 2016 23:59:59 GMT", "Sat, 31 Dec 2016 23:59:60 GMT", 1s);     // a leap second
  const char* const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (int month = 1; month < 12; ++month) {
    const auto day = [&](int index) { return "Xxx, 15 " + std::string(months[index]) + " 2027 00:00:00 GMT"; };
    const wait apart = retry_after_since(day(month - 1), day(month));
    const bool is_short = month == 4 || month == 6 || month == 9 || month == 11;
    CHECK(apart == 24h * (month == 2 ? 28 : is_short ? 30 : 31));
  }
}

TEST_CASE("a date in the past means no wait") {
  CHECK(retry_after_since("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT") == 0ms);
  CHECK(retry_after_since("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT") == 0ms);
  CHECK(retry_after_since("Sun, 06 Nov 1994 08:49:37 GMT", "Sat, 06 Nov 1993 08:49:37 GMT") == 0ms);
  CHECK(retry_after_since("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT") == 0ms);
}

TEST_CASE("a date is measured from the system's clock where the answer's Date is missing or cannot be read") {
  const std::string long_past = forms[0], far_off = "Fri, 31 Dec 9999 23:59:59 GMT";
  CHECK(retry_after(long_past) == 0ms);
  CHECK(retry_after(far_off).value_or(0ms) >= 24h);
  for (const char* date : {"", "yesterday", "5", "Sun, 31 Feb 1994 08:49:37 GMT"}) {
    CAPTURE(date);
    CHECK(retry_after_since(date, long_past) == 0ms);
    CHECK(retry_after_since(date, far_off).value_or(0ms) >= 24h);
  }
  // Seconds need no reference.
  CHECK(retry_after_since(far_off, "5") == 5s);
}

TEST_CASE("an invalid date counts as absent") {
  for (const char* value : {"Sun, 31 Feb 1994 08:49:37 GMT",
                            "Sun, 00 Nov 1994 08:49:37 GMT",
                            "Sun, 32 Nov 1994 08:49:37 GMT",
                            "Mon, 29 Feb 2027 08:49:37 GMT",
                            "Sun, 06 Xxx 1994 08:49:37 GMT",
                            "Sun, 06 anF 1994 08:49:37 GMT",
                            "Sun, 06 Nov 1994 24:49:37 GMT",
                            "Sun, 06 Nov 1994 08:60:37 GMT",
                            "Sun, 06 Nov 1994 08:49:61 GMT",
                            "Sun, 06 Nov 1994 -1:49:37 GMT",
                            "Sun, 06 Nov 1994 08:-1:37 GMT",
                            "Sun, 06 Nov 1994 08:49:-1 GMT",
                            "Sun, 06 No 1994 08:49:37 GMT",
                            "Sun, 06 Nove 1994 08:49:37 GMT",
                            "Sund, 06 Nov 1994 08:49:37 GMT",
                            "Sunday, 06-Nove-94 08:49:37 GMT",
                            "Sun Nove  6 08:49:37 1994",
                            "Sund Nov  6 08:49:37 1994",
                            "Sun, 06 Nov 1994 08:49:37",
                            "Sun, 06 Nov 1994 08:49:37 CET",
                            "Sun, 06 Nov 1994 08:49:37 +0000",
                            "Sun, 06 Nov 1994 08:49:37 GMT and more",
                            "Sun, 06 Nov 1994 08:49 GMT",
                            "Sun, 06 Nov 1994",
                            "06 Nov 1994 08:49:37 GMT",
                            "Sunday, 06-Nov-94 08:49:37",
                            "Sunday, 06-Nov-94 08:49:37 CET",
                            "Sunday, 31-Feb-94 08:49:37 GMT",
                            "Sun Nov 31 08:49:37 1994",
                            "Sun Nov  6 08:49:37 1994 GMT",
                            "Sun Nov  6 08:49:37 1994 UTC",
                            "Sun, 06 Nov 1994 08:49:37UTC",
                            "1994-11-06T08:49:37Z",
                            "784111777 GMT"}) {
    CAPTURE(value);
    CHECK_FALSE(retry_after_since(forms[0], value));
  }
  CHECK_FALSE(retry_after_since(forms[0], "Sun, 06 Nov 1994 08:51:40 GMT\0"s));
}

TEST_CASE("a date with a digit too many is invalid") {
  for (const std::string date :
       {"Wed, 16 Nov 1994 08:49:37 GMT", "Wednesday, 16-Nov-94 08:49:37 GMT", "Wed Nov 16 08:49:37 1994"}) {
    CHECK(retry_after_since(date, date) == 0ms);
    for (std::size_t at = 1; at < date.size(); ++at) {
      const auto is_digit = [&](std::size_t i) { return date[i] >= '0' && date[i] <= '9'; };
      if (!is_digit(at) || is_digit(at - 1)) continue;
      const std::string longer = std::string(date).insert(at, "0");
      CAPTURE(longer);
      CHECK_FALSE(retry_after_since(date, longer));
    }
  }
}

}  // namespace envelope_tests
