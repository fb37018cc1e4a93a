// Client: what is refused when a client is made and when a call is, and the headers that calls send.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"
#include "scripted_backend.hpp"

namespace client_options_tests {

namespace {

using namespace std::chrono_literals;
using nango::client_options;
using nango::errc;
using nango_test::scripted_backend;
using nango_test::test_options;
using test_client = nango::basic_client<scripted_backend, nango::unlimited>;

constexpr std::string_view api_key = "secret-test-key-0123456789";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Every character that can end a header line or confuse who reads it.
std::vector<char> control_characters() {
  std::vector<char> all;
  for (char c = 0; c < 0x20; ++c) all.push_back(c);
  all.push_back('\x7f');
  return all;
}

// `text` with a character at its front, in its middle and at its end.
std::vector<std::string> with_character(const std::string& text, char c) {
  return {c + text, std::string(text).insert(text.size() / 2, 1, c), text + c};
}

// A backend that the client builds from its options.
struct built_backend : scripted_backend {
  explicit built_backend(const client_options&) {}
};

void check_error(const nango::error& e) {
  CHECK(e.code == errc::invalid_argument);
  CHECK(e.attempts == 0);
  CHECK(e.http_status == 0);
  CHECK_FALSE(e.may_have_executed);
  CHECK_FALSE(e.message.empty());
  CHECK(e.message.find_first_of(std::string("\r\n\0", 3)) == std::string::npos);
  CHECK_FALSE(contains(e.message, api_key));
}

template <class Make> void check_thrown(const nango::error& expected, Make make) {
  try {
    static_cast<void>(make());
    FAIL("the constructor took what create() refuses");
  } catch (const nango::exception& thrown) {
    CHECK(thrown.error().code == expected.code);
    CHECK(thrown.error().message == expected.message);
    CHECK_FALSE(contains(thrown.what(), api_key));
  }
}

// Checks that every way to make a client refuses these options, by create() and by exception. Gives the message.
std::string refusal(const client_options& options) {
  using built_client = nango::basic_client<built_backend, nango::unlimited>;
  const scripted_backend backend;
  const nango::unlimited limiter;
  const auto refused = test_client::create(options, backend);
  REQUIRE_FALSE(refused);
  check_error(refused.error());
  const auto check_same = [&](const auto& other) {
    REQUIRE_FALSE(other.has_value());
    CHECK(other.error().message == refused.error().message);
  };
  check_same(test_client::create(options, backend, limiter));
  check_same(built_client::create(options));
  check_thrown(refused.error(), [&] { return test_client(options, backend); });
  check_thrown(refused.error(), [&] { return test_client(options, backend, limiter); });
  check_thrown(refused.error(), [&] { return built_client(options); });
  CHECK(backend.calls() == 0);
  return refused.error().message;
}

template <class Result> void check_call_refused(const Result& refused) {
  REQUIRE_FALSE(refused.has_value());
  check_error(refused.error());
}

// Checks that each kind of call refuses these options. Gives the message of one.
std::string call_refusal(const test_client& api, const nango::call_options& options) {
  check_call_refused(api.get("x", {}, options));
  check_call_refused(api.del("x", {}, options));
  check_call_refused(api.post("x", 1, options));
  check_call_refused(api.put("x", 1, options));
  check_call_refused(api.patch("x", 1, options));
  check_call_refused(api.request("GET", "x", {}, options));
  check_call_refused(api.request_json("POST", "x", 1, {}, options));
  check_call_refused(api.send("GET", "x", {}, {}, "", options));
  return api.get("x", {}, options).error().message;
}

}  // namespace

// --- Refused at construction ---

TEST_CASE("defaults are as documented") {
  const nango::client_options options;
  CHECK(options.base_url == "https://api.nango.dev/v1/");
  CHECK(options.timeout == std::chrono::seconds(30));
  CHECK(options.attempt_timeout == std::chrono::seconds(0));
  CHECK(options.connect_timeout == std::chrono::seconds(10));
  CHECK(options.max_response_bytes == 64 * 1024 * 1024);
  CHECK_FALSE(options.allow_plaintext_loopback);
  CHECK(options.retry.max_attempts == 3);
  CHECK(options.retry.base_delay == std::chrono::milliseconds(100));
  CHECK(options.retry.max_delay == std::chrono::seconds(5));
  CHECK(options.rate.requests == 100);
  CHECK(options.rate.per == std::chrono::seconds(1));
  CHECK(options.rate.linger == std::chrono::seconds(5));
  CHECK((options.dialect.parse == &nango::parse_envelope));
  CHECK(nango::attempt().http_status == 0);
  CHECK_FALSE(nango::attempt().outcome);
}

TEST_CASE("options that make no sense are refused by create and by exception, and the message names the option") {
  struct bad_option {
    std::string what, named;
    void (*apply)(client_options&);
  };
  const std::vector<bad_option> table{
      {"an empty key", "api_key", [](client_options& o) { o.api_key.clear(); }},
      {"a rate of no requests", "rate", [](client_options& o) { o.rate.requests = 0; }},
      {"a rate in no time", "rate", [](client_options& o) { o.rate.per = 0ns; }},
      {"a rate in a negative time", "rate", [](client_options& o) { o.rate.per = -1ns; }},
      {"a negative linger", "rate", [](client_options& o) { o.rate.linger = -1ns; }},
      {"no timeout", "timeout", [](client_options& o) { o.timeout = 0ms; }},
      {"a negative timeout", "timeout", [](client_options& o) { o.timeout = -1ms; }},
      {"the least timeout", "timeout", [](client_options& o) { o.timeout = std::chrono::milliseconds::min(); }},
      {"a negative attempt timeout", "attempt_timeout", [](client_options& o) { o.attempt_timeout = -1ms; }},
      {"no connect timeout", "connect_timeout", [](client_options& o) { o.connect_timeout = 0ms; }},
      {"a negative connect timeout", "connect_timeout", [](client_options& o) { o.connect_timeout = -1ms; }},
      {"no attempts", "retry", [](client_options& o) { o.retry.max_attempts = 0; }},
      {"a negative number of attempts", "retry", [](client_options& o) { o.retry.max_attempts = -1; }},
      {"a negative base delay", "retry", [](client_options& o) { o.retry.base_delay = -1ms; }},
      {"a negative greatest delay", "retry", [](client_options& o) { o.retry.max_delay = -1ms; }},
      {"no bytes for an answer", "max_response_bytes", [](client_options& o) { o.max_response_bytes = 0; }},
      {"no parse function", "dialect.parse", [](client_options& o) { o.dialect.parse = nullptr; }},
  };
  for (const auto& row : table) {
    CAPTURE(row.what);
    auto options = test_options();
    row.apply(options);
    CHECK(contains(refusal(options), row.named));
  }
}

TEST_CASE("the limits of what makes sense are taken") {
  auto options = test_options();
  options.rate = {.requests = 1, .per = 1ns, .linger = 0ns};
  options.timeout = 1ms;
  options.attempt_timeout = 0ms;
  options.connect_timeout = 1ms;
  options.retry = {.max_attempts = 1, .base_delay = 0ms, .max_delay = 0ms};
  options.max_response_bytes = 1;
  CHECK(test_client::create(options, scripted_backend()));
  options.timeout = options.attempt_timeout = options.connect_timeout = std::chrono::milliseconds::max();
  options.rate.per = std::chrono::nanoseconds::max();
  CHECK(test_client::create(options, scripted_backend()));
}

TEST_CASE("control characters in the key, the user token and the user agent are refused") {
  for (const char c : control_characters()) {
    CAPTURE(static_cast<int>(c));
    for (const auto& text : with_character("abcdef", c)) {
      auto options = test_options();
      options.api_key = text;
      const auto message = refusal(options);
      CHECK(contains(message, "api_key"));
      CHECK_FALSE(contains(message, "abcdef"));
      options = test_options();
      options.user_token = text;
      CHECK(contains(refusal(options), "user_token"));
      options = test_options();
      options.user_agent = text;
      CHECK(contains(refusal(options), "user_agent"));
    }
  }
}

TEST_CASE("a base URL that is not https:// with a host, and may be a port and a path, is refused") {
  const std::vector<std::string> urls{"",
                                      "api.example.com",
                                      "/v1/",
                                      "//api.example.com/",  // no scheme
                                      "http://api.example.com/",
                                      "HTTP://api.example.com/",
                                      "ftp://api.example.com/",  // another one
                                      "httpsx://api.example.com/",
                                      "https:",
                                      "https:/api.example.com",
                                      "https:api.example.com",
                                      "https://",
                                      "https:///v1/",
                                      "https://:443/",  // no host
                                      "https://api.example.com:0/",
                                      "https://api.example.com:65536/",
                                      "https://api.example.com:/",
                                      "https://api.example.com:99999999999999999999/",
                                      "https://api.example.com:-1/",  // no port
                                      "https://api.example.com:+443/",
                                      "https://api.example.com:443x/",
                                      "https://api.example.com:44:3/",
                                      "https://api .example.com/",
                                      " https://api.example.com/",
                                      "https://api.example.com/ ",  // spaces
                                      "https://api.example.com/v 1/",
                                      "https://api.example.com: 443/",
                                      "https://user@api.example.com/",
                                      "https://user:pass@api.example.com/",
                                      "https://@api.example.com/",
                                      "https://api.example.com/?a=b",
                                      "https://api.example.com?a=b",
                                      "https://api.example.com/v1?",
                                      "https://api.example.com/#f",
                                      "https://api.example.com#f",
                                      "https://api.example.com/v1#",
                                      "https://[::1/",
                                      "https://[::1]x/",
                                      "https://[::1]x443/",
                                      "https://[]/",
                                      "https://[g::1]/",
                                      "https://::1/",
                                      "https://[abc]/",
                                      "https://[api]/",
                                      "https://api.example.com\\.evil.com/",
                                      "https://api<.example.com/",
                                      "https://\xc3\xa4pi.example.com/",
                                      "https://.example.com/",
                                      "https://api..example.com/",
                                      "https://api.example.com/../",  // no good path
                                      "https://api.example.com/v1/%2e%2E/",
                                      "https://api.example.com/./",
                                      "https://api.example.com//v1/"};
  for (const auto& url : urls) {
    CAPTURE(url);
    for (const bool allow_plaintext_loopback : {false, true}) {
      auto options = test_options();
      options.base_url = url;
      options.allow_plaintext_loopback = allow_plaintext_loopback;
      CHECK(contains(refusal(options), "base_url"));
    }
  }
}

TEST_CASE("a base URL with control characters is refused") {
  for (const char c : control_characters()) {
    CAPTURE(static_cast<int>(c));
    for (const auto& url : with_character("https://api.example.com/v1", c)) {
      auto options = test_options();
      options.base_url = url;
      CHECK(contains(refusal(options), "base_url"));
    }
  }
}

TEST_CASE("a user and a password in the base URL are not repeated") {
  auto options = test_options();
  options.base_url = "https://rolf:hunter2@api.example.com/";
  CHECK_FALSE(contains(refusal(options), "hunter2"));
}

TEST_CASE("calls go below the base URL, whatever its form") {
  const std::vector<std::pair<std::string, std::string>> table{
      {"https://api.example.com", "https://api.example.com/crm/contacts"},
      {"https://api.example.com/", "https://api.example.com/crm/contacts"},
      {"https://api.example.com/v1", "https://api.example.com/v1/crm/contacts"},
      {"https://api.example.com/v1/", "https://api.example.com/v1/crm/contacts"},
      {"https://api.example.com/a/b-c/v1/", "https://api.example.com/a/b-c/v1/crm/contacts"},
      {"https://api.example.com:8443", "https://api.example.com:8443/crm/contacts"},
      {"https://api.example.com:1/v1", "https://api.example.com:1/v1/crm/contacts"},
      {"https://api.example.com:65535/v1", "https://api.example.com:65535/v1/crm/contacts"},
      {"https://api.example.com:80/", "https://api.example.com:80/crm/contacts"},
      {"HTTPS://API.Example.com/V1/", "https://api.example.com/V1/crm/contacts"},
      {"https://192.0.2.7/", "https://192.0.2.7/crm/contacts"},
      {"https://[2001:db8::1]/v1/", "https://[2001:db8::1]/v1/crm/contacts"},
      {"https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/crm/contacts"},
      {"https://[::ffff:192.0.2.7]/", "https://[::ffff:192.0.2.7]/crm/contacts"},
      {"https://localhost/", "https://localhost/crm/contacts"},
      {"https://127.0.0.1:8443/", "https://127.0.0.1:8443/crm/contacts"}};
  for (const auto& row : table) {
    const auto &base_url = row.first, &url = row.second;
    CAPTURE(base_url);
    scripted_backend backend;
    backend.ok();
    auto options = test_options();
    options.base_url = base_url;
    const auto api = test_client::create(options, backend);
    REQUIRE(api);
    CHECK(api->get("crm/contacts"));
    CHECK(backend.last().url == url);
  }
}

TEST_CASE("plaintext goes to loopback hosts, and only where the option allows it") {
  const std::vector<std::pair<std::string, std::string>> table{
      {"http://127.0.0.1:8080/", "http://127.0.0.1:8080/x"}, {"http://127.0.0.1/v1/", "http://127.0.0.1/v1/x"},
      {"http://127.0.0.0/", "http://127.0.0.0/x"},           {"http://127.255.255.255/", "http://127.255.255.255/x"},
      {"http://localhost:3003/", "http://localhost:3003/x"}, {"http://LocalHost/", "http://localhost/x"},
      {"HTTP://localhost:443/", "http://localhost:443/x"},   {"http://[::1]:8080/v1", "http://[::1]:8080/v1/x"}};
  for (const auto& row : table) {
    const auto &base_url = row.first, &url = row.second;
    CAPTURE(base_url);
    scripted_backend backend;
    backend.ok();
    auto options = test_options();
    options.base_url = base_url;
    CHECK(contains(refusal(options), "allow_plaintext_loopback"));
    options.allow_plaintext_loopback = true;
    const auto api = test_client::create(options, backend);
    REQUIRE(api);
    CHECK(api->get("x"));
    CHECK(backend.last().url == url);
  }
}

TEST_CASE("no other host is taken for loopback") {
  for (const std::string url : {"http://api.example.com/",
                                "http://127.0.0.1.example.com/",
                                "http://localhost.example.com/",
                                "http://mylocalhost/",
                                "http://126.255.255.255/",
                                "http://128.0.0.1/",
                                "http://0.0.0.0/",
                                "http://10.127.0.1/",
                                "http://127.0.0.256/",
                                "http://127.0.256.1/",
                                "http://127.256.0.1/",
                                "http://127.0.0.0001/",
                                "http://127.1/",
                                "http://127.0.0/",
                                "http://127.0.0.1.1/",
                                "http://127.0.0.x/",
                                "http://127.0.-0.1/",
                                "http://127.0.0.09/",
                                "http://0x7f.0.0.1/",
                                "http://2130706433/",
                                "http://localhost./",
                                "http://127.0.0.1./",
                                "http://[::2]/",
                                "http://[::]/",
                                "http://[1::1]/",
                                "http://[::ffff:128.0.0.1]/",
                                "http://localhost@api.example.com/",
                                "http://127.0.0.1:80@api.example.com/",
                                "ftp://localhost/",
                                "ws://127.0.0.1/"}) {
    CAPTURE(url);
    auto options = test_options();
    options.base_url = url;
    options.allow_plaintext_loopback = true;
    CHECK(contains(refusal(options), "base_url"));
  }
}

TEST_CASE("a proxy that is not http://[user:pass@]host:port is refused, and the message does not repeat it") {
  for (const std::string proxy : {"proxy.example.com:3128",
                                  "https://proxy.example.com:3128",
                                  "socks5://proxy.example.com:1080",
                                  "http://",
                                  "http://proxy.example.com",
                                  "http://proxy.example.com:",
                                  "http://proxy.example.com:0",
                                  "http://proxy.example.com:65536",
                                  "http://proxy.example.com:x",
                                  "http://:3128",
                                  "http://pro xy:3128",
                                  "http://hunter2@proxy.example.com:3128",
                                  "http://:hunter2@proxy.example.com:3128",
                                  "http://:@proxy.example.com:3128",
                                  "http://@proxy.example.com:3128",
                                  "http://u:hunter2@proxy.example.com",
                                  "http://u:hunter2@:3128",
                                  "http://u:hunter2@proxy.example.com:3128/path",
                                  "http://u:hunter2\r\n@proxy.example.com:3128",
                                  "http://u:hunter2%0a@proxy.example.com:3128",
                                  "http://u%00:hunter2@proxy.example.com:3128",
                                  "http://u%3Ax:hunter2@proxy.example.com:3128"}) {
    CAPTURE(proxy);
    auto options = test_options();
    options.proxy = proxy;
    const auto message = refusal(options);
    CHECK(contains(message, "proxy"));
    CHECK_FALSE(contains(message, "hunter2"));
  }
}

TEST_CASE("a proxy of the form http://[user:pass@]host:port is taken") {
  for (const std::string proxy : {"http://proxy.example.com:3128", "HTTP://proxy:1", "http://10.0.0.1:65535/",
                                  "http://[2001:db8::1]:3128", "http://user:pa%20ss@proxy.example.com:3128",
                                  "http://key:@proxy.example.com:3128", "http://user:p@ss@proxy.example.com:3128"}) {
    CAPTURE(proxy);
    auto options = test_options();
    options.proxy = proxy;
    CHECK(test_client::create(options, scripted_backend()));
  }
}

TEST_CASE("an invalid proxy or host is refused at once and named") {
  client_options options{.api_key = "key"};
  options.proxy = "proxy:3128";
  CHECK(contains(refusal(options), "http://[user:pass@]host:port"));
  for (const char* proxy : {"http://proxy.:3128", "http://user:pass@proxy.example.com.:3128"}) {
    options.proxy = proxy;
    CHECK(contains(refusal(options), "ends in a dot"));
  }
  options.proxy.clear();
  for (const char* url : {"https://api.example.com./v1", "https://api.example.com.:8443/", "https://localhost."}) {
    options.base_url = url;
    CHECK(contains(refusal(options), "ends in a dot"));
  }
  const auto proxy = nango::detail::parse_proxy("http://us:er@p%40ss:@proxy.example.com:3128");
  REQUIRE(proxy);
  CHECK(proxy->user == "us");
  CHECK(proxy->password == "er@p@ss:");  // up to the last '@'
  CHECK(proxy->written_password == "er@p%40ss:");
  CHECK(proxy->host == "proxy.example.com");
  CHECK(nango::detail::parse_proxy("http://key:@proxy:3128").value().password.empty());
}

TEST_CASE("a proxy needs an https:// base URL, so that it does not see the key") {
  auto options = test_options();
  options.base_url = "http://127.0.0.1:8080/";
  options.allow_plaintext_loopback = true;
  options.proxy = "http://proxy.example.com:3128";
  CHECK(contains(refusal(options), "proxy"));
}

// --- Headers ---

namespace {

using fields = std::vector<std::pair<std::string, std::string>>;

// All headers of the last request, sorted.
fields sent(const scripted_backend& backend) {
  fields all;
  for (const auto& [name, value] : backend.last().headers) all.emplace_back(name, value);
  std::sort(all.begin(), all.end());
  return all;
}

const std::string user_agent = "nango.hpp/" NANGO_VERSION;
const std::string authorization = "Bearer secret-test-key-0123456789";

// A name in another mix of cases.
std::string swap_cases(std::string name) {
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') {
      c = static_cast<char>(c - 'a' + 'A');
    } else if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return name;
}

}  // namespace

