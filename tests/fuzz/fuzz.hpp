// What the fuzzers share: the fuzzer's bytes as values, and a check that ends the run.
#ifndef NANGO_TESTS_FUZZ_HPP
#define NANGO_TESTS_FUZZ_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"

namespace nango_fuzz {

/// Values out of the fuzzer's bytes, from the front. When they are used up everything is 0 or empty.
class bytes {
 public:
  bytes(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const char*>(data), size) {}

  bool done() const noexcept { return left_.empty(); }
  unsigned byte() noexcept {
    if (left_.empty()) return 0;
    const auto first = static_cast<unsigned char>(left_.front());
    left_.remove_prefix(1);
    return first;
  }
  /// Less than `n`, which is 65,536 at most.
  std::size_t below(std::size_t n) noexcept { return (n > 256 ? byte() * 256 + byte() : byte()) % n; }
  bool one_in(std::size_t n) noexcept { return below(n) == n - 1; }
  template <class Value, std::size_t size> const Value& one_of(const std::array<Value, size>& all) noexcept {
    return all[below(size)];
  }
  /// Up to the next 0x1f, so that seeds can be read; other control characters do its work in a text.
  std::string_view text() noexcept {
    const auto found = left_.substr(0, left_.find('\x1f'));
    left_.remove_prefix(found.size() + (found.size() < left_.size() ? 1 : 0));
    return found;
  }
  std::string_view rest() noexcept { return std::exchange(left_, {}); }

 private:
  std::string_view left_;
};

/// A promise that has to hold; else the run ends, and the fuzzer keeps the input.
inline void check(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", promise);
  std::abort();
}

inline bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
inline bool has_control(std::string_view text) noexcept {
  for (const char c : text) {
    if (is_control(c)) return true;
  }
  return false;
}
/// For a terminal: no C0 or C1 control, separator or bidirectional control.
inline bool is_one_line(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned point = 0;  // of two or three bytes
    const bool second = (byte(i + 1) & 0xc0) == 0x80, third = (byte(i + 2) & 0xc0) == 0x80;
    if ((byte(i) & 0xe0) == 0xc0 && second) point = (byte(i) & 0x1f) << 6 | (byte(i + 1) & 0x3f);
    if ((byte(i) & 0xf0) == 0xe0 && second && third) {
      point = (byte(i) & 0xf) << 12 | (byte(i + 1) & 0x3f) << 6 | (byte(i + 2) & 0x3f);
    }
    const bool c1 = (byte(i) & 0xe0) == 0xc0 && point >= 0x80 && point <= 0x9f;
    if (c1 || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069)) return false;
  }
  return !has_control(text);
}
inline bool contains(std::string_view text, std::string_view part) noexcept {
  return text.find(part) != std::string_view::npos;
}
inline bool is_success(int status) noexcept { return status >= 200 && status < 300; }

/// Levels of arrays and objects.
inline std::size_t depth_of(const nango::json& value) {
  std::size_t deepest = 0;
  std::vector<std::pair<const nango::json*, std::size_t>> left{{&value, 0}};
  while (!left.empty()) {
    const auto [next, depth] = left.back();
    left.pop_back();
    deepest = (std::max)(deepest, depth + (next->is_structured() ? 1 : 0));
    if (!next->is_structured()) continue;
    for (const auto& child : *next) left.emplace_back(&child, depth + 1);
  }
  return deepest;
}
/// The code unit of an escape such as \\ud83d that stands there; nothing where there is none.
inline std::optional<unsigned long> escape_at(std::string_view text, std::size_t at) {
  if (text.size() < at + 6 || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  const std::string digits(text.substr(at + 2, 4));
  if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return std::nullopt;
  return std::stoul(digits, nullptr, 16);
}
/// A JSON text with U+FFFD in place of lone surrogates.
inline std::string mended(std::string_view text) {
  std::string all;
  for (std::size_t i = 0; i < text.size();) {
    const auto unit = escape_at(text, i), next = escape_at(text, i + 6);
    const bool high = unit && *unit >= 0xd800 && *unit <= 0xdbff, low = unit && *unit >= 0xdc00 && *unit <= 0xdfff;
    const bool pair = high && next && *next >= 0xdc00 && *next <= 0xdfff;
    const auto size = pair ? 12U : unit ? 6U : text[i] == '\\' ? 2U : 1U;
    all += (high && !pair) || low ? "\\ufffd" : text.substr(i, size);
    i += size;
  }
  return all;
}
/// Discarded: what is no JSON to this library.
inline nango::json parse(std::string_view from) {
  const auto text = mended(from);
  auto parsed = nango::json::parse(text.begin(), text.end(), nullptr, false);
  if (contains(text, {"\0", 1}) || depth_of(parsed) > 512) return nango::json::value_t::discarded;
  return parsed;
}

/// An answer of the status, the headers Retry-After and Date, and the body that the fuzzer chose.
inline nango::http_response take_answer(bytes& in) {
  static constexpr std::array statuses{200, 200, 400, 401, 403, 404, 415, 422, 429, 500, 501, 502,
                                       503, 504, 201, 204, 205, 299, 300, 302, 399, 100, 199, 599};
  nango::http_response answer{.status = in.one_of(statuses)};
  for (const char* name : {"Retry-After", "Date"}) {
    if (const auto value = in.text(); !value.empty()) answer.headers.push_back({name, std::string(value)});
  }
  answer.body = in.rest();
  return answer;
}

/// What holds for the error of any answer.
inline void check_error(const nango::error& e, const nango::http_response& answer) {
  using nango::errc;
  constexpr std::chrono::milliseconds year = std::chrono::hours(24 * 365);
  check(nango::to_string(e.code) != "unknown", "the code is one of errc");
  check(e.http_status == answer.status, "the status is told");
  check(!e.message.empty() && is_one_line(e.message), "the message is one line");
  check(e.body.size() <= 16'384 && answer.body.starts_with(e.body), "the body is the answer's first 16 KiB");
  check(e.headers.size() == answer.headers.size(), "the headers are the answer's");
  check(!e.retry_after || (e.retry_after->count() >= 0 && *e.retry_after <= year + std::chrono::seconds(1)),
        "retry_after is 0 to a year");
  const bool refused = e.code == errc::params_error || e.code == errc::auth_error || e.code == errc::rate_limited;
  check(e.may_have_executed != refused, "what the API refused did not execute, the rest may have");
  check((answer.status == 429) == (e.code == errc::rate_limited), "429 is rate_limited, and nothing else is");
}

}  // namespace nango_fuzz

#endif
