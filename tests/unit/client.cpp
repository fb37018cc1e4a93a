// Client: the calls, what they send, what they give back, and the handles that share a client.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <limits>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "environment.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

// One that has no default constructor: nlohmann/json makes it by a serializer that returns it.
struct client_test_id {
  explicit client_test_id(int n) : number(n) {}
  int number;
};
template <> struct nlohmann::adl_serializer<client_test_id> {
  static client_test_id from_json(const nango::json& from) { return client_test_id(from.get<int>()); }
};

namespace client_tests {

namespace {

using nango::errc;
using nango::json;
using nango_test::scripted_backend;
using nango_test::test_options;
using test_client = nango::basic_client<scripted_backend, nango::unlimited>;

// A client and the script behind it.
struct fixture {
  scripted_backend backend{};
  test_client api{test_options(), backend};

  nango_test::seen_request only() const {
    REQUIRE(backend.calls() == 1);
    return backend.last();
  }
  std::size_t calls() const { return backend.calls(); }
};

template <class Result> void check_refused(const Result& refused) {
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::invalid_argument);
  CHECK(refused.error().attempts == 0);
  CHECK(refused.error().http_status == 0);
  CHECK_FALSE(refused.error().may_have_executed);
  CHECK_FALSE(refused.error().message.empty());
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// A type of the user's own, with a conversion that may throw.
struct contact {
  std::string name{};
  int age = 0;
};
void from_json(const json& from, contact& to) {
  to.name = from.at("name").get<std::string>();
  to.age = from.at("age").get<int>();
  if (to.age < 0) throw std::domain_error("an age below zero");
  if (to.age > 200) throw to.age;  // what is no std::exception
}
void to_json(json& to, const contact& from) {
  if (from.name.empty()) throw std::domain_error("a contact without a name");
  to = {{"name", from.name}, {"age", from.age}};
}

}  // namespace

// --- The calls ---

TEST_CASE("get and del send their method, the URL with the query, and no body") {
  fixture f;
  f.backend.ok("done").ok("done");
  const auto check = [&](const std::string& method, const nango::result<json>& got) {
    CAPTURE(method);
    REQUIRE(got);
    CHECK(*got == "done");
    CHECK(f.backend.last().method == method);
    CHECK(f.backend.last().url == "https://api.example.com/v1/crm/contacts/7?name=Rolf&include_raw=true&n=5");
    CHECK(f.backend.last().body.empty());
  };
  const nango::query parameters{{"name", "Rolf"}, {"include_raw", true}, {"n", 5}};
  check("GET", f.api.get("crm/contacts/7", parameters));
  check("DELETE", f.api.del("crm/contacts/7", parameters));
  CHECK(f.calls() == 2);
}

TEST_CASE("post, put and patch send their method, the URL and the JSON body") {
  fixture f;
  f.backend.ok("done").ok("done").ok("done");
  const auto check = [&](const std::string& method, const nango::result<json>& got) {
    CAPTURE(method);
    REQUIRE(got);
    CHECK(*got == "done");
    CHECK(f.backend.last().method == method);
    CHECK(f.backend.last().url == "https://api.example.com/v1/crm/contacts");
    CHECK(f.backend.last().body == R"({"name":"Rolf"})");
  };
  const json body{{"name", "Rolf"}};
  check("POST", f.api.post("crm/contacts", body));
  check("PUT", f.api.put("/crm/contacts", {{"name", "Rolf"}}));
  check("PATCH", f.api.patch("crm/contacts", std::map<std::string, std::string>{{"name", "Rolf"}}));
  CHECK(f.calls() == 3);
}

TEST_CASE("request sends any method with a query and gives result, status, headers and attempts") {
  fixture f;
  f.backend.answer(201, R"({"status":"ok","result":[1,2]})", {{"X-Trace", "t1"}});
  const auto got = f.api.request("PURGE", "crm/contacts", {{"a", "b c"}});
  REQUIRE(got);
  CHECK(got->result == json{1, 2});
  CHECK(got->http_status == 201);
  CHECK(got->attempts == 1);
  REQUIRE(got->headers.size() == 1);
  CHECK(got->headers[0].value == "t1");
  CHECK(f.only().method == "PURGE");
  CHECK(f.only().url == "https://api.example.com/v1/crm/contacts?a=b%20c");
  CHECK(f.only().body.empty());
}

TEST_CASE("request_json sends any method with a body and a query") {
  fixture f;
  f.backend.ok(3);
  const auto got = f.api.request_json("DELETE", "crm/contacts", {{"ids", {1, 2}}}, {{"dry", true}});
  REQUIRE(got);
  CHECK(got->result == 3);
  CHECK(got->http_status == 200);
  CHECK(f.only().method == "DELETE");
  CHECK(f.only().url == "https://api.example.com/v1/crm/contacts?dry=true");
  CHECK(f.only().body == R"({"ids":[1,2]})");
}

TEST_CASE("a body of braces is null, and so is nullptr") {
  fixture f;
  f.backend.ok().ok().ok().ok().ok();
  const auto check = [&](bool sent) {
    CHECK(sent);
    CHECK(f.backend.last().body == "null");
  };
  check(f.api.post("x", {}).has_value());
  check(f.api.put("x", {}).has_value());
  check(f.api.patch("x", {}).has_value());
  check(f.api.request_json("POST", "x", {}).has_value());
  check(f.api.post("x", nullptr).has_value());
}

TEST_CASE("a body may be anything that makes JSON: numbers, containers, types with to_json, JSON texts made explicit") {
  fixture f;
  const auto sent = [&](const nango::result<json>& got) {
    CHECK(got);
    return f.backend.last().body;
  };
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 204};
  });
  CHECK(sent(f.api.post("x", 5)) == "5");
  CHECK(sent(f.api.post("x", true)) == "true");
  CHECK(sent(f.api.put("x", std::vector<int>{1, 2})) == "[1,2]");
  CHECK(sent(f.api.patch("x", contact{"Rolf", 41})) == R"({"age":41,"name":"Rolf"})");
  CHECK(sent(f.api.post("x", json("text"))) == "\"text\"");
  CHECK(sent(f.api.post("x", json::parse("[null]"))) == "[null]");
  CHECK(sent(f.api.post("x", json{{"text", "ü"}})) == "{\"text\":\"ü\"}");
}

