// One call of the soak: what is sent, what may come of it, and how it is counted.
#ifndef NANGO_TESTS_SOAK_CALL_HPP
#define NANGO_TESTS_SOAK_CALL_HPP

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "nango.hpp"
#include "process.hpp"
#include "soak_book.hpp"

namespace nango_test::soak {

using nango::errc;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// One call: what is wanted of it, and when it began.
struct call {
  bool to_faults = false;
  std::string user{}, method{};
  std::uint64_t id = 0;
  std::size_t padding = 0;  // of the body
  milliseconds timeout{};
  nango::cancel_source source{};
  steady_clock::time_point began = steady_clock::now();

  std::string text() const { return method + " of id " + std::to_string(id) + (to_faults ? " (faults)" : ""); }
};

// Two clients, for the two servers.
struct clients {
  nango::client gateway, faults;
};

inline nango::result<nango::json> send(const nango::client& api, const call& wanted) {
  const auto handle = api.user(wanted.user);
  const auto path = "calls/" + std::to_string(wanted.id);
  const nango::call_options options{.timeout = wanted.timeout, .cancel = wanted.source.token()};
  if (wanted.method == "GET") return handle.get(path, {}, options);
  const nango::json body{{"id", wanted.id}, {"padding", std::string(wanted.padding, 'x')}};
  return wanted.method == "POST" ? handle.post(path, body, options) : handle.put(path, body, options);
}

inline constexpr seconds most_late(nango_test::is_sanitized ? 20 : 3);  // on a busy machine

inline nango::json expected_answer(const call& wanted) {
  const auto body_id = wanted.method == "GET" ? nango::json() : nango::json(wanted.id);
  return {{"user", wanted.user}, {"id", wanted.id}, {"body_id", body_id}};
}

// Whether what the error says is true, and can come of the way the call went.
inline bool fits(const call& wanted, const nango::error& failure, steady_clock::duration took) {
  const auto status = failure.http_status;
  switch (failure.code) {
    case errc::canceled: return wanted.source.token().canceled();
    case errc::timed_out: return took >= wanted.timeout;
    case errc::connection_failed: return true;
    case errc::rate_limited: return wanted.to_faults || status == 0;  // by our own limiter
    case errc::unexpected_status: return wanted.to_faults || (status >= 502 && status <= 504);
    case errc::invalid_argument:
    case errc::decode_error: return false;
    default: return wanted.to_faults;
  }
}

// What came of it, for the comparison with what the servers executed. Nothing compares a GET.
inline void write_down(book& all, const call& wanted, const nango::result<nango::json>& answer) {
  if (wanted.method == "GET") return;
  auto& noted = all.calls[wanted.id];
  noted.is_post = wanted.method == "POST";
  const bool is_unknown = !answer && answer.error().may_have_executed;
  noted.reported = answer ? outcome::success : is_unknown ? outcome::may_have_executed : outcome::not_executed;
}

// What came of the calls, whoever made them. Thread-safe.
struct counts {
  std::atomic<std::uint64_t> calls = 0, successes = 0, waits = 0, cancels = 0, clients = 0, restarts = 0;
  std::atomic<std::uint64_t> children = 0, stuck_children = 0;
  std::array<std::atomic<std::uint64_t>, 128> errors{};  // by code

  std::uint64_t of(errc code) const { return errors[static_cast<std::size_t>(code)]; }
  std::string text() const {
    auto line = std::to_string(calls) + " calls, " + std::to_string(successes) + " answered";
    for (std::size_t code = 0; code < errors.size(); ++code) {
      if (errors[code] == 0) continue;
      line += ", " + std::to_string(errors[code]) + ' ' + std::string(nango::to_string(static_cast<errc>(code)));
    }
    return line;
  }
};

}  // namespace nango_test::soak

#endif
