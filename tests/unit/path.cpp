// Paths and queries: what they are made from, which are refused, and how they look in the URL that a backend gets.
#include "nango.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "scripted_backend.hpp"

namespace path_tests {

using nango::errc;
using nango::json;
using nango::param;
using nango::path;
using nango::query;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

constexpr std::string_view base = "https://api.example.com/v1/";

/// A client of a server that answers everything with null, and what that server got to see.
struct site {
  using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;

  explicit site(std::string base_url = std::string(base))
      : api({.api_key = "secret-test-key-0123456789", .base_url = std::move(base_url)}, backend) {
    backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
      return nango::http_response{.status = 200, .body = R"({"status":"ok"})"};
    });
  }

  nango_test::scripted_backend backend{};
  client api;
};

/// The URL that a call goes to, or the message that refuses it in parentheses.
std::string url(std::string_view relative, const query& parameters = {}, std::string base_url = std::string(base)) {
  const site s(std::move(base_url));
  const auto got = s.api.get(relative, parameters);
  return got ? s.backend.last().url : '(' + got.error().message + ')';
}
std::string url_of_query(const query& parameters) { return url("x", parameters); }

/// What stands behind the base URL.
std::string sent(std::string_view relative) {
  const std::string whole = url(relative);
  return whole.starts_with(base) ? whole.substr(base.size()) : whole;
}