// A text would be sent as a JSON string, which nobody wants who gives the text of an object.
template <class Body>
constexpr bool post_takes = requires(const test_client& c, const Body& body) { c.post("x", body); };
template <class Body> constexpr bool put_takes = requires(const test_client& c, const Body& body) { c.put("x", body); };
template <class Body>
constexpr bool patch_takes = requires(const test_client& c, const Body& body) { c.patch("x", body); };
template <class Body>
constexpr bool request_json_takes =
    requires(const test_client& c, const Body& body) { c.request_json("POST", "x", body); };
template <class Body>
constexpr bool any_takes =
    post_takes<Body> || put_takes<Body> || patch_takes<Body> || request_json_takes<Body> || nango::json_body<Body>;
template <class Body>
constexpr bool all_take = post_takes<Body> && put_takes<Body> && patch_takes<Body> && request_json_takes<Body>;

TEST_CASE("a text as a body does not compile") {
  static_assert(!any_takes<const char*> && !any_takes<char*> && !any_takes<char[3]>);
  static_assert(!any_takes<std::string> && !any_takes<std::string_view>);
  static_assert(all_take<json> && all_take<int> && all_take<contact> && all_take<std::vector<std::string>>);
  CHECK(true);
}

TEST_CASE("a body that is not UTF-8 is refused and nothing is sent") {
  fixture f;
  const json body{{"name", "\xff\xfe"}};
  check_refused(f.api.post("x", body));
  check_refused(f.api.put("x", body));
  check_refused(f.api.patch("x", body));
  check_refused(f.api.request_json("POST", "x", body));
  CHECK(contains(f.api.post("x", body).error().message, "UTF-8"));
  CHECK(f.calls() == 0);
}

TEST_CASE("a number that is not finite, anywhere in a body, is refused and nothing is sent") {
  fixture f;
  for (const double number : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity()}) {
    for (const json& body : {json(number), json{1, number}, json{{"a", {1, {{"b", number}}}}}}) {
      check_refused(f.api.post("x", body));
      check_refused(f.api.request_json("PUT", "x", body));
    }
    check_refused(f.api.post("x", std::vector<double>{1, number}));
    check_refused(f.api.post("x", nango::crm::opportunity{.id = "1", .amount = number}));
    CHECK(contains(f.api.post("x", number).error().message, "not finite"));
  }
  CHECK(f.calls() == 0);
  f.backend.ok();
  CHECK(f.api.post("x", {{"a", std::numeric_limits<double>::max()}, {"b", {nullptr, true, "NaN"}}}));
}

TEST_CASE("a body whose to_json throws is refused and nothing is sent") {
  fixture f;
  const auto refused = f.api.post("x", contact{});
  check_refused(refused);
  CHECK(contains(refused.error().message, "a contact without a name"));
  CHECK(f.calls() == 0);
}

TEST_CASE("a path that is refused sends nothing, whatever the call") {
  fixture f;
  for (const std::string path :
       {"", "/", "a//b", "https://evil.example/x", "a?b=c", "a#b", "a/../b", "%2e%2e/a", "a\nb"}) {
    CAPTURE(path);
    check_refused(f.api.get(path));
    check_refused(f.api.del(path));
    check_refused(f.api.post(path, {}));
    check_refused(f.api.request("GET", path));
    check_refused(f.api.send("GET", path));
  }
  CHECK(f.calls() == 0);
}

TEST_CASE("HEAD is refused by request, and the message names send") {
  fixture f;
  for (const auto& refused : {f.api.request("HEAD", "x"), f.api.request_json("HEAD", "x", 1)}) {
    check_refused(refused);
    CHECK(contains(refused.error().message, "send"));
  }
  CHECK(f.calls() == 0);
}

