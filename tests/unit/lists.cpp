// Lists: for_each, which hands on one element at a time and means what get() means.

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"
#include "scripted_backend.hpp"

namespace lists_tests {

namespace {

using nango::errc;
using nango::json;
using nango_test::scripted_backend;
using test_client = nango::basic_client<scripted_backend, nango::unlimited>;

// A client over a script; its outcomes are those of each attempt, as on_attempt is told.
struct fixture {
  explicit fixture(const std::function<void(nango::client_options&)>& change = {}) {
    auto options = nango_test::test_options();
    options.retry = {.max_attempts = 3, .base_delay = {}, .max_delay = {}};
    options.on_attempt = [this](const nango::attempt& one) { outcomes.push_back(one.outcome); };
    if (change) change(options);
    api.emplace(options, backend);
  }
  scripted_backend backend{};
  std::vector<std::optional<errc>> outcomes{};
  std::optional<test_client> api{};
};
void bare(nango::client_options& options) {
  options.dialect = {.parse = &nango::hosted::parse_bare, .list_member = ""};
}

// What for_each gives of an answer.
template <class Value> struct listed {
  nango::result<std::size_t> outcome = std::size_t{0};
  std::vector<Value> elements{};
};
template <class Value = json> listed<Value> list(fixture& f, const nango::call_options& options = {}) {
  listed<Value> all;
  all.outcome = f.api->for_each<Value>(
      "x", [&](Value&& one) { all.elements.push_back(std::move(one)); }, {}, options);
  return all;
}
template <class Value = json> listed<Value> list(const std::string& body, int status = 200) {
  fixture f;
  f.backend.always([&](const auto&) { return nango::http_response{.status = status, .body = body}; });
  return list<Value>(f);
}
template <class Value = json> std::vector<Value> elements_of(const std::string& body) {
  auto all = list<Value>(body);
  REQUIRE_MESSAGE(all.outcome, all.outcome.error());
  CHECK(*all.outcome == all.elements.size());
  return all.elements;
}

// As deep as that, the element included.
std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

}  // namespace

TEST_CASE("elements of all kinds are those of get") {
  const std::string body = R"( {"status":"ok","result":[1,-2,3.5,18446744073709551615,"a\nb","",null,true,false,[],{},
      [[1],[{"a":[]}]],{"a":{"b":[1,{"c":null}]},"result":[7],"a":2}]} )";
  const json whole = json::parse(body);
  CHECK(json(elements_of(body)) == whole.at("result"));
  CHECK(elements_of(R"({"status":"ok","result":[]})").empty());
}

TEST_CASE("the members around the list are judged in any order") {
  for (const std::string body :
       {R"({"status":"ok","result":[1,2]})", R"({"result":[1,2],"status":"ok"})",
        R"({"a":[{"result":[7]}],"status":"error","result":[1,2],"b":{"result":[8]},"status":"ok"})"}) {
    CAPTURE(body);
    CHECK(elements_of(body) == std::vector<json>{1, 2});
  }
  for (const std::string body : {R"({"result":[1,2],"status":"error","error_type":"PARAMS_ERROR","error_msg":"no"})",
                                 R"({"status":"error","result":[1,2],"error_type":"PARAMS_ERROR","error_msg":"no"})"}) {
    CAPTURE(body);
    const auto all = list(body);
    REQUIRE_FALSE(all.outcome);
    CHECK(all.elements.empty());
    CHECK(all.outcome.error().code == errc::params_error);
    CHECK(all.outcome.error().message == "no");
    CHECK(all.outcome.error().body == body);
    CHECK(all.outcome.error().request == "GET x");
  }
}

TEST_CASE("elements are handed on while the rest is unread, where what stands before them is sound") {
  const std::string begun = R"({"status":"ok","result":[1,2,)";
  for (const std::string rest :
       {"", "x", "3", "3]", "3],", R"(3],"status":"error","error_type":"AUTH_ERROR"})", "3]}}"}) {
    CAPTURE(rest);
    const auto all = list(begun + rest);
    REQUIRE_FALSE(all.outcome);
    CHECK(all.elements.size() == (rest.starts_with('3') ? 3 : 2));
    CHECK(all.outcome.error().code == (rest.size() > 9 ? errc::auth_error : errc::malformed_response));
    CHECK(all.outcome.error().body == begun + rest);
    CHECK(all.outcome.error().attempts == 1);
    CHECK(all.outcome.error().http_status == 200);
  }
  CHECK(list(R"({"result":[1,2,)").elements.empty());
}

