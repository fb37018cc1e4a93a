// Lists: for_each of any answer, against get() and iterating; typed lists against typed vectors.
// Bytes: which dialect, which member, a status, Retry-After, Date, the body.
#include <optional>

#include "fuzz.hpp"
#include "scripted_backend.hpp"

namespace {

using nango::errc;
using nango::json;
using nango_fuzz::check;
using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;

// How often the answer's object has that member.
std::size_t count_member(const std::string& body, const std::string& name) {
  std::size_t found = 0;
  const auto whole = json::parse(
      body,
      [&](int depth, json::parse_event_t event, json& parsed) {
        found += depth == 1 && event == json::parse_event_t::key && parsed == name ? 1U : 0U;
        return true;
      },
      false);
  return whole.is_object() ? found : 0;
}

template <class Value> void compare(const client& api, const std::string& body, const std::string& name) {
  const auto whole = api.get<std::vector<Value>>("x");
  std::vector<Value> elements;
  const auto each = api.for_each<Value>("x", [&](Value&& one) { elements.push_back(std::move(one)); });
  if (each) {
    check(whole.has_value(), "for_each succeeds only where get does");
    check(elements == *whole && *each == elements.size(), "the elements are those of get, in their order");
    return;
  }
  const auto& e = each.error();
  if (e.message == "the answer has its list twice") {
    check(e.code == errc::malformed_response, "a list that is there twice is malformed");
    check(nango_fuzz::contains(body, "\\") || count_member(body, name) != 1, "it is there twice");
    return;
  }
  check(!whole, "for_each fails only where get does");
  // Of an element that does not fit and of what is no JSON, or is judged later, the first in the text counts.
  check(e.code == whole.error().code || e.code == errc::decode_error, "the error is that of get");
  if (e.code == errc::decode_error && e.code != whole.error().code) {
    check(!std::is_same_v<Value, json> && e.message.starts_with(name + '['),
          "an element that does not fit came before");
  }
  check(e.body == whole.error().body && e.http_status == whole.error().http_status, "it is about the same answer");
  check(e.headers.size() == whole.error().headers.size(), "with the same headers");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  auto options = nango_test::test_options();
  options.retry.max_attempts = 1;
  if (in.one_in(2)) options.dialect = {.parse = &nango::hosted::parse_bare, .list_member = ""};
  const bool typed = in.one_in(2);
  const auto answer = nango_fuzz::take_answer(in);
  const std::string name(options.dialect.list_member);
  nango_test::scripted_backend backend;
  backend.always([&](const nango::http_request&) -> nango::result<nango::http_response> { return answer; });
  const client api(options, backend);
  typed ? compare<nango::crm::contact>(api, answer.body, name) : compare<json>(api, answer.body, name);
  return 0;
}
