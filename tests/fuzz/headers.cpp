// Client: what becomes of headers, tokens, keys and user agents. Either nothing is sent, or each is on the wire as it
// was, and the client's own are what they have to be.
// Bytes: which of the texts that follow are used; key, token, user agent, content type, body; names and values.
#include "fuzz.hpp"
#include "scripted_backend.hpp"

namespace {

using nango_fuzz::check;
using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;

std::string or_else(std::string_view text, const char* other) { return text.empty() ? other : std::string(text); }

std::size_t count(const nango::headers& all, std::string_view name) {
  std::size_t found = 0;
  for (const auto& field : all) {
    bool same = field.name.size() == name.size();
    for (std::size_t i = 0; same && i < name.size(); ++i) same = (field.name[i] | 0x20) == (name[i] | 0x20);
    found += same ? 1 : 0;
  }
  return found;
}
std::string value_of(const nango::headers& all, std::string_view name) {
  for (const auto& field : all) {
    if (field.name == name) return field.value;
  }
  return "";
}

// RFC 9110: fields that no server can read in two ways.
void check_fields(const nango::headers& sent) {
  constexpr std::string_view token_marks = "!#$%&'*+-.^_`|~";
  for (const auto& [name, value] : sent) {
    check(!name.empty(), "a header has a name");
    for (const char c : name) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      check(letter || nango_fuzz::contains(token_marks, {&c, 1}), "a header's name is a token");
    }
    check(!nango_fuzz::has_control(value), "a header's value has no control characters");
    check(!value.starts_with(' ') && !value.ends_with(' '), "a header's value is not trimmed on the way");
  }
  for (const char* once : {"Authorization", "User-Agent", "Accept"}) check(count(sent, once) == 1, once);
  for (const char* framing : {"Host", "Content-Length", "Connection", "Transfer-Encoding"}) {
    check(count(sent, framing) == 0, "framing is the backend's");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  const bool as_user = in.one_in(2), by_identity = in.one_in(2);
  const auto key = or_else(in.text(), "key");
  const std::string token(in.text()), agent(in.text());
  const auto type = or_else(in.text(), "text/plain");
  const std::string body(in.text());
  nango::headers extra;
  while (!in.done()) {
    const auto name = in.text(), value = in.text();
    extra.push_back({std::string(name), std::string(value)});
  }
  nango_test::scripted_backend backend;
  backend.ok();
  const auto made =
      client::create({.api_key = key, .base_url = "https://api.example.com/", .user_agent = agent}, backend);
  if (!made) return check(made.error().code == nango::errc::invalid_argument, "bad options are refused"), 0;
  auto api = as_user ? made->user(token) : *made;
  if (by_identity) api = made->as({.headers = extra});
  const auto got = api.send("POST", "x", {}, body, type, {.headers = by_identity ? nango::headers() : extra});
  if (!got) {
    check(got.error().code == nango::errc::invalid_argument && backend.calls() == 0, "what is refused is not sent");
    check(!nango_fuzz::has_control(got.error().message), "the message is one line");
    return 0;
  }
  const auto sent = backend.last();
  check_fields(sent.headers);
  check(value_of(sent.headers, "Authorization") == "Bearer " + key, "the key is on the wire as it is");
  if (as_user && !by_identity) check(value_of(sent.headers, "X-User-Account") == token, "the call is the user's");
  check(count(sent.headers, "X-User-Account") <= (by_identity ? extra.size() : as_user ? 1 : 0), "of one user");
  check(count(sent.headers, "Content-Type") == (body.empty() ? 0 : 1), "a body has one type");
  check(sent.body == body, "the body is sent as it is");
  for (const auto& [name, value] : extra) {
    const auto is_there = [&](const nango::header& field) { return field.name == name && field.value == value; };
    check(std::any_of(sent.headers.begin(), sent.headers.end(), is_there), "each extra header is sent");
  }
  return 0;
}