TEST_CASE("a call without a body sends exactly Accept, Authorization and User-Agent") {
  scripted_backend backend;
  backend.ok().ok().ok().ok();
  const test_client api(test_options(), backend);
  const fields expected{{"Accept", "application/json"}, {"Authorization", authorization}, {"User-Agent", user_agent}};
  CHECK(api.get("x"));
  CHECK(sent(backend) == expected);
  CHECK(api.del("x"));
  CHECK(sent(backend) == expected);
  CHECK(api.request("POST", "x"));
  CHECK(sent(backend) == expected);
  CHECK(api.send("GET", "x"));
  CHECK(sent(backend) == expected);
}

TEST_CASE("a call with a body sends Content-Type besides") {
  scripted_backend backend;
  backend.ok().ok().ok().ok().ok();
  const test_client api(test_options(), backend);
  const auto check = [&](bool answered) {
    CHECK(answered);
    CHECK(sent(backend) == fields{{"Accept", "application/json"},
                                  {"Authorization", authorization},
                                  {"Content-Type", "application/json"},
                                  {"User-Agent", user_agent}});
  };
  check(api.post("x", {}).has_value());
  check(api.put("x", 1).has_value());
  check(api.patch("x", 1).has_value());
  check(api.request_json("DELETE", "x", 1).has_value());
  check(api.send("POST", "x", {}, "{}").has_value());
}