/// An invalid_argument before anything was sent, whose message says `advice`.
template <class Result>
void check_refused(const Result& got, const nango_test::scripted_backend& backend, std::string_view advice) {
  CHECK(backend.calls() == 0);
  REQUIRE_FALSE(got.has_value());
  const nango::error& e = got.error();
  CHECK(e.code == errc::invalid_argument);
  CHECK(e.http_status == 0);
  CHECK(e.attempts == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK(e.message.find('\n') == std::string::npos);
  INFO(e.message);
  CHECK(e.message.find(advice) != std::string::npos);
}
void check_refused(std::string_view relative, std::string_view advice) {
  CAPTURE(relative);
  const site s;
  check_refused(s.api.get(relative), s.backend, advice);
}

// RFC 3986, put together independently of the header.
bool is_one_of(unsigned char byte, std::string_view characters) {
  return characters.find(static_cast<char>(byte)) != std::string_view::npos;
}
bool is_unreserved(unsigned char byte) {
  return is_one_of(byte, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~");
}
bool is_pchar(unsigned char byte) { return is_unreserved(byte) || is_one_of(byte, "!$&'()*+,;=:@"); }
bool is_control(unsigned char byte) { return byte < 0x20 || byte == 0x7F; }

std::string escaped(unsigned char byte) {
  static const std::string digits = "0123456789ABCDEF";
  return {'%', digits[byte / 16U], digits[byte % 16U]};
}
std::string encoded(unsigned char byte) {
  return is_unreserved(byte) ? std::string(1, static_cast<char>(byte)) : escaped(byte);
}

template <class F> void for_each_byte(F&& f) {
  for (int number = 0; number < 256; ++number) {
    CAPTURE(number);
    f(static_cast<unsigned char>(number), std::string(1, static_cast<char>(number)));
  }
}

}  // namespace

// ---- param and query: what they are made from ----------------------------------------------------------------------

namespace {

template <class Value>
concept makes_a_param = requires(const Value& value) { param("name", value); };
template <class... Segments>
concept makes_a_path = requires(const Segments&... segments) {
  { path(segments...) } -> std::same_as<std::string>;
};

enum unscoped { one };
enum class scoped { two };

}  // namespace

static_assert(makes_a_param<std::string> && makes_a_param<std::string_view> && makes_a_param<const char*>);
static_assert(makes_a_param<char*> && makes_a_param<char[6]> && makes_a_param<bool>);
static_assert(makes_a_param<short> && makes_a_param<unsigned short> && makes_a_param<int> && makes_a_param<unsigned>);
static_assert(makes_a_param<long> && makes_a_param<unsigned long> && makes_a_param<long long>);
static_assert(makes_a_param<unsigned long long> && makes_a_param<std::size_t> && makes_a_param<std::int64_t>);

static_assert(!makes_a_param<std::nullptr_t> && !makes_a_param<json> && !makes_a_param<json::object_t>);
static_assert(!makes_a_param<char> && !makes_a_param<wchar_t> && !makes_a_param<char8_t>);
static_assert(!makes_a_param<char16_t> && !makes_a_param<char32_t>);
static_assert(!makes_a_param<int*> && !makes_a_param<const void*> && !makes_a_param<void (*)()>, "none is a bool");
static_assert(!makes_a_param<double> && !makes_a_param<float> && !makes_a_param<std::optional<std::string>>);
static_assert(!makes_a_param<unscoped> && !makes_a_param<scoped> && !makes_a_param<std::true_type>);
static_assert(!makes_a_param<std::wstring> && !makes_a_param<std::u8string> && !makes_a_param<std::vector<int>>);
static_assert(!std::is_default_constructible_v<param> && !std::is_constructible_v<param, std::string>);
static_assert(std::is_same_v<query, std::vector<param>>);

static_assert(makes_a_path<> && makes_a_path<std::string> && makes_a_path<const char*, std::string_view, char[4]>);
static_assert(!makes_a_path<int> && !makes_a_path<json> && !makes_a_path<std::string, std::optional<std::string>>);

TEST_CASE("a parameter's value is a text of any kind") {
  const std::string text = "text";
  char array[] = "text";
  for (const param& p : {param("n", "text"), param("n", text), param("n", "text"sv), param("n", array),
                         param("n", text.c_str()), param("n"s, "text"s)}) {
    CHECK(p.name == "n");
    CHECK(p.value == "text");
  }
  CHECK(param("n", "").value.empty());
  CHECK(param("n", "a\0b"sv).value == "a\0b"sv);
}

TEST_CASE("a parameter's bool is spelt out") {
  CHECK(param("n", true).value == "true");
  CHECK(param("n", false).value == "false");
  const bool constant = true;
  CHECK(param("n", constant).value == "true");
}

TEST_CASE("a parameter's integer is written in decimal") {
  CHECK(param("n", 0).value == "0");
  CHECK(param("n", -7).value == "-7");
  CHECK(param("n", 1).value == "1");
  CHECK(param("n", std::numeric_limits<long long>::min()).value == "-9223372036854775808");
  CHECK(param("n", std::numeric_limits<unsigned long long>::max()).value == "18446744073709551615");
  CHECK(param("n", std::uint8_t{65}).value == "65");
  CHECK(param("n", std::size_t{100}).value == "100");
}

TEST_CASE("a query in braces has one parameter for each pair, a pair of texts included") {
  const query single = {{"name", "Rolf"}};
  REQUIRE(single.size() == 1);
  CHECK(single[0].name == "name");
  CHECK(single[0].value == "Rolf");
  const query two = {{"a", "b"}, {"c", "d"}};
  REQUIRE(two.size() == 2);
  CHECK(two[1].value == "d");
  CHECK(query{{"a", "b"}}.size() == 1);
  CHECK(query{{"text", "t"}, {"flag", true}, {"number", 3}, {"string", "s"s}}.size() == 4);
}

// ---- Queries in a URL ----------------------------------------------------------------------------------------------

TEST_CASE("a call without parameters has no question mark") {
  CHECK(url("x") == "https://api.example.com/v1/x");
  CHECK(url("x", {}) == "https://api.example.com/v1/x");
}

TEST_CASE("parameters stand in the URL in the order given, names that repeat as well") {
  CHECK(url_of_query({{"b", 2}, {"a", 1}, {"b", 0}, {"c", true}}) == "https://api.example.com/v1/x?b=2&a=1&b=0&c=true");
}

TEST_CASE("a parameter without a value keeps its equals sign") {
  CHECK(url_of_query({{"a", ""}, {"b", ""}}) == "https://api.example.com/v1/x?a=&b=");
}

TEST_CASE("a parameter without a name is refused") {
  const site s;
  check_refused(s.api.get("x", {{"a", 1}, {"", 2}}), s.backend, "name");
}

TEST_CASE("each byte of a query's value is as it is where it is unreserved, else percent-encoded") {
  for_each_byte([](unsigned char byte, const std::string& text) {
    CHECK(url_of_query({{"n", "a" + text + "b"}}) == "https://api.example.com/v1/x?n=a" + encoded(byte) + "b");
  });
}

TEST_CASE("each byte of a query's name is as it is where it is unreserved, else percent-encoded") {
  for_each_byte([](unsigned char byte, const std::string& text) {
    CHECK(url_of_query({{"a" + text + "b", "v"}}) == "https://api.example.com/v1/x?a" + encoded(byte) + "b=v");
  });
}

TEST_CASE("queries are encoded as they are: a space is %20, a plus %2B, and what looks encoded is encoded again") {
  CHECK(url_of_query({{"q", "a b+c%20d"}}) == "https://api.example.com/v1/x?q=a%20b%2Bc%2520d");
  CHECK(url_of_query({{"e", "rolf@example.com,r\xC3\xA9@x"}}) ==
        "https://api.example.com/v1/x?e=rolf%40example.com%2Cr%C3%A9%40x");
}

TEST_CASE("every call that takes a query sends it") {
  const site s;
  const query parameters = {{"n", "v"}};
  const auto check_sent = [&](std::string_view method, bool succeeded) {
    CHECK(succeeded);
    CHECK(s.backend.last().method == method);
    CHECK(s.backend.last().url == "https://api.example.com/v1/x?n=v");
  };
  check_sent("GET", s.api.get("x", parameters).has_value());
  check_sent("DELETE", s.api.del("x", parameters).has_value());
  check_sent("OPTIONS", s.api.request("OPTIONS", "x", parameters).has_value());
  check_sent("POST", s.api.request_json("POST", "x", json(1), parameters).has_value());
  check_sent("HEAD", s.api.send("HEAD", "x", parameters).has_value());
}

// ---- path() --------------------------------------------------------------------------------------------------------

TEST_CASE("path() joins its segments with slashes") {
  CHECK(path("crm", "contacts", "7") == "crm/contacts/7");
  CHECK(path("crm"s, "contacts"sv, "7") == "crm/contacts/7");
  CHECK(path("crm") == "crm");
}

TEST_CASE("path() encodes what is in a segment, so that it stays one") {
  CHECK(sent(path("crm", "a/b", "c")) == "crm/a%2Fb/c");
  CHECK(sent(path("crm", "../../admin")) == "crm/..%2F..%2Fadmin");
  CHECK(sent(path("/crm", "x/")) == "%2Fcrm/x%2F");
  CHECK(sent(path("https://evil.example", "x")) == "https%3A%2F%2Fevil.example/x");
  CHECK(sent(path("100%", "%2F", "a?b#c")) == "100%25/%252F/a%3Fb%23c");
}

TEST_CASE("each byte in a segment of path() is as it is where it is unreserved, else percent-encoded") {
  for_each_byte([](unsigned char byte, const std::string& text) {
    CHECK(sent(path("a", "b" + text + "c", "d")) == "a/b" + encoded(byte) + "c/d");
  });
}

TEST_CASE("each byte but the dot is a segment of path() by itself, the first as well") {
  for_each_byte([](unsigned char byte, const std::string& text) {
    if (byte == '.') return;
    CHECK(sent(path(text)) == encoded(byte));
    CHECK(sent(path("a", text)) == "a/" + encoded(byte));
  });
}

TEST_CASE("a path from path() with an empty segment is refused, wherever it is") {
  for (const auto& made : {path("crm", "contacts", ""), path("crm", "", "7"), path("", "contacts"), path("", "", "7"),
                           path("", "crm", "")}) {
    check_refused(made, "empty segment");
  }
  for (const auto& made : {path(), path(""), path("", "")}) check_refused(made, "empty");
}

TEST_CASE("a path from path() with a dot segment is refused, wherever it is") {
  for (const std::string dots : {".", ".."}) {
    for (const auto& made : {path(dots), path(dots, "x"), path("x", dots), path("x", dots, "y")}) {
      check_refused(made, "write the path out");
    }
    check_refused(path("", dots), "empty segment");
  }
}

TEST_CASE("a dot segment that path() encodes is plain text") {
  CHECK(sent(path("a", "%2e%2E")) == "a/%252e%252E");
  CHECK(sent(path("...", ".a", "a..")) == ".../.a/a..");
}

// ---- Paths as they are written -------------------------------------------------------------------------------------

TEST_CASE("a leading slash is optional, and the base URL's path stays with it") {
  CHECK(url("crm/contacts") == "https://api.example.com/v1/crm/contacts");
  CHECK(url("/crm/contacts") == "https://api.example.com/v1/crm/contacts");
}

TEST_CASE("each byte in a written path stays where a path may have it, else it is encoded or refused") {
  for_each_byte([](unsigned char byte, const std::string& text) {
    const std::string written = "a" + text + "zb";  // "%zb" is no escape
    if (is_control(byte)) {
      check_refused(written, "path()");
    } else if (byte == '?' || byte == '#') {
      check_refused(written, "query");
    } else if (byte == '/' || is_pchar(byte)) {
      CHECK(sent(written) == written);
    } else {
      CHECK(sent(written) == "a" + escaped(byte) + "zb");
    }
  });
}

TEST_CASE("spaces and bytes that are not ASCII are encoded") {
  CHECK(sent("my contacts/r\xC3\xA9sum\xC3\xA9") == "my%20contacts/r%C3%A9sum%C3%A9");
  CHECK(sent(" /\xFF") == "%20/%FF");
}

TEST_CASE("a valid escape stays as it is, another percent sign is encoded") {
  const std::pair<const char*, const char*> table[] = {
      {"a%20b", "a%20b"},   {"%c3%A9", "%c3%A9"}, {"%2F", "%2F"},           {"%00", "%00"},
      {"%", "%25"},         {"100%", "100%25"},   {"a%/b", "a%25/b"},       {"%4", "%254"},
      {"%4g", "%254g"},     {"%g4", "%25g4"},     {"%%41", "%25%41"},       {"%25", "%25"},
      {"%4%41", "%254%41"}, {"%/41", "%25/41"},   {"%:0%@0", "%25:0%25@0"}, {"%-1", "%25-1"}};
  for (const auto& row : table) {
    CAPTURE(row.first);
    CHECK(sent(row.first) == row.second);
  }
}

TEST_CASE("an escape is not completed by what stands behind the path") {
  for (const std::size_t length : {1U, 2U})
    CHECK(sent("%41"sv.substr(0, length)) == "%25" + "4"s.substr(0, length - 1));
}

TEST_CASE("every pair of hexadecimal digits is a valid escape, in either case") {
  for_each_byte([](unsigned char byte, const std::string&) {
    std::string upper = escaped(byte), lower = upper;
    for (char& c : lower) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    CHECK(sent("x" + upper + lower) == "x" + upper + lower);
  });
}

TEST_CASE("a colon stays, also where it could be taken for a scheme's") {
  for (const char* written : {"contacts:search", "crm/contacts:search", "urn:uuid:7", "a:b/c:d", ":x", "x:", "/a:b",
                              "crm/contacts:/x", "localhost:80/x", "https/x", "xhttps:1", "http", "https"}) {
    CAPTURE(written);
    CHECK(sent(written) == (written[0] == '/' ? written + 1 : written));
  }
}

TEST_CASE("a path is refused with what to do instead") {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"", "path is empty"},
      {"/", "path is empty"},
      {"//", "empty segment"},
      {"crm/contacts/", "id"},
      {"crm//contacts", "id"},
      {"//evil.example/x", "empty segment"},
      {"/crm/contacts//", "id"},
      {"https://api.example.com/v1/crm/contacts", "base_url"},
      {"HTTPS://api.example.com/x", "base_url"},
      {"http://api.example.com/x", "base_url"},
      {"/https://api.example.com/x", "base_url"},
      {"https:crm/contacts", "base_url"},
      {"Http:x", "base_url"},
      {"ftp://api.example.com/x", "base_url"},
      {"git+ssh-1.0://x", "base_url"},
      {"crm/contacts?name=Rolf", "query"},
      {"?name=Rolf", "query"},
      {"crm/contacts#7", "query"},
      {"crm/contacts\r\nX-Evil: 1", "path()"},
      {"crm\0contacts"sv, "path()"},
      {"crm/\x7F", "path()"},
      {"\tcrm", "path()"},
      {".", "write the path out"},
      {"..", "write the path out"},
      {"/..", "write the path out"},
      {"./crm", "write the path out"},
      {"../admin", "write the path out"},
      {"crm/./contacts", "write the path out"},
      {"crm/../../admin", "write the path out"},
      {"crm/..", "write the path out"},
      {"%2e", "write the path out"},
      {"%2E%2e/admin", "write the path out"},
      {"crm/.%2E", "write the path out"},
      {"crm/%2e./x", "write the path out"},
  };
  for (const auto& [written, advice] : table) check_refused(written, advice);
}