TEST_CASE("CONNECT is refused, and the message says why") {
  fixture f;
  check_refused(f.api.request("CONNECT", "x"));
  check_refused(f.api.request_json("CONNECT", "x", 1));
  const auto refused = f.api.send("CONNECT", "x");
  check_refused(refused);
  CHECK(contains(refused.error().message, "tunnels"));
  CHECK(f.calls() == 0);
}

TEST_CASE("a method must be a token in upper case") {
  fixture f;
  const std::string with_nul("GE\0T", 4);
  for (const std::string& method :
       {std::string(), std::string("get"), std::string("Get"), std::string("GET "), std::string("GE T"),
        std::string("GET\r\n"), with_nul, std::string("GET/"), std::string("G\xc3\x89T"), std::string("head"),
        std::string("GETa"), std::string("zGET")}) {
    CAPTURE(method);
    check_refused(f.api.request(method, "x"));
    check_refused(f.api.request_json(method, "x", 1));
    check_refused(f.api.send(method, "x"));
  }
  CHECK(f.calls() == 0);
  f.backend.ok().ok().ok();
  for (const std::string method : {"GET", "M-SEARCH", "X1"}) {
    CAPTURE(method);
    CHECK(f.api.request(method, "x"));
    CHECK(f.backend.last().method == method);
  }
}

// --- What comes back ---

TEST_CASE("a result is decoded to the type asked for") {
  fixture f;
  const auto answer = [&](json result) -> const test_client& {
    f.backend.ok(std::move(result));
    return f.api;
  };
  CHECK(answer(7).get<int>("x").value() == 7);
  CHECK(answer("text").post<std::string>("x", {}).value() == "text");
  CHECK(answer({1, 2}).put<std::vector<int>>("x", {}).value() == std::vector<int>{1, 2});
  CHECK(answer(true).patch<bool>("x", {}).value());
  CHECK(answer({{"a", 1}}).del<std::map<std::string, int>>("x").value().at("a") == 1);
  CHECK(answer(nullptr).get("x").value().is_null());
  static_assert(std::same_as<decltype(f.api.get("x")), nango::result<json>>);
}

namespace {

// How a JSON number is decoded as an integer of that type; nothing: decode_error.
template <class Integer> std::optional<Integer> decoded(const std::string& number) {
  fixture f;
  f.backend.answer(200, R"({"status":"ok","result":)" + number + '}');
  const auto got = f.api.get<Integer>("x");
  if (got) return *got;
  CHECK(got.error().code == errc::decode_error);
  CHECK(got.error().http_status == 200);
  CHECK(got.error().attempts == 1);
  CHECK(contains(got.error().message, "does not fit"));
  return std::nullopt;
}

// The numbers around the bounds of a type, by themselves and as what JSON makes of a fraction or an exponent.
template <class Integer> void check_bounds(const char* below, const char* least, const char* most, const char* above) {
  using limits = std::numeric_limits<Integer>;
  CHECK(decoded<Integer>(below) == std::nullopt);
  CHECK(decoded<Integer>(least) == limits::min());
  CHECK(decoded<Integer>(most) == limits::max());
  CHECK(decoded<Integer>(above) == std::nullopt);
  for (const char* number : {"1e300", "-1e300", "1e20", "-1e20", "0.5", "1e-300"}) {
    CAPTURE(number);
    CHECK(decoded<Integer>(number) == std::nullopt);
  }
  CHECK(decoded<Integer>("7.0") == Integer{7});
  CHECK(decoded<Integer>("1e2") == Integer{100});
}

}  // namespace

TEST_CASE("a number that does not fit the integer asked for is a decode_error") {
  CHECK(decoded<int>("3000000000") == std::nullopt);
  check_bounds<signed char>("-129", "-128", "127", "128");
  check_bounds<unsigned char>("-1", "0", "255", "256");
  check_bounds<short>("-32769", "-32768", "32767", "32768");
  check_bounds<int>("-2147483649", "-2147483648", "2147483647", "2147483648");
  check_bounds<unsigned>("-1", "0", "4294967295", "4294967296");
  check_bounds<std::int64_t>("-9223372036854777856", "-9223372036854775808", "9223372036854775807",
                             "9223372036854775808");
  check_bounds<std::uint64_t>("-1", "0", "18446744073709551615", "18446744073709551616");
  CHECK(decoded<std::int64_t>("9223372036854775808.0") == std::nullopt);  // 2^63, which double has
  CHECK(decoded<std::int64_t>("-9223372036854775808.0") == std::numeric_limits<std::int64_t>::min());
  CHECK(decoded<std::uint64_t>("18446744073709551616.0") == std::nullopt);
  fixture f;
  f.backend.ok(true).ok(2.5).ok(1e300);
  CHECK(f.api.get<bool>("x").value());
  CHECK(f.api.get<double>("x").value() == 2.5);
  CHECK(f.api.post<double>("x", {}).value() == 1e300);
}