TEST_CASE("a call for a user sends X-User-Account besides, and extra headers in their order") {
  scripted_backend backend;
  backend.ok();
  const test_client api(test_options(), backend);
  const nango::call_options options{.headers = {{"X-B", "1"}, {"X-A", "2"}, {"X-B", ""}}};
  CHECK(api.user("rolf").post("x", 1, options));
  CHECK(sent(backend) == fields{{"Accept", "application/json"},
                                {"Authorization", authorization},
                                {"Content-Type", "application/json"},
                                {"User-Agent", user_agent},
                                {"X-A", "2"},
                                {"X-B", ""},
                                {"X-B", "1"},
                                {"X-User-Account", "rolf"}});
  std::string extra;
  for (const auto& field : backend.last().headers) extra += field.name.size() == 3 ? field.value + ";" : "";
  CHECK(extra == "1;2;;");
}

TEST_CASE("extra headers go with their call only") {
  scripted_backend backend;
  backend.ok().ok();
  const test_client api(test_options(), backend);
  CHECK(api.get("x", {}, {.headers = {{"X-Once", "1"}}}));
  CHECK(sent(backend) == fields{{"Accept", "application/json"},
                                {"Authorization", authorization},
                                {"User-Agent", user_agent},
                                {"X-Once", "1"}});
  CHECK(api.get("x"));
  CHECK(backend.last().count("X-Once") == 0);
}