TEST_CASE("a missing list is decode_error with its name, and a repeated one is malformed_response") {
  for (const auto& [result, type] :
       {std::pair{"{\"a\":[1]}", "object"}, {"7", "number"}, {"null", "null"}, {"\"[]\"", "string"}}) {
    const auto all = list(std::string(R"({"status":"ok","result":)") + result + '}');
    REQUIRE_FALSE(all.outcome);
    CHECK(all.outcome.error().code == errc::decode_error);
    CHECK(all.outcome.error().message == std::string("result is not an array, but of type ") + type);
    CHECK(all.outcome.error().body.size() > 20);
  }
  CHECK(list(R"({"status":"ok"})").outcome.error().message == "result is not an array, but of type null");
  CHECK(list("", 204).outcome.error().code == errc::decode_error);
  for (const std::string body :
       {R"({"status":"ok","result":[1],"result":[2]})", R"({"result":[1],"status":"ok","result":[2]})",
        R"({"status":"ok","result":7,"result":[2]})", R"({"status":"ok","result":[2],"result":7})"}) {
    CAPTURE(body);
    CHECK(list(body).outcome.error().code == errc::malformed_response);
  }
}

TEST_CASE("the list is where the dialect and the call say") {
  fixture f(bare);
  f.backend.answer(200, "[1,[2]]").answer(200, R"({"connections":[3]})").answer(200, R"({"connections":[3]})");
  CHECK(list(f).elements == std::vector<json>{1, {2}});
  CHECK(list(f, {.list_member = "connections"}).elements == std::vector<json>{3});
  const auto whole = list(f);
  CHECK(whole.outcome.error().code == errc::decode_error);
  CHECK(whole.outcome.error().message == "the answer is not an array, but of type object");
  f.backend.answer(200, "[[{\"items\":[1]}]]").answer(200, "[1,7.5]");
  CHECK(list(f, {.list_member = "items"}).outcome.error().message == "items is not an array, but of type null");
  CHECK(list<int>(f).outcome.error().message.starts_with("[1] is not of the type asked for: "));

  fixture g;
  g.backend.answer(200, R"({"status":"ok","result":[1],"items":[2]})");
  CHECK(list(g, {.list_member = "items"}).elements == std::vector<json>{2});
}

TEST_CASE("an element that does not decode ends the call with its place") {
  const auto all = list<int>(R"({"status":"ok","result":[1,2,"secret",x)");
  CHECK(all.elements == std::vector<int>{1, 2});
  const auto& e = all.outcome.error();
  CHECK(e.code == errc::decode_error);
  CHECK_MESSAGE(e.message.starts_with("result[2] is not of the type asked for: "), e.message);
  CHECK(e.message.find("secret") == std::string::npos);
  CHECK(e.body.starts_with("{\"status\""));
  CHECK(list<int>(R"({"status":"ok","result":[3000000000]})").outcome.error().code == errc::decode_error);
  const auto contact =
      list<nango::crm::contact>(R"({"status":"ok","result":[{"id":"1"},{"id":"2","adresses":[{"city":true}]}]})");
  CHECK(contact.elements.size() == 1);
  CHECK(contact.outcome.error().message ==
        "result[1].adresses[0].city is not a string, but of type boolean (id \"2\")");
}

TEST_CASE("for_each of results continues after an element that does not decode") {
  const auto all =
      list<nango::result<nango::crm::contact>>(R"({"status":"ok","result":[7,{"id":"1"},{"id":"2","account":{}}]})");
  REQUIRE(all.outcome);
  CHECK(*all.outcome == 3);
  CHECK(all.elements.at(0).error().message == "result[0] is not an object, but of type number");
  CHECK(all.elements.at(0).error().code == errc::decode_error);
  CHECK(all.elements.at(0).error().request == "GET x");
  CHECK(all.elements.at(0).error().attempts == 1);
  CHECK(all.elements.at(0).error().http_status == 200);
  CHECK(all.elements.at(1)->id == "1");
  CHECK(all.elements.at(2).error().message == "result[2].account is not a string, but of type object (id \"2\")");
}

TEST_CASE("false stops: the rest is neither read nor judged") {
  fixture f;
  f.backend.answer(200, R"({"status":"ok","result":[1,2,3,no JSON)").answer(200, R"({"result":[1],"status":"ok"})");
  int last = 0;
  const auto until_two = [&](json&& one) { return (last = one.get<int>()) < 2; };
  CHECK(f.api->for_each("x", until_two).value() == 2);
  CHECK(last == 2);
  CHECK(f.api->for_each("x", [](const json&) { return false; }).value() == 1);
}

