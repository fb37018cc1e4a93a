// Client and default backend: what becomes of headers, tokens, keys and user agents. Either nothing is sent, or each is
// on the wire as it was, byte for byte, and the client's own are what they have to be.
// Bytes: which of the texts that follow are used; key, token, user agent, content type, body; names and values.
#include <algorithm>
#include <chrono>
#include <mutex>

#include "fault_server.hpp"
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

// A server that keeps the request that came last, and a backend with a connection to it.
class wire {
 public:
  std::string base_url() const { return server_.base_url(); }
  std::string request_of(const nango::http_request& sent) {
    auto with_deadline = sent;
    with_deadline.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    const auto got = backend_.send(with_deadline);
    check(got.has_value(), "a sound request is answered");
    const std::lock_guard lock(mutex_);
    return std::exchange(last_, {});
  }

 private:
  std::mutex mutex_{};
  std::string last_{};
  nango_test::fault_server server_{{.tls = false,
                                    .afterwards =
                                        [this](std::string_view request) {
                                          const std::lock_guard lock(mutex_);
                                          last_ = request;
                                          return nango_test::act{.bytes = nango_test::sound_answer("1")};
                                        },
                                    .remembers = false}};
  nango::httplib_backend backend_{
      nango::client_options{.api_key = "key", .base_url = base_url(), .allow_plaintext_loopback = true}};
};

// What the backend makes of the request: its line, the Host, the headers as they are, and what framing needs.
void check_wire(wire& to, const nango::headers& fields, const std::string& body) {
  for (const auto& [name, value] : fields) {
    if (nango_fuzz::contains(name + ": " + value, "Content-Length: ")) return;  // the server would believe it
  }
  const auto base = to.base_url();
  const auto got =
      to.request_of({.method = "POST", .url = base + "x", .headers = fields, .body = body, .max_response_bytes = 1000});
  const auto host = base.substr(7, base.find("/v1/") - 7);
  const auto end = got.find("\r\n\r\n");
  check(end != std::string::npos && got.substr(end + 4) == body, "the body is on the wire as it is");
  const auto head = got.substr(0, end + 2);
  check(head.starts_with("POST /v1/x HTTP/1.1\r\n"), "the request has its line");
  std::string sent;
  for (const auto& [name, value] : fields) sent += name + ": " + value + "\r\n";
  check(nango_fuzz::contains(head, sent), "headers are on the wire as they are, in their order");
  auto rest = head.substr(head.find("\r\n") + 2);
  rest.erase(rest.find(sent), sent.size());
  std::vector<std::string> lines;
  while (!rest.empty()) {
    lines.push_back(rest.substr(0, rest.find("\r\n")));
    rest.erase(0, lines.back().size() + 2);
  }
  bool has_encoding = false;
  for (const auto& [name, value] : fields) has_encoding |= count({{name, value}}, "Accept-Encoding") == 1;
  check(std::find(lines.begin(), lines.end(), "Host: " + host) != lines.end(), "the host is named");
  check(std::find(lines.begin(), lines.end(), "Content-Length: " + std::to_string(body.size())) != lines.end(),
        "the body's length is told");
  check(lines.size() == (has_encoding ? 2 : 3), "nothing else is sent but an Accept-Encoding");
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
  static wire to;
  nango_test::scripted_backend backend;
  backend.ok();
  const auto made = client::create(
      {.api_key = key, .base_url = to.base_url(), .user_agent = agent, .allow_plaintext_loopback = true}, backend);
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
  check_wire(to, sent.headers, sent.body);
  return 0;
}