TEST_CASE("the user agent is put before the library's own") {
  scripted_backend backend;
  backend.ok();
  auto options = test_options();
  options.user_agent = "my-app/1.0 (a comment)";
  CHECK(test_client(options, backend).get("x"));
  CHECK(backend.last().header("User-Agent") == "my-app/1.0 (a comment) " + user_agent);
  CHECK(backend.last().count("User-Agent") == 1);
}

TEST_CASE("an extra header must not be one of the client's own, in no spelling") {
  const test_client api(test_options(), scripted_backend());
  for (const std::string name : {"Authorization", "X-User-Account", "Host", "Content-Length", "Transfer-Encoding",
                                 "Connection", "User-Agent", "Content-Type"}) {
    CAPTURE(name);
    CHECK(contains(call_refusal(api, {.headers = {{name, "x"}}}), name));
    call_refusal(api, {.headers = {{swap_cases(name), "x"}}});
    call_refusal(api.user("rolf"), {.headers = {{"X-Fine", "1"}, {name, "x"}}});
  }
}

TEST_CASE("an identity's headers follow the same rules, X-User-Account aside") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  for (const std::string name : {"Authorization", "Host", "Content-Length", "Transfer-Encoding", "Connection",
                                 "User-Agent", "Content-Type", "", "X Y", "X:"}) {
    CAPTURE(name);
    call_refusal(api.as({{{name, "x"}}, "key"}), {});
    call_refusal(api.as({{{swap_cases(name), "x"}}, ""}), {});
    call_refusal(api.as({{{name, "x"}, {"X-User-Account", "rolf"}}, "rolf"}),
                 {});  // a good one does not make up for it
    call_refusal(api.as({{{"X-User-Account", "rolf"}, {name, "x"}}, "rolf"}), {});
  }
  call_refusal(api.as({{{"X-Tenant", "a\r\nb"}}, "key"}), {});
  call_refusal(api.as({{{"x-user-account", ""}}, "key"}), {});
  CHECK(backend.calls() == 0);
  backend.ok();
  CHECK(api.as({{{"x-user-account", "rolf"}, {"X-Tenant", "t"}}, "key"}).get("x"));
  CHECK(backend.last().header("x-user-account") == "rolf");
}