TEST_CASE("a number that the dialect computed fits or not like one that was parsed") {
  auto options = test_options();
  options.dialect.parse = [](nango::http_response) -> nango::result<nango::response> {
    return nango::response{.result = 300};  // of a signed type, as json::parse makes them of numbers below 0 only
  };
  const test_client api(options, scripted_backend().ok({}).ok({}).ok({}).ok({}));
  CHECK(api.get<int>("x").value() == 300);
  CHECK(api.get<unsigned>("x").value() == 300);
  CHECK_FALSE(api.get<signed char>("x"));
  CHECK_FALSE(api.get<unsigned char>("x"));
}

TEST_CASE("a result is decoded by the from_json of a type of the user's own") {
  fixture f;
  f.backend.ok({{"name", "Rolf"}, {"age", 41}}).ok({{{"name", "A"}, {"age", 1}}, {{"name", "B"}, {"age", 2}}});
  const auto one = f.api.get<contact>("x");
  REQUIRE(one);
  CHECK(one->name == "Rolf");
  CHECK(one->age == 41);
  const auto many = f.api.get<std::vector<contact>>("x");
  REQUIRE(many);
  REQUIRE(many->size() == 2);
  CHECK(many->back().name == "B");
}

TEST_CASE("a result is decoded to a type without a default constructor") {
  fixture f;
  f.backend.ok(7).ok("seven");
  CHECK(f.api.get<client_test_id>("x").value().number == 7);
  const auto e = f.api.get<client_test_id>("x").error();
  CHECK(e.code == errc::decode_error);
  CHECK_MESSAGE(e.message.starts_with("result is not of the type asked for: "), e.message);
}

TEST_CASE("a result of another type is a decode_error that tells status and attempts") {
  fixture f;
  const auto check = [&](const auto& got) {
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code == errc::decode_error);
    CHECK(got.error().http_status == 200);
    CHECK(got.error().attempts == 1);
    CHECK(got.error().may_have_executed);
    CHECK_FALSE(got.error().message.empty());
    return got.error().message;
  };
  f.backend.ok("seven");
  check(f.api.get<int>("x"));
  f.backend.ok(nullptr);
  check(f.api.post<std::string>("x", {}));
  f.backend.ok({{"name", "Rolf"}});
  CHECK(contains(check(f.api.get<contact>("x")), "age"));
  f.backend.ok({{"name", "Rolf"}, {"age", -1}});
  CHECK(contains(check(f.api.get<contact>("x")), "an age below zero"));
}

TEST_CASE("a from_json's exception that is not a std::exception propagates, and the next call works") {
  fixture f;
  f.backend.ok({{"name", "Rolf"}, {"age", 201}}).ok(1);
  CHECK_THROWS_AS(static_cast<void>(f.api.get<contact>("x")), int);
  CHECK(f.api.get<int>("x").value() == 1);
}

TEST_CASE("void as the type ignores the result but not the error") {
  fixture f;
  f.backend.ok({{"any", "thing"}}).ok(1).answer(400, R"({"status":"error","error_type":"PARAMS_ERROR"})");
  static_assert(std::same_as<decltype(f.api.get<void>("x")), nango::result<void>>);
  CHECK(f.api.get<void>("x"));
  CHECK(f.api.post<void>("x", {}));
  const auto failed = f.api.del<void>("x");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::params_error);
}

TEST_CASE("an error of the API comes out with its type, message, status and one attempt") {
  fixture f;
  f.backend.answer(401, R"({"status":"error","error_type":"AUTH_ERROR","error_msg":"unknown key"})");
  const auto failed = f.api.get("x");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::auth_error);
  CHECK(failed.error().type == "AUTH_ERROR");
  CHECK(failed.error().message == "unknown key");
  CHECK(failed.error().http_status == 401);
  CHECK(failed.error().attempts == 1);
  CHECK_FALSE(failed.error().may_have_executed);
}

TEST_CASE("an error of the backend comes out as it is, with the attempts counted and a message of one line") {
  fixture f;
  f.backend.fail({.code = errc::tls_failed, .message = "wrong\r\nhost", .attempts = 9, .may_have_executed = false});
  const auto failed = f.api.get("x");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::tls_failed);
  CHECK(failed.error().message.starts_with("wrong"));
  CHECK(failed.error().message.find_first_of("\r\n") == std::string::npos);
  CHECK(failed.error().attempts == 1);
  CHECK_FALSE(failed.error().may_have_executed);
  f.backend.fail({.code = errc::tls_failed});
  CHECK_FALSE(f.api.get("x").error().message.empty());
}

TEST_CASE("an error_type of several lines becomes one line") {
  fixture f;
  f.backend.answer(400, R"({"status":"error","error_type":"NEW\r\nforged","error_msg":"x"})");
  CHECK(f.api.get("x").error().type == "NEW  forged");
}

TEST_CASE("without may_have_executed from the backend, the worst case is assumed") {
  fixture f;
  f.backend.fail({.code = errc::connection_failed, .message = "reset"});
  const auto failed = f.api.post("x", {});
  REQUIRE_FALSE(failed);
  CHECK(failed.error().may_have_executed);
  CHECK(f.calls() == 1);
}