TEST_CASE("dots that are no dot segment stay") {
  for (const char* written : {"...", ".a", "a.", "..a", "a/.../b", "%2e%2e%2e", "%2ea", "a%2e", "%2E%2Ea/.b", "v1.2"}) {
    CAPTURE(written);
    CHECK(sent(written) == written);
  }
  CHECK(sent(".%2") == ".%252");
  CHECK(sent(".%2f") == ".%2f");
}

TEST_CASE("every call refuses a bad path, and sends nothing") {
  const site s;
  const std::string bad = path("crm", "contacts", "");
  const auto refused = [&](const auto& got) { check_refused(got, s.backend, "empty segment"); };
  refused(s.api.get(bad));
  refused(s.api.get<void>(bad));
  refused(s.api.del(bad));
  refused(s.api.post(bad, json(1)));
  refused(s.api.put(bad, json(1)));
  refused(s.api.patch(bad, json(1)));
  refused(s.api.request("GET", bad));
  refused(s.api.request_json("POST", bad, json(1)));
  refused(s.api.send("GET", bad));
  refused(s.api.user("token").get(bad));
}

// ---- The base URL --------------------------------------------------------------------------------------------------

TEST_CASE("paths go below the base URL, which may have a path, and a slash at its end") {
  const std::pair<const char*, const char*> table[] = {
      {"https://api.example.com", "https://api.example.com/x/y?n=v"},
      {"https://api.example.com/", "https://api.example.com/x/y?n=v"},
      {"https://api.example.com/v1", "https://api.example.com/v1/x/y?n=v"},
      {"https://api.example.com/v1/", "https://api.example.com/v1/x/y?n=v"},
      {"https://api.example.com/a/b", "https://api.example.com/a/b/x/y?n=v"},
      {"https://api.example.com/a/b/", "https://api.example.com/a/b/x/y?n=v"},
      {"https://api.example.com:8443", "https://api.example.com:8443/x/y?n=v"},
      {"https://api.example.com:8443/v1", "https://api.example.com:8443/v1/x/y?n=v"},
      {"https://[2001:db8::1]:8443/v1/", "https://[2001:db8::1]:8443/v1/x/y?n=v"},
  };
  for (const auto& row : table) {
    CAPTURE(row.first);
    CHECK(url("x/y", {{"n", "v"}}, row.first) == row.second);
    CHECK(url("/x/y", {{"n", "v"}}, row.first) == row.second);
  }
}