TEST_CASE("an Accept takes the place of the client's, in a call and in an identity") {
  scripted_backend backend;
  backend.ok().ok().ok().ok();
  const test_client api(test_options(), backend);
  CHECK(api.get("x", {}, {.headers = {{"Accept", "text/event-stream, application/json"}}}));
  CHECK(sent(backend) == fields{{"Accept", "text/event-stream, application/json"},
                                {"Authorization", authorization},
                                {"User-Agent", user_agent}});
  CHECK(api.post("x", 1, {.headers = {{"accept", "x/y"}}}));
  CHECK(sent(backend) == fields{{"Authorization", authorization},
                                {"Content-Type", "application/json"},
                                {"User-Agent", user_agent},
                                {"accept", "x/y"}});
  const auto other = api.as({{{"Accept", "x/y"}}, ""});
  CHECK(other.get("x"));
  CHECK(sent(backend) == fields{{"Accept", "x/y"}, {"Authorization", authorization}, {"User-Agent", user_agent}});
  CHECK(api.get("x"));
  CHECK(backend.last().header("Accept") == "application/json");
}

TEST_CASE("a header of the handle's identity cannot be given again, in no spelling: it would go out twice") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  const auto tenant = api.as({{{"X-Tenant", "t"}, {"Accept", "x/y"}}, ""});
  for (const auto* name : {"X-Tenant", "x-tENANT", "Accept"}) {
    CHECK(contains(call_refusal(tenant, {.headers = {{"X-Fine", "1"}, {name, "u"}}}), name));
  }
  CHECK(backend.calls() == 0);
  backend.ok();
  CHECK(api.get("x", {}, {.headers = {{"X-Tenant", "u"}}}));
}