TEST_CASE("a backend's exception propagates, and the next call works") {
  fixture f;
  f.backend.then([](const nango::http_request&) -> nango::result<nango::http_response> { throw 7; }).ok(1);
  CHECK_THROWS_AS(static_cast<void>(f.api.get("x")), int);
  CHECK(f.api.get<int>("x").value() == 1);
}

TEST_CASE("a body above max_response_bytes is response_too_large, whatever the backend does") {
  scripted_backend backend;
  auto options = test_options();
  options.max_response_bytes = 40;
  const test_client api(options, backend);
  const std::string fits = R"({"status":"ok","result":")" + std::string(13, 'x') + R"("})";
  REQUIRE(fits.size() == 40);
  backend.answer(200, fits).answer(200, fits + " ").answer(200, fits).answer(500, fits + " ");
  CHECK(api.get("x"));
  CHECK(backend.last().max_response_bytes == 40);
  const auto check = [&](const auto& failed, int status) {
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == errc::response_too_large);
    CHECK(failed.error().http_status == status);
    CHECK(failed.error().attempts == 1);
    CHECK(failed.error().may_have_executed);
    CHECK(failed.error().body == fits + " ");
  };
  check(api.get("x"), 200);
  CHECK(api.send("GET", "x"));
  check(api.send("GET", "x"), 500);
  CHECK(backend.calls() == 4);  // none of them was tried again
}

// --- send ---

TEST_CASE("send gives the answer as it came, whatever its status, and does not try again") {
  fixture f;
  for (const int status : {200, 204, 301, 400, 401, 404, 500, 503}) {
    CAPTURE(status);
    f.backend.answer(status, "\x01 raw \xff", {{"X-One", "1"}, {"X-One", "2"}});
    const auto got = f.api.send("GET", "files/1");
    REQUIRE(got);
    CHECK(got->status == status);
    CHECK(got->body == "\x01 raw \xff");
    REQUIRE(got->headers.size() == 2);
    CHECK(got->headers[1].value == "2");
  }
  CHECK(f.calls() == 8);
}

TEST_CASE("send takes method, path, query, body and content type") {
  fixture f;
  f.backend.answer(200, "").answer(200, "").answer(200, "");
  CHECK(f.api.send("POST", "files", {{"name", "a/b"}}, "a,b\r\n", "text/csv"));
  CHECK(f.backend.last().method == "POST");
  CHECK(f.backend.last().url == "https://api.example.com/v1/files?name=a%2Fb");
  CHECK(f.backend.last().body == "a,b\r\n");
  CHECK(f.backend.last().header("Content-Type") == "text/csv");
  CHECK(f.api.send("POST", "files", {}, "{}"));
  CHECK(f.backend.last().header("Content-Type") == "application/json");
  CHECK(f.api.send("HEAD", "files"));
  CHECK(f.backend.last().method == "HEAD");
  CHECK(f.backend.last().count("Content-Type") == 0);
}

TEST_CASE("send: a 429 is rate_limited, also where the dialect would read it otherwise") {
  auto options = test_options();
  options.retry.max_attempts = 1;
  options.dialect.parse = [](nango::http_response answer) -> nango::result<nango::response> {
    return nango::response{.http_status = answer.status};
  };
  scripted_backend backend;
  backend.answer(429, "");
  CHECK(test_client(options, backend).send("GET", "x").error().code == errc::rate_limited);
}

TEST_CASE("send refuses a content type that is empty or has control characters") {
  fixture f;
  for (const std::string& type : {std::string(), std::string("text/csv\r\nX-Evil: 1"), std::string("text/\0csv", 9)}) {
    CAPTURE(type);
    check_refused(f.api.send("POST", "x", {}, "body", type));
  }
  CHECK(f.calls() == 0);
}

TEST_CASE("send gives the errors of the backend") {
  fixture f;
  f.backend.fail({.code = errc::tls_failed, .message = "wrong host", .may_have_executed = false});
  const auto failed = f.api.send("GET", "x");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::tls_failed);
  CHECK(failed.error().attempts == 1);
}

// --- A parse function of the user's own ---

namespace {

nango::result<nango::response> parse_bare(nango::http_response answer) {
  if (answer.status >= 400) return nango::error{.code = errc::api_error, .type = "bare", .message = answer.body};
  return nango::response{.result = json::parse(answer.body), .http_status = answer.status, .headers = answer.headers};
}

}  // namespace

TEST_CASE("a custom parse decides what an answer means") {
  scripted_backend backend;
  auto options = test_options();
  options.dialect.parse = &parse_bare;
  const test_client api(options, backend);
  backend.answer(200, "[1]", {{"X-One", "1"}}).answer(418, "no coffee").answer(418, "no coffee");
  const auto got = api.request("GET", "x");
  REQUIRE(got);
  CHECK(got->result == json{1});
  CHECK(got->headers.size() == 1);
  CHECK(got->attempts == 1);
  const auto failed = api.get("x");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::api_error);
  CHECK(failed.error().type == "bare");
  CHECK(failed.error().message == "no coffee");
  CHECK(failed.error().http_status == 418);  // filled in where the function leaves it out
  CHECK(failed.error().attempts == 1);
  CHECK(api.send("GET", "x"));  // does not ask it
}