TEST_CASE("an exception of fn propagates once, after the observer, and breaks nothing") {
  fixture f;
  f.backend.ok({1, 2}).ok({1, 2});
  int calls = 0;
  const auto throws = [&](const json&) {
    ++calls;
    throw std::out_of_range("enough");
  };
  CHECK_THROWS_AS(static_cast<void>(f.api->for_each("x", throws)), std::out_of_range);
  CHECK(calls == 1);
  CHECK(f.outcomes == std::vector<std::optional<errc>>{std::nullopt});
  CHECK(list(f).elements.size() == 2);
}

TEST_CASE("lone surrogates are mended, and nothing is handed on twice") {
  const std::string lone = R"("caf\ud83d")", mended = "caf\xef\xbf\xbd";
  for (const auto& body : {R"({"status":"ok","result":[1,)" + lone + ",2," + lone + "]}",
                           R"({"result":[1,)" + lone + ",2," + lone + R"(],"status":"ok"})",
                           R"({"a":)" + lone + R"(,"status":"ok","result":[1,)" + lone + ",2," + lone + "]}"}) {
    CAPTURE(body);
    CHECK(elements_of(body) == std::vector<json>{1, mended, 2, mended});
  }
  const std::string odd = R"({"status":"ok","result":[1,)" + lone + ",x]}";
  const auto all = list(odd);
  CHECK(all.elements == std::vector<json>{1, mended});
  CHECK(all.outcome.error().code == errc::malformed_response);
  CHECK(all.outcome.error().body == odd);  // as it came
}

TEST_CASE("nesting ends at 512 levels, as for get") {
  // The envelope, the list, and the element.
  CHECK(elements_of(R"({"status":"ok","result":[1,)" + nested(510) + "]}").size() == 2);
  const auto deep = list(R"({"status":"ok","result":[1,)" + nested(511) + "]}");
  CHECK(deep.elements.size() == 1);
  CHECK(deep.outcome.error().code == errc::malformed_response);
  CHECK(deep.outcome.error().message == "the answer is no JSON; it is nested deeper than 512 levels");
}

