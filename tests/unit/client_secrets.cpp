// Client: the key and the proxy's password are in no error, no exception's text and no observer call.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "nango.hpp"
#include "scripted_backend.hpp"

namespace client_secrets_tests {

namespace {

using nango::errc;
using nango::http_request;
using nango::http_response;
using nango::json;
using nango_test::scripted_backend;
using test_client = nango::basic_client<scripted_backend, nango::unlimited>;

const std::string key = "secret-test-key-0123456789";
const std::string password = "proxy-p@ssword";
const std::string written_password = "proxy-p%40ssword";  // as the URL has it
const std::vector<std::string> secrets{key, password, written_password};

nango::client_options options_with_secrets() {
  return {.api_key = key,
          .base_url = "https://api.example.com/v1/",
          .retry = {.max_attempts = 1},
          .proxy = "http://proxy-user:" + written_password + "@proxy.example.com:3128"};
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Checks that no text of an error has a secret, nor has what is made of it.
void check_silent(const nango::error& e) {
  std::ostringstream printed;
  printed << e;
  for (const auto& secret : secrets) {
    CHECK_FALSE(contains(e.type, secret));
    CHECK_FALSE(contains(e.message, secret));
    CHECK_FALSE(contains(e.body, secret));
    CHECK_FALSE(contains(e.request, secret));
    for (const auto& [name, value] : e.headers) {
      CHECK_FALSE(contains(name, secret));
      CHECK_FALSE(contains(value, secret));
    }
    CHECK_FALSE(contains(printed.str(), secret));
    CHECK_FALSE(contains(nango::exception(e).what(), secret));
  }
}

template <class Result> const nango::error& silent(const Result& failed) {
  REQUIRE_FALSE(failed.has_value());
  check_silent(failed.error());
  CHECK_FALSE(failed.error().message.empty());
  return failed.error();
}

// A client whose server gives one answer.
struct fixture {
  explicit fixture(nango::client_options options = options_with_secrets()) : api(std::move(options), backend) {}
  const test_client& answering(int status, const std::string& body) {
    backend.answer(status, body);
    return api;
  }
  scripted_backend backend{};
  test_client api;
};

std::string envelope(const std::string& type, const std::string& message) {
  return json{{"status", "error"}, {"error_type", type}, {"error_msg", message}}.dump();
}

}  // namespace

TEST_CASE("a secret that a server repeats in an envelope is masked") {
  fixture f;
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    auto e = silent(f.answering(401, envelope("AUTH_ERROR", "bad key " + secret + ", " + secret + "!")).get("x"));
    CHECK(e.message.starts_with("bad key "));  // what is no secret stays
    CHECK(e.message.ends_with("!"));
    e = silent(f.answering(500, envelope("E_" + secret, "no")).get("x"));
    CHECK(e.type.starts_with("E_"));
    silent(f.answering(400, envelope("PARAMS_ERROR", secret)).post("x", {}));
    silent(f.answering(429, envelope("T" + secret, secret)).get("x"));
    silent(f.answering(429, envelope("T" + secret, secret)).send("GET", "x"));
    silent(f.answering(401, envelope("AUTH_ERROR", secret)).request("GET", "x"));
    silent(f.answering(401, envelope("AUTH_ERROR", secret)).user("rolf").get<int>("x"));
  }
}

TEST_CASE("a server that repeats a secret in a body without an envelope is not quoted on it") {
  fixture f;
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    for (const int status : {200, 302, 401, 404, 429, 502}) {
      CAPTURE(status);
      const auto e = silent(f.answering(status, "<p>" + secret + secret + "</p>" + secret).get("x"));
      if (!e.body.empty()) CHECK(e.body.starts_with("<p>"));
      silent(f.answering(429, secret).send("GET", "x"));
    }
  }
}

TEST_CASE("a server that repeats a secret in a header is not quoted on it") {
  fixture f;
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    const nango::headers fields{{"X-Echo", "a " + secret + " b"}, {secret, ""}, {"X-Request-Id", "r-1"}};
    f.backend.answer(401, "", fields).answer(200, "", fields).answer(200, R"({"status":"ok","result":"x"})", fields);
    for (const auto& e : {silent(f.api.get("x")), silent(f.api.get("x")), silent(f.api.get<int>("x"))}) {
      REQUIRE(e.headers.size() == 3);
      CHECK(e.headers[0].value == "a *** b");
      CHECK(e.headers[2].value == "r-1");
    }
  }
}