TEST_CASE("the status that a parse function reports stays as it is") {
  scripted_backend backend;
  auto options = test_options();
  options.dialect.parse = [](nango::http_response) -> nango::result<nango::response> {
    return nango::error{.code = errc::api_error, .http_status = 409, .message = "said in the body"};
  };
  backend.answer(200, "");
  CHECK(test_client(options, backend).get("x").error().http_status == 409);
}

// --- Handles ---

TEST_CASE("user gives a handle that names its user, and leaves the client as it is") {
  fixture f;
  f.backend.ok().ok().ok();
  const auto rolf = f.api.user("rolf");
  CHECK(rolf.get("x"));
  CHECK(f.backend.last().header("X-User-Account") == "rolf");
  CHECK(rolf.limit_key() == "rolf");
  CHECK(f.api.get("x"));
  CHECK(f.backend.last().count("X-User-Account") == 0);
  CHECK(f.api.limit_key().empty());
  CHECK(rolf.user("anna").get("x"));  // another user, not a second one
  CHECK(f.backend.last().count("X-User-Account") == 1);
  CHECK(f.backend.last().header("X-User-Account") == "anna");
}

TEST_CASE("user_token makes every call one of that user, and user replaces it") {
  scripted_backend backend;
  backend.ok().ok().ok();
  auto options = test_options();
  options.user_token = "rolf";
  options.limit_key = "not used with a user token";
  const test_client api(options, backend);
  CHECK(api.limit_key() == "rolf");
  CHECK(api.get("x"));
  CHECK(backend.last().header("X-User-Account") == "rolf");
  CHECK(api.user("anna").get("x"));
  CHECK(backend.last().count("X-User-Account") == 1);
  CHECK(backend.last().header("X-User-Account") == "anna");
  CHECK(api.as({}).limit_key().empty());
  CHECK(api.as({}).get("x"));
  CHECK(backend.last().count("X-User-Account") == 0);
}

TEST_CASE("the option limit_key counts the calls without a user token") {
  auto options = test_options();
  options.limit_key = "account:1";
  const test_client api(options, scripted_backend());
  CHECK(api.limit_key() == "account:1");
  CHECK(api.user("rolf").limit_key() == "rolf");
}

TEST_CASE("as gives a handle with headers and a limit key of its own") {
  fixture f;
  f.backend.ok().ok();
  const auto handle = f.api.as({{{"Connection-Id", "c1"}, {"Provider-Config-Key", "hubspot"}}, "account"});
  CHECK(handle.limit_key() == "account");
  CHECK(handle.get("x"));
  CHECK(f.backend.last().header("Connection-Id") == "c1");
  CHECK(f.backend.last().header("Provider-Config-Key") == "hubspot");
  CHECK(f.backend.last().count("X-User-Account") == 0);
  CHECK(f.backend.last().header("Authorization") == "Bearer secret-test-key-0123456789");
  CHECK(f.api.as({{{"X-User-Account", "rolf"}}, "rolf"}).get("x"));
  CHECK(f.backend.last().header("X-User-Account") == "rolf");
}

TEST_CASE("a bad user token makes each call of its handle invalid_argument, and no other call") {
  fixture f;
  const std::string with_nul("ro\0lf", 5);
  for (const std::string& token : {std::string(), std::string("ro\r\nlf"), std::string("rolf\n"), with_nul,
                                   std::string("\trolf"), std::string("rolf\x7f")}) {
    CAPTURE(token);
    const auto handle = f.api.user(token);
    check_refused(handle.get("x"));
    check_refused(handle.get("x"));
    check_refused(handle.post("x", {}));
    check_refused(handle.request("GET", "x"));
    check_refused(handle.send("GET", "x"));
  }
  CHECK(f.calls() == 0);
  f.backend.ok().ok();
  CHECK(f.api.get("x"));
  CHECK(f.api.user("").user("rolf").get("x"));
}

TEST_CASE("copies and moved-to handles work, and so do those that were copied and moved from") {
  fixture f;
  f.backend.ok().ok().ok().ok();
  auto first = f.api.user("rolf");
  auto second = first;
  auto third = std::move(first);
  CHECK(second.get("x"));
  CHECK(third.get("x"));
  CHECK(first.get("x"));  // NOLINT(bugprone-use-after-move): that is the promise
  CHECK(first.limit_key() == "rolf");
  second = f.api.user("anna");
  third = std::move(second);
  CHECK(third.limit_key() == "anna");
  CHECK(second.limit_key() == "anna");  // NOLINT(bugprone-use-after-move)
  CHECK(second.get("x"));
  CHECK(f.backend.last().header("X-User-Account") == "anna");
}

TEST_CASE("a handle outlives the client that it came from") {
  scripted_backend backend;
  backend.ok(1);
  std::optional<test_client> api(std::in_place, test_options(), backend);
  const auto handle = api->user("rolf");
  api.reset();
  CHECK(handle.get<int>("x").value() == 1);
  CHECK(backend.last().header("Authorization") == "Bearer secret-test-key-0123456789");
}