TEST_CASE("a base URL's path may have a colon and escapes, and is encoded like any other") {
  CHECK(url("x", {}, "https://api.example.com/v1:beta/a%20b") == "https://api.example.com/v1:beta/a%20b/x");
}

TEST_CASE("the product's base URL is the default") {
  CHECK(nango::default_base_url == "https://api.nango.dev/v1/"sv);
  nango_test::scripted_backend backend;
  const site::client api({.api_key = "secret-test-key-0123456789"}, backend.ok());
  REQUIRE(api.get("crm/contacts").has_value());
  CHECK(backend.last().url == "https://api.nango.dev/v1/crm/contacts");
}

// ---- env() ---------------------------------------------------------------------------------------------------------

TEST_CASE("an environment variable that is not set is an empty text, one that is set its value") {
  static_assert(std::is_same_v<decltype(nango::env("")), std::string>);
  CHECK(nango::env("NANGO_HPP_TESTS_NEVER_SET_THIS").empty());
  const char* const search_path = std::getenv("PATH");
  CHECK(nango::env("PATH") == (search_path != nullptr ? search_path : ""));
}

TEST_CASE("a null pointer is an empty parameter value, and not accepted as a segment") {
  const char* const unset = nullptr;
  CHECK(nango::param("a", unset).value.empty());
  const auto takes = [](auto segment) { return requires { nango::path("a", segment); }; };
  CHECK(takes("b"));
  CHECK_FALSE(takes(nullptr));
}

}  // namespace path_tests