TEST_CASE("an identity may repeat the content type of a body under another name") {
  scripted_backend backend;
  backend.ok().ok().ok().ok();
  const test_client api(test_options(), backend);
  const auto other = api.as({.content_type_header = "X-Body-Type"});
  CHECK(other.send("POST", "x", {}, "a,b", "text/csv"));
  CHECK(sent(backend) == fields{{"Accept", "application/json"},
                                {"Authorization", authorization},
                                {"Content-Type", "text/csv"},
                                {"User-Agent", user_agent},
                                {"X-Body-Type", "text/csv"}});
  CHECK(other.get("x"));
  CHECK(backend.last().count("X-Body-Type") == 0);
  CHECK(other.post("x", 1, {.headers = {{"X-Body-Type", "own"}}}));
  CHECK(backend.last().count("X-Body-Type") == 1);
  CHECK(backend.last().header("X-Body-Type") == "own");
  CHECK(api.as({.headers = {{"X-Body-Type", "own"}}, .content_type_header = "X-Body-Type"}).post("x", 1));
  CHECK(backend.last().count("X-Body-Type") == 1);
  for (const auto* name : {"Content-Type", "X Y", "host"}) call_refusal(api.as({.content_type_header = name}), {});
}

TEST_CASE("an identity's path prefix is a path with a slash at its end") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  for (const auto* prefix : {"proxy", "/", "a//", "../", "proxy/../", "https://evil.example/", "a?b=/", "a\nb/"}) {
    CAPTURE(prefix);
    CHECK(contains(call_refusal(api.as({.path_prefix = prefix}), {}), "path_prefix"));
  }
  CHECK(backend.calls() == 0);
  backend.ok().ok();
  CHECK(api.as({.path_prefix = "a b/c/"}).get("x"));
  CHECK(backend.last().url == "https://api.example.com/v1/a%20b/c/x");
  CHECK(api.as({.path_prefix = "/proxy/"}).get("/x"));
  CHECK(backend.last().url == "https://api.example.com/v1/proxy/x");
}