TEST_CASE("arguments of a client and a handle need not outlive the call") {
  scripted_backend backend;
  backend.ok();
  const auto handle = [&] {
    const std::string token("a token that is too long for a short string's own place");
    const std::string url("https://api.example.com/with/a/path/that/is/long/enough/");
    nango::client_options options{.api_key = std::string(60, 'k'), .base_url = url};
    return test_client(options, backend).user(token);
  }();
  CHECK(handle.get("x"));
  CHECK(backend.last().url == "https://api.example.com/with/a/path/that/is/long/enough/x");
  CHECK(backend.last().header("Authorization") == "Bearer " + std::string(60, 'k'));
  CHECK(backend.last().header("X-User-Account") == "a token that is too long for a short string's own place");
}

// --- Many threads ---

namespace {

// Answers with the user token of the request, at once and without a script.
struct echo_backend {
  nango::result<nango::http_response> send(const nango::http_request& request) {
    const auto& fields = request.headers;
    const auto user = std::find_if(fields.begin(), fields.end(),
                                   [](const nango::header& field) { return field.name == "X-User-Account"; });
    const json result = user == fields.end() ? json() : json(user->value);
    return nango::http_response{.status = 200, .body = json{{"status", "ok"}, {"result", result}}.dump()};
  }
};

// Counts the calls of 8 threads over copies of one client that came back with their own token.
template <class Client> int calls_that_fit(const Client& api) {
  constexpr int threads = 8;
  constexpr int calls = 50;
  std::array<int, threads> fitting{};
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([copy = api, token = "user" + std::to_string(i), &count = fitting[i]] {
      for (int call = 0; call < calls; ++call) {
        const auto own = copy.user(token).template get<std::string>("x", {{"n", call}});
        const auto shared = copy.post("x", {{"n", call}});
        count += own && *own == token && shared && shared->is_null() ? 1 : 0;
      }
    });
  }
  for (auto& thread : running) thread.join();
  int sum = 0;
  for (const int count : fitting) sum += count;
  return sum;
}

}  // namespace

TEST_CASE("copies of a client are used by many threads at once") {
  auto options = test_options();
  options.rate = {.requests = 1'000'000};
  std::atomic<int> observed{0};
  options.on_attempt = [&](const nango::attempt& seen) { observed += seen.outcome ? 0 : 1; };
  SUBCASE("without a limit") {
    CHECK(calls_that_fit(nango::basic_client<echo_backend, nango::unlimited>(options, {})) == 400);
  }
  SUBCASE("with the default limiter") { CHECK(calls_that_fit(nango::basic_client<echo_backend>(options, {})) == 400); }
  CHECK(observed == 800);
}

TEST_CASE("one handle is used by many threads at once") {
  const nango::basic_client<echo_backend> api(test_options(), {}, nango::sliding_window({.requests = 1'000'000}));
  const auto rolf = api.user("rolf");
  std::atomic<int> fitting{0};
  std::vector<std::thread> running;
  for (int i = 0; i < 8; ++i) {
    running.emplace_back([&] {
      for (int call = 0; call < 50; ++call) fitting += rolf.get("x").value_or(json()) == "rolf" ? 1 : 0;
    });
  }
  for (auto& thread : running) thread.join();
  CHECK(fitting == 400);
}

// --- Backends that the client builds ---

namespace {

using backend_options = const nango::client_options&;
nango::result<nango::http_response> answer_null(const nango::http_request&) {
  return nango::http_response{.status = 204};
}

// Built by its constructor, from the options.
struct built_backend {
  explicit built_backend(backend_options options) : key(options.api_key), url(options.base_url) {}
  nango::result<nango::http_response> send(const nango::http_request&) {
    return nango::http_response{.status = 200, .body = R"({"status":"ok","result":")" + url + "\"}"};
  }
  std::string key, url;
};

// Refuses in its constructor.
struct throwing_backend {
  explicit throwing_backend(backend_options) {
    throw nango::exception({.code = errc::tls_failed, .message = "no authorities", .may_have_executed = false});
  }
  nango::result<nango::http_response> send(const nango::http_request& request) { return answer_null(request); }
};

// Has a create(), which is preferred to its constructor.
struct created_backend {
  explicit created_backend(backend_options) { throw std::logic_error("create() is there"); }
  static nango::result<created_backend> create(backend_options options) {
    if (options.ca_file.empty()) return created_backend();
    return nango::error{.code = errc::invalid_argument, .message = "ca_file is bad", .may_have_executed = false};
  }
  nango::result<nango::http_response> send(const nango::http_request& request) { return answer_null(request); }

 private:
  created_backend() = default;
};

}  // namespace

TEST_CASE("a backend is built from the options when none is handed in") {
  using api_type = nango::basic_client<built_backend, nango::unlimited>;
  const api_type thrown(test_options());
  CHECK(thrown.get<std::string>("x").value() == "https://api.example.com/v1/");
  const auto created = api_type::create(test_options());
  REQUIRE(created);
  CHECK(created->get<std::string>("x").value() == "https://api.example.com/v1/");
}