TEST_CASE("several secrets in one text are all replaced") {
  fixture f;
  const auto e = silent(f.answering(502, "a" + key + "b" + password + "c" + written_password + "d" + key).get("x"));
  CHECK(e.body.size() < key.size());
  for (const char c : {'a', 'b', 'c', 'd'}) CHECK(contains(e.body, std::string(1, c)));
}

TEST_CASE("no part is left of a secret that contains another") {
  auto options = options_with_secrets();
  options.proxy = "http://proxy-user:" + key + "-zzz@proxy.example.com:3128";
  fixture f(options);
  const auto e = silent(f.answering(502, "[" + key + "-zzz]").get("x"));
  CHECK_FALSE(contains(e.body, "zzz"));
  CHECK(e.body.ends_with("]"));

  const std::string before(16'384 - key.size() - 2, '.');  // the longer one is cut behind the shorter one
  const auto cut = silent(f.answering(502, before + key + "-zzz").get("x"));
  CHECK(cut.body == before);
}

TEST_CASE("a secret that the kept bytes of a body end within leaves no part of it, wherever it is cut") {
  constexpr std::size_t kept = 16'384;
  fixture f;
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    for (std::size_t cut = 0; cut <= secret.size() + 1; ++cut) {
      CAPTURE(cut);
      // `cut` bytes of it are within what is kept. No secret has a 'z'.
      const auto e = silent(f.answering(502, std::string(kept - cut, 'z') + secret + "zz").get("x"));
      const std::string stays(kept - cut, 'z');
      CHECK(e.body.starts_with(stays));
      CHECK(std::all_of(e.body.begin(), e.body.end(), [](char c) { return c == 'z' || c == '*'; }));
    }
  }
}

