// Paths and queries: whatever is in them, the bytes on the wire parse back to the same segments and parameters, below
// the base URL and nowhere else.
// Bytes: how many segments, whether by path(); base URL; segments; then names and values of parameters.
#include "fuzz.hpp"
#include "scripted_backend.hpp"

namespace {

using nango_fuzz::bytes;
using nango_fuzz::check;
using texts = std::vector<std::string>;

texts split(std::string_view text, char at) {
  texts parts(1);
  for (const char c : text) c == at ? parts.emplace_back() : (parts.back() += c, parts.back());
  return parts;
}
int digit(char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }
bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); }
// Not as the library does it: by position. A '%' that begins no escape stands for itself.
std::string decoded(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && is_hex(text[i + 1]) && is_hex(text[i + 2]);
    plain += escape ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    i += escape ? 2 : 0;
  }
  return plain;
}

// What a base URL that was accepted is made of, read by hand: scheme://authority/path.
struct parts {
  std::string scheme{}, authority{}, path{};
};
std::string lowered(std::string_view text) {
  std::string low(text);
  for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return low;
}
parts split_base(const std::string& url) {
  const auto host = url.find("://") + 3;
  const auto path = (std::min)(url.find('/', host), url.size());
  return {lowered(url.substr(0, host - 3)), lowered(url.substr(host, path - host)), url.substr(path)};
}

// The authority without a port that is the scheme's own, or written with zeros.
std::string usual(const parts& url) {
  const auto colon = url.authority.rfind(':');
  if (colon == std::string::npos || url.authority.ends_with(']')) return url.authority;
  const auto port = std::stoi(url.authority.substr(colon + 1));
  const auto host = url.authority.substr(0, colon);
  return port == (url.scheme == "https" ? 443 : 80) ? host : host + ':' + std::to_string(port);
}

void check_origin(const std::string& base, const std::string& url) {
  const auto asked = split_base(base), got = split_base(url);
  check(got.scheme == asked.scheme && usual(got) == usual(asked), "the request goes to the base URL's host");
  check(asked.scheme == "https" || asked.authority.starts_with("127.") || asked.authority.starts_with("localhost") ||
            asked.authority.starts_with("[::1]"),
        "plaintext is for loopback only");
}

void check_query(const std::string& text, const nango::query& asked) {
  if (asked.empty()) return check(text.empty(), "no parameters, no query");
  const auto pairs = split(text, '&');
  check(pairs.size() == asked.size(), "each parameter is there once");
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto pair = split(pairs[i], '=');
    check(pair.size() == 2 && decoded(pair[0]) == asked[i].name && decoded(pair[1]) == asked[i].value,
          "parameters come back as they were");
  }
}

// The last segments are those that were asked for.
void check_segments(const std::string& path, const texts& asked, bool encoded) {
  const auto got = split(path, '/');
  check(got.size() > asked.size(), "each segment is there");
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto& segment = got[got.size() - asked.size() + i];
    check(decoded(segment) == (encoded ? asked[i] : decoded(asked[i])), "segments come back as they were");
    check(decoded(segment) != "." && decoded(segment) != ".." && !segment.empty(), "nothing climbs out");
  }
}

void check_url(const std::string& url, const std::string& base, const texts& segments, bool encoded,
               const nango::query& parameters) {
  for (const char c : url) check(c > ' ' && c < 0x7f && c != '#', "a URL has no control byte, space or fragment");
  check_origin(base, url);
  const auto halves = split(url, '?');
  check(halves.size() <= 2, "there is one '?' at most");
  check_segments(halves[0], segments, encoded);
  check_query(halves.size() == 2 ? halves[1] : "", parameters);
}

std::string joined(const texts& segments) {
  std::string path;
  for (const auto& segment : segments) path += (&segment == &segments.front() ? "" : "/") + segment;
  return path;
}
std::string encoded_path(const texts& s) {
  switch (s.size()) {
    case 1: return nango::path(s[0]);
    case 2: return nango::path(s[0], s[1]);
    default: return nango::path(s[0], s[1], s[2]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bytes in(data, size);
  texts segments(1 + in.below(3));
  const bool encoded = in.one_in(2);
  const std::string chosen(in.text());
  const std::string base = chosen.empty() ? "https://api.example.com/v1/" : chosen;
  for (auto& segment : segments) segment = in.text();
  nango::query parameters;
  while (!in.done()) {
    const auto name = in.text(), value = in.text();
    parameters.emplace_back(std::string(name), value);
  }
  nango_test::scripted_backend backend;
  backend.ok();
  using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;
  const auto api = client::create({.api_key = "key", .base_url = base, .allow_plaintext_loopback = true}, backend);
  if (!api) return check(api.error().code == nango::errc::invalid_argument, "a bad base URL is refused"), 0;
  const auto path = encoded ? encoded_path(segments) : joined(segments);
  const auto got = api->get(path, parameters);
  if (!got) {
    check(got.error().code == nango::errc::invalid_argument && backend.calls() == 0, "what is refused is not sent");
    return 0;
  }
  if (!encoded) segments = split(path.starts_with('/') ? path.substr(1) : path, '/');
  check_url(backend.last().url, base, segments, encoded, parameters);
  return 0;
}