TEST_CASE("a handle tells whom it acts as, complete for another one") {
  scripted_backend backend;
  backend.ok();
  const test_client api(test_options(), backend);
  CHECK(api.acting_as().headers.empty());
  CHECK(api.user("rolf").acting_as().headers.at(0).value == "rolf");
  CHECK(api.user("rolf").acting_as().limit_key == "rolf");
  auto who = api.as({{{"X-Tenant", "t"}}, "key"}).acting_as();
  CHECK(who.headers.size() == 1);
  who.path_prefix = "other/";
  CHECK(api.as(who).get("x"));
  CHECK(backend.last().header("X-Tenant") == "t");
  CHECK(backend.last().url == "https://api.example.com/v1/other/x");
}

TEST_CASE("post, put and patch take a query with all four arguments") {
  scripted_backend backend;
  backend.ok(1).ok(2).ok(3);
  const test_client api(test_options(), backend);
  CHECK(api.post<int>("x", {{"a", 1}}, {{"q", "1"}}, {}).value() == 1);
  CHECK(backend.last().url == "https://api.example.com/v1/x?q=1");
  CHECK(backend.last().body == R"({"a":1})");
  CHECK(api.put("x", {{"a", 1}}, {{"q", "1"}}, {.headers = {{"X-A", "2"}}}).value() == 2);
  CHECK(backend.last().method == "PUT");
  CHECK(backend.last().header("X-A") == "2");
  CHECK(api.patch("x", 1, {}, {}).value() == 3);
  CHECK(backend.last().method == "PATCH");
}