TEST_CASE("invalid JSON has the error of get") {
  for (const auto& body :
       {std::string(), std::string("{"), std::string("<html>"), std::string("{\"status\":\"ok\",\"result\":[1]}\0", 30),
        std::string("\xff"), std::string(R"({"status":"ok","result":[1e999]})"),
        std::string(R"({"status":"ok","result":[1]} 2)"), std::string(20'000, '[')}) {
    CAPTURE(body);
    for (const int status : {200, 204, 429, 401, 404, 500}) {
      fixture f([&](nango::client_options& options) {
        if (status == 429) options.retry.max_attempts = 1;  // or it would sleep
      });
      f.backend.always([&](const auto&) {
        return nango::http_response{.status = status, .headers = {{"A", "b"}}, .body = body};
      });
      const auto got = f.api->get<std::vector<json>>("x");
      const auto each = list(f).outcome;
      REQUIRE_FALSE(got);
      REQUIRE_FALSE(each);
      CHECK(each.error().code == got.error().code);
      CHECK(each.error().body == got.error().body);
      CHECK(each.error().headers.size() == got.error().headers.size());
      CHECK(each.error().attempts == got.error().attempts);
      CHECK(each.error().http_status == got.error().http_status);
      CHECK(each.error().may_have_executed == got.error().may_have_executed);
      if (got.error().code != errc::decode_error) CHECK(each.error().message == got.error().message);
    }
  }
}

TEST_CASE("retries are those of get until an element was handed on") {
  fixture f;
  f.backend.answer(503, "")
      .answer(200, R"({"result":[1],"status":"error","error_type":"PROCESSING_ERROR"})")
      .ok({1, 2});
  CHECK(list(f).elements.size() == 2);
  CHECK(f.outcomes == std::vector<std::optional<errc>>{errc::unexpected_status, errc::processing_error, std::nullopt});
  f.backend.answer(200, R"({"status":"ok","result":[1],"status":"error","error_type":"PROCESSING_ERROR"})");
  const auto begun = list(f);
  CHECK(begun.outcome.error().code == errc::processing_error);
  CHECK(begun.elements.size() == 1);
  f.backend.answer(200, R"({"status":"ok","result":[],"status":"error","error_type":"PROCESSING_ERROR"})").ok({1});
  CHECK(list(f).elements.size() == 1);
}

TEST_CASE("typed lists come the same way") {
  fixture f;
  f.backend.answer(200, R"({"items":[{"id":"1"}],"result":[{"id":"2"}],"status":"ok"})").ok(nullptr);
  CHECK(nango::crm::list_accounts(*f.api, {}, {.list_member = "items"}).value().at(0).id == "1");
  CHECK(nango::crm::list_accounts(*f.api).error().message == "result is not an array, but of type null");
}

namespace {

// Envelopes that are mutated: sound ones, and parts that change what they mean.
constexpr std::array<std::string_view, 30> parts{"{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 ",",
                                                 ":",
                                                 "\"status\":\"ok\"",
                                                 "\"status\":\"error\"",
                                                 "\"error_type\":\"AUTH_ERROR\"",
                                                 "\"result\":",
                                                 "\"result\":[",
                                                 "\"re\\u0073ult\":",
                                                 "\"status\":",
                                                 "\"ok\"",
                                                 "\"\\ud83d\"",
                                                 "\"\\ud83d\\ude00\"",
                                                 "\"\\\\ud83d\"",
                                                 "null",
                                                 "true",
                                                 "7",
                                                 "-0.5e3",
                                                 "1e999",
                                                 "\"\"",
                                                 " ",
                                                 "\"a\":",
                                                 "{\"result\":[3]}",
                                                 "[[1],2]",
                                                 "\xff",
                                                 "\"\xc3\xa4\"",
                                                 "x"};
std::string mutated(std::mt19937& random) {
  static const std::array<std::string, 6> sound{
      R"({"status":"ok","result":[{"id":"1","a":[1,2]},7,"x",null]})",
      R"({"result":[1,{"b":{"result":[2]}}],"status":"ok"})",
      R"({"a":[1,"\ud83d"],"status":"ok","result":["\ud83d","\ude00",[]],"z":{}})",
      R"([1,[2],{"result":[]}])",
      R"({"status":"error","error_type":"PARAMS_ERROR","error_msg":"m","result":[1]})",
      R"({"result":[1],"status":"ok","result":[2,{"a":1,"a":2}]})"};
  const auto below = [&](std::size_t n) { return random() % n; };
  auto text = sound[below(sound.size())];
  for (auto left = below(4); left > 0; --left) {
    const auto at = below(text.size() + 1);
    switch (below(4)) {
      case 0: text.insert(at, parts[below(parts.size())]); break;
      case 1: text.erase(at, below(6)); break;
      case 2: text.resize(at); break;
      default: text.insert(at, text, below(text.size() + 1), below(20)); break;
    }
  }
  return text;
}

// How often the list's name is in a text; 0 where that cannot be told.
std::size_t names_in(const std::string& text) {
  std::size_t found = 0;
  const auto count = [&](int depth, json::parse_event_t event, json& parsed) {
    found += depth == 1 && event == json::parse_event_t::key && parsed == "result" ? 1U : 0U;
    return true;
  };
  return json::parse(text, count, false).is_discarded() ? 0 : found;
}

}  // namespace

TEST_CASE("for_each and get agree on every answer") {
  std::mt19937 random(27);
  std::size_t successes = 0, failures = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto body = mutated(random);
    CAPTURE(body);
    fixture f(i % 5 == 0 ? bare : [](nango::client_options&) {});
    f.backend.always([&](const auto&) { return nango::http_response{.status = 200, .body = body}; });
    const auto got = f.api->get<std::vector<json>>("x");
    const auto all = list(f);
    const bool twice = !all.outcome && all.outcome.error().message == "the answer has its list twice";
    if (twice) {
      REQUIRE(all.outcome.error().code == errc::malformed_response);
      REQUIRE(names_in(body) != 1);
    } else if (got) {
      ++successes;
      REQUIRE_MESSAGE(all.outcome, all.outcome.error());
      REQUIRE(all.elements == *got);
      REQUIRE((i % 5 == 0 || names_in(body) < 2));
    } else {
      ++failures;
      REQUIRE_FALSE(all.outcome);
      REQUIRE(all.outcome.error().code == got.error().code);
      REQUIRE(all.outcome.error().body == got.error().body);
    }
  }
  CHECK(successes > 800);
  CHECK(failures > 800);
}

}  // namespace lists_tests