TEST_CASE("a secret that is cut within a character leaves no part of it") {
  auto options = options_with_secrets();
  options.api_key = "sécret-ké\xF0\x9F\x98\x80y-0123456789";
  fixture f(options);
  for (std::size_t cut = 1; cut < options.api_key.size(); ++cut) {
    CAPTURE(cut);
    const auto e = f.answering(502, std::string(16'384 - cut, 'z') + options.api_key + "zz").get("x").error();
    CHECK(e.body == std::string(16'384 - cut, 'z'));
  }
}

TEST_CASE("a whole secret at the cut is masked, also where it ends as another begins") {
  auto options = options_with_secrets();
  options.proxy = "http://user:9abcdefgh@proxy.example.com:3128";  // begins as the key ends
  fixture f(options);
  const auto e = f.answering(502, std::string(16'384 - key.size(), 'z') + key + "zz").get("x").error();
  CHECK(e.body == std::string(16'384 - key.size(), 'z') + "***");
}

TEST_CASE("whole secrets before the cut do not keep a cut one") {
  constexpr std::size_t kept = 16'384;
  fixture f;
  for (const auto& whole : secrets) {
    for (const auto& secret : secrets) {
      for (std::size_t cut = 1; cut < secret.size(); ++cut) {
        CAPTURE(whole);
        CAPTURE(secret);
        CAPTURE(cut);
        const auto filler = std::string(kept - cut - whole.size(), 'z');
        const auto e = silent(f.answering(200, whole + filler + secret).get("x"));
        CHECK(std::all_of(e.body.begin(), e.body.end(), [](char c) { return c == 'z' || c == '*'; }));
      }
    }
  }
}

TEST_CASE("a body that was not cut keeps its end") {
  fixture f;
  const auto part = key.substr(0, 10);
  CHECK(silent(f.answering(502, "ends in " + part).get("x")).body == "ends in " + part);
}

TEST_CASE("a key that is longer than what is kept of a body leaves nothing") {
  auto options = options_with_secrets();
  options.api_key = std::string(20'000, 'k');
  fixture f(options);
  CHECK(f.answering(502, options.api_key).get("x").error().body.empty());
  CHECK(f.answering(502, "z" + options.api_key).get("x").error().body == "z");
}

TEST_CASE("a backend that puts a secret into its error is not quoted on it") {
  fixture f;
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    const nango::error said{
        .code = errc::connection_failed, .type = secret, .message = "cannot reach " + secret, .body = secret};
    f.backend.fail(said).fail(said).fail(said);
    CHECK(silent(f.api.get("x")).message.starts_with("cannot reach "));
    silent(f.api.send("GET", "x"));
    silent(f.api.post("x", {}));
  }
}

TEST_CASE("a parse function of the user's own that quotes a secret does not bring it out") {
  auto options = options_with_secrets();
  options.dialect.parse = [](http_response answer) -> nango::result<nango::response> {
    return nango::error{.code = errc::api_error, .type = answer.body, .message = answer.body, .body = answer.body};
  };
  fixture f(options);
  for (const auto& secret : secrets) silent(f.answering(200, "it is " + secret).get("x"));
}

namespace {

// Decoding quotes what it was given.
struct quoting {};
void from_json(const json& from, quoting&) { throw std::runtime_error("cannot read " + from.get<std::string>()); }
// So does encoding.
void to_json(json&, const quoting&) { throw std::runtime_error("cannot write " + key); }

}  // namespace

TEST_CASE("a decode_error does not quote a secret") {
  fixture f;
  for (const auto& secret : secrets) {
    f.backend.ok(secret);
    const auto e = silent(f.api.get<quoting>("x"));
    CHECK(e.code == errc::decode_error);
    CHECK(contains(e.message, "cannot read"));
  }
}

TEST_CASE("the refusal of a call does not quote a secret") {
  fixture f;
  silent(f.api.post("x", quoting{}));
  for (const auto& secret : secrets) {
    CAPTURE(secret);
    silent(f.api.get("x", {}, {.headers = {{secret, "a\nb"}}}));
    silent(f.api.get("x", {}, {.headers = {{"X-Key", secret + "\n"}}}));
    silent(f.api.get("https://" + secret + "/"));
    silent(f.api.get(secret + "?" + secret));
    silent(f.api.request(secret, "x"));
    silent(f.api.user(secret + "\n").get("x"));
    silent(f.api.as({{{secret, "\n"}}, secret}).get("x"));
  }
  CHECK(f.backend.calls() == 0);
}

TEST_CASE("the observer does not see a secret in the path") {
  auto options = options_with_secrets();
  std::vector<std::string> paths;
  options.on_attempt = [&](const nango::attempt& seen) { paths.emplace_back(seen.path); };
  fixture f(options);
  f.backend.ok().ok();
  CHECK(f.api.get("a/" + key + "/b", {{"key", key}}));
  CHECK(f.api.get("a/" + written_password + "/b"));
  REQUIRE(paths.size() == 2);
  for (const auto& path : paths) {
    CHECK(path.starts_with("a/"));
    CHECK(path.ends_with("/b"));
    for (const auto& secret : secrets) CHECK_FALSE(contains(path, secret));
  }
}

TEST_CASE("the observer does not see a secret in an answer's headers, nor in whose call it was") {
  auto options = options_with_secrets();
  options.limit_key = "program of " + key;
  std::vector<std::string> texts;
  options.on_attempt = [&](const nango::attempt& seen) {
    texts.emplace_back(seen.limit_key);
    for (const auto& [name, value] : seen.headers) texts.push_back(name + ": " + value);
  };
  fixture f(options);
  const nango::headers fields{{"X-Echo", key}, {"X-Other", "b"}};
  f.backend.answer(200, R"({"status":"ok"})", fields).answer(404, "", fields);
  CHECK(f.api.request("GET", "x").value().headers[0].value == key);  // the answer is given as it came
  CHECK_FALSE(f.api.get("x"));
  const std::vector<std::string> once{"program of ***", "X-Echo: ***", "X-Other: b"};
  CHECK(texts.size() == 6);
  CHECK(std::vector(texts.begin(), texts.begin() + 3) == once);
  CHECK(std::vector(texts.begin() + 3, texts.end()) == once);
}

TEST_CASE("an answer that is a success is given as it came, secrets and all") {
  fixture f;
  CHECK(f.answering(200, json{{"status", "ok"}, {"result", key}}.dump()).get<std::string>("x").value() == key);
  CHECK(f.answering(404, "raw " + key).send("GET", "x").value().body == "raw " + key);
}

TEST_CASE("a secret of fewer than 8 characters is not searched for in what a server says") {
  auto options = options_with_secrets();
  options.api_key = "example";
  options.proxy = "http://u:contact@proxy.example.com:3128";
  fixture f(options);
  const std::string said = "an example of a contact";
  CHECK(f.answering(400, envelope("PARAMS_ERROR", said)).get("x").error().message == said);
  CHECK(f.answering(502, said).get("x").error().body == said);
  const std::string cut = std::string(16'384 - 3, 'z') + "exa";
  CHECK(f.answering(502, cut).get("x").error().body == cut);
}

TEST_CASE("a secret of 8 characters is searched for") {
  auto options = options_with_secrets();
  options.api_key = "12345678";
  options.proxy = "http://u:abcdefgh@proxy.example.com:3128";
  fixture f(options);
  const auto e = f.answering(502, "z12345678zabcdefghz").get("x").error();
  CHECK_FALSE(contains(e.body, "12345678"));
  CHECK_FALSE(contains(e.body, "abcdefgh"));
}

TEST_CASE("a short key or password is in none of the messages that are made here") {
  nango::client_options options{
      .api_key = "q9!", .base_url = "https://api.example.com/", .proxy = "http://u:w7!@p.example.com:1"};
  const auto check = [](const nango::error& e) {
    CHECK_FALSE(contains(e.message, "q9!"));
    CHECK_FALSE(contains(e.message, "w7!"));
  };
  const std::vector<std::function<void(nango::client_options&)>> changes{
      [](auto& o) { o.api_key += '\n'; }, [](auto& o) { o.proxy += "/x"; }, [](auto& o) { o.proxy = "u:w7!@p:1"; },
      [](auto& o) { o.proxy = "http://u:w7!@p"; }, [](auto& o) { o.base_url = "https://u:q9!@api.example.com/"; }};
  for (const auto& change : changes) {
    auto changed = options;
    change(changed);
    const auto refused = test_client::create(changed, scripted_backend());
    REQUIRE_FALSE(refused);
    check(refused.error());
  }
  fixture f(options);
  check(f.answering(401, "").get("x").error());
  check(f.answering(502, "").get("x").error());
}

TEST_CASE("the refusal of options does not quote a secret, nor does the exception") {
  const std::vector<std::function<void(nango::client_options&)>> changes{
      [](auto& o) { o.api_key += '\n'; },
      [](auto& o) { o.user_token = key + "\n"; },
      [](auto& o) { o.user_agent = key + "\n"; },
      [](auto& o) { o.base_url = "https://" + key + "@api.example.com/"; },
      [](auto& o) { o.base_url = "http://" + key + "/"; },
      [](auto& o) { o.base_url = "https://api.example.com/" + key + "/../"; },
      [](auto& o) { o.proxy = "http://u:" + password + "@proxy.example.com"; },
      [](auto& o) { o.proxy = "https://u:" + password + "@proxy.example.com:1"; },
      [](auto& o) { o.proxy = password; },
      [](auto& o) { o.proxy = "http://" + key + "@proxy.example.com:1"; }};
  for (const auto& change : changes) {
    auto options = options_with_secrets();
    change(options);
    silent(test_client::create(options, scripted_backend()));
    CHECK_THROWS_AS(test_client(options, scripted_backend()), nango::exception);
    try {
      const test_client api(options, scripted_backend());
    } catch (const nango::exception& thrown) {
      check_silent(thrown.error());
      for (const auto& secret : secrets) CHECK_FALSE(contains(thrown.what(), secret));
    }
  }
}

namespace {

// Both refuse with all that they know.
nango::error indiscreet(const nango::client_options& options) {
  return {.code = errc::invalid_argument, .message = "cannot use " + options.api_key + " or " + options.proxy};
}
struct throwing_backend {
  explicit throwing_backend(const nango::client_options& options) { throw nango::exception(indiscreet(options)); }
  nango::result<http_response> send(const http_request&) { return http_response{.status = 204}; }
};
struct created_backend {
  static nango::result<created_backend> create(const nango::client_options& options) { return indiscreet(options); }
  nango::result<http_response> send(const http_request&) { return http_response{.status = 204}; }
};

template <class Backend> void check_built_silently() {
  using api_type = nango::basic_client<Backend, nango::unlimited>;
  CHECK(contains(silent(api_type::create(options_with_secrets())).message, "cannot use"));
  try {
    const api_type api(options_with_secrets());
    FAIL("the backend was built");
  } catch (const nango::exception& thrown) {
    check_silent(thrown.error());
    for (const auto& secret : secrets) CHECK_FALSE(contains(thrown.what(), secret));
  }
}

}  // namespace

TEST_CASE("a backend that cannot be built and quotes a secret does not bring it out") {
  SUBCASE("by its constructor") { check_built_silently<throwing_backend>(); }
  SUBCASE("by its create") { check_built_silently<created_backend>(); }
}

TEST_CASE("a call that ends by an exception of result::value does not quote a secret") {
  fixture f;
  try {
    static_cast<void>(f.answering(401, envelope("AUTH_ERROR", "bad key " + key)).get("x").value());
    FAIL("there is no value");
  } catch (const nango::exception& thrown) {
    CHECK_FALSE(contains(thrown.what(), key));
    check_silent(thrown.error());
  }
}

}  // namespace client_secrets_tests