TEST_CASE("an extra header's name must be a token") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  for (const std::string& name :
       {std::string(), std::string("X Y"), std::string("X:"), std::string("X-Y "), std::string(" X-Y"),
        std::string("X\r\nY"), std::string("X\0Y", 3), std::string("X(Y)"), std::string("\"X\""),
        std::string("X\xc3\xa4"), std::string("X/Y")}) {
    CAPTURE(name);
    call_refusal(api, {.headers = {{name, "x"}}});
  }
  CHECK(backend.calls() == 0);
  backend.ok();
  const std::string odd = "!#$%&'*+-.^_`|~09azAZ";
  CHECK(api.get("x", {}, {.headers = {{odd, "x"}}}));
  CHECK(backend.last().header(odd) == "x");
}

TEST_CASE("control characters in an extra header's value are refused, and nothing is sent") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  for (const char c : control_characters()) {
    CAPTURE(static_cast<int>(c));
    for (const auto& value : with_character("value", c)) {
      check_call_refused(api.get("x", {}, {.headers = {{"X-Trace", value}}}));
      check_call_refused(api.as({{{"X-Trace", value}}, "key"}).get("x"));
      check_call_refused(api.user(value).get("x"));
    }
  }
  CHECK(backend.calls() == 0);
}

TEST_CASE("a call's own timeout that is not positive is refused") {
  scripted_backend backend;
  const test_client api(test_options(), backend);
  for (const auto timeout : {0ms, -1ms, std::chrono::milliseconds::min()}) {
    CAPTURE(timeout.count());
    CHECK(contains(call_refusal(api, {.timeout = timeout}), "timeout"));
  }
  CHECK(backend.calls() == 0);
  backend.ok();
  CHECK(api.get("x", {}, {.timeout = 10s}));
}

TEST_CASE("a refused call does not reach the observer") {
  auto options = test_options();
  int observed = 0;
  options.on_attempt = [&](const nango::attempt&) { ++observed; };
  const test_client api(options, scripted_backend());
  call_refusal(api, {.timeout = 0ms});
  call_refusal(api.user(""), {});
  CHECK(observed == 0);
}

TEST_CASE("a client makes its backend from the options only where the backend can be made so") {
  using client = nango::basic_client<nango::any_backend>;
  CHECK_FALSE(std::constructible_from<client, client_options>);
  CHECK(std::constructible_from<client, client_options, nango::any_backend>);
}

TEST_CASE("a space at an end of what goes into a header is refused, and nothing is sent") {
  for (const std::string text : {" a", "a ", " "}) {
    CAPTURE(text);
    auto options = test_options();
    options.api_key = text;
    CHECK(contains(refusal(options), "api_key"));
    options = test_options();
    options.user_token = text;
    CHECK(contains(refusal(options), "user_token"));
    options = test_options();
    options.user_agent = text;
    CHECK(contains(refusal(options), "user_agent"));

    scripted_backend backend;
    const test_client api(test_options(), backend);
    for (const auto& refused :
         {api.user(text).request("GET", "x"), api.request("GET", "x", {}, {.headers = {{"X-Extra", text}}})}) {
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == errc::invalid_argument);
    }
    CHECK(api.send("POST", "x", {}, "body", text).error().code == errc::invalid_argument);
    CHECK(backend.calls() == 0);
  }
}

}  // namespace client_options_tests