TEST_CASE("create and the constructors take a backend and a limiter") {
  scripted_backend backend;
  backend.ok(1).ok(2).ok(3).ok(4);
  const nango::unlimited limiter;
  CHECK(test_client::create(test_options(), backend).value().get<int>("x").value() == 1);
  CHECK(test_client::create(test_options(), backend, limiter).value().get<int>("x").value() == 2);
  CHECK(test_client(test_options(), backend).get<int>("x").value() == 3);
  CHECK(test_client(test_options(), backend, limiter).get<int>("x").value() == 4);
}

TEST_CASE("a backend that throws nango::exception when it is built gives create its error") {
  using api_type = nango::basic_client<throwing_backend, nango::unlimited>;
  const auto failed = api_type::create(test_options());
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::tls_failed);
  CHECK(failed.error().message == "no authorities");
  CHECK_FALSE(failed.error().may_have_executed);
  CHECK_THROWS_AS(api_type{test_options()}, nango::exception);
}

TEST_CASE("a backend's static create is preferred to its constructor") {
  using api_type = nango::basic_client<created_backend, nango::unlimited>;
  CHECK(api_type(test_options()).get("x"));
  CHECK(api_type::create(test_options()).value().get("x"));
  auto options = test_options();
  options.ca_file = "bad.pem";
  const auto failed = api_type::create(options);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "ca_file is bad");
  CHECK_THROWS_WITH_AS(api_type{options}, "invalid_argument: ca_file is bad", nango::exception);
}

TEST_CASE("any_backend makes a client of a lambda and of a shared backend") {
  using api_type = nango::basic_client<nango::any_backend, nango::unlimited>;
  const api_type from_lambda(test_options(), [](const nango::http_request& request) {
    return nango::result<nango::http_response>(
        {.status = 200, .body = json{{"status", "ok"}, {"result", request.url}}.dump()});
  });
  CHECK(from_lambda.get<std::string>("x").value() == "https://api.example.com/v1/x");
  const auto shared = std::make_shared<scripted_backend>();
  shared->ok(5);
  CHECK(api_type(test_options(), shared).get<int>("x").value() == 5);
}

// --- The smallest program ---

TEST_CASE("the default base URL is that of the API") {
  CHECK(std::string_view(nango::default_base_url) == "https://api.nango.dev/v1/");
  CHECK(nango::client_options{}.base_url == nango::default_base_url);
  scripted_backend backend;
  backend.ok();
  CHECK(test_client({.api_key = "key"}, backend).get("crm/contacts"));
  CHECK(backend.last().url == "https://api.nango.dev/v1/crm/contacts");
}

TEST_CASE("env gives a variable's value, and an empty text where it is not set") {
  nango_test::set_variable("NANGO_TEST_VARIABLE", "a value");
  CHECK(nango::env("NANGO_TEST_VARIABLE") == "a value");
  nango_test::set_variable("NANGO_TEST_VARIABLE", "");
  CHECK(nango::env("NANGO_TEST_VARIABLE").empty());
  nango_test::unset_variable("NANGO_TEST_VARIABLE");
  CHECK(nango::env("NANGO_TEST_VARIABLE").empty());
}

namespace {

// Answers with one contact, or as AUTH_ERROR without a user.
struct crm_backend {
  explicit crm_backend(backend_options) {}
  nango::result<nango::http_response> send(const nango::http_request& request) {
    for (const auto& field : request.headers) {
      if (field.name != "X-User-Account") continue;
      return nango::http_response{.status = 200, .body = R"({"status":"ok","result":[{"first_name":"Rolf"}]})"};
    }
    return nango::http_response{.status = 401,
                                .body = R"({"status":"error","error_type":"AUTH_ERROR","error_msg":"no user"})"};
  }
};

}  // namespace

TEST_CASE("the five-line program compiles and prints its contacts") {
  using client = nango::basic_client<crm_backend>;
  std::ostringstream out;
  nango_test::set_variable("NANGO_TEST_KEY", "a key of this test");
  client api{{.api_key = nango::env("NANGO_TEST_KEY")}};
  auto contacts = api.user("6b693b41-bf22-42e6-aa31-b75cd41749ab").get("crm/contacts", {{"name", "Rolf"}});
  if (!contacts) out << contacts.error() << '\n';
  for (const auto& one : *contacts) out << one.dump() << '\n';
  CHECK(out.str() == "{\"first_name\":\"Rolf\"}\n");

  std::ostringstream failures;
  if (auto failed = api.get("crm/contacts"); !failed) failures << failed.error();
  CHECK(failures.str() == "AUTH_ERROR (HTTP 401): no user [GET crm/contacts]");
  nango_test::unset_variable("NANGO_TEST_KEY");
  CHECK_THROWS_AS((client{{.api_key = nango::env("NANGO_TEST_KEY")}}), nango::exception);
}

}  // namespace client_tests
