// The phases of a call in which it can be canceled, and one call that is canceled in one of them.
#ifndef NANGO_TESTS_PHASES_HPP
#define NANGO_TESTS_PHASES_HPP

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"

namespace nango_test {

struct phase {
  std::string name;
  std::deque<act> script{};
  bool may_have_executed = true;
  bool limited = false;       ///< The call waits in the limiter, behind an earlier one.
  std::size_t body_size = 0;  ///< Of the request.
  bool tls_only = false;
  entrance door = entrance::open;
};

inline std::vector<phase> all_phases() {
  const std::string head = "HTTP/1.1 200 OK\r\n", more(200, 'x');
  const std::string later = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n";
  return {
      {.name = "limiter", .script = {{.bytes = sound_answer("0")}}, .may_have_executed = false, .limited = true},
      {.name = "backoff", .script = {{.bytes = later}}, .may_have_executed = false},
      {.name = "connect", .may_have_executed = false, .door = entrance::full},
      {.name = "handshake, stalled",
       .script = {{.at = moment::handshake, .then = ending::stall}},
       .may_have_executed = false,
       .tls_only = true},
      {.name = "handshake, dripped",
       .script = {{.at = moment::handshake, .then = ending::drip}},
       .may_have_executed = false,
       .tls_only = true},
      {.name = "request, not read", .script = {{.at = moment::head, .then = ending::stall}}, .body_size = 16U << 20},
      {.name = "answer, waited for", .script = {{.then = ending::stall}}},
      {.name = "head, stalled", .script = {{.bytes = head, .then = ending::stall}}},
      {.name = "head, dripped", .script = {{.bytes = head + "X-A: ", .rest = more, .then = ending::drip}}},
      {.name = "body, stalled", .script = {{.bytes = head + "Content-Length: 1000\r\n\r\n{", .then = ending::stall}}},
      {.name = "body, dripped",
       .script = {{.bytes = head + "Content-Length: 1000\r\n\r\n", .rest = more, .then = ending::drip}}},
  };
}

struct cancellation {
  nango::result<nango::http_response> outcome;
  std::chrono::nanoseconds took;  ///< From cancel() until the call was back.
  bool next_succeeds;             ///< Another call on the same client.
};

/// Cancels a call while it is in the given phase.
inline cancellation cancel_in(const phase& where, bool tls) {
  using std::chrono::steady_clock;
  constexpr std::chrono::milliseconds settling{30};  // from what the server saw to the phase itself
  fault_server server({.tls = tls, .script = where.script, .door = where.door});
  const nango::client api({.api_key = "key",
                           .base_url = server.base_url(),
                           .timeout = std::chrono::seconds(60),
                           .connect_timeout = std::chrono::seconds(60),
                           .rate = {.requests = 1, .per = std::chrono::seconds(20)},
                           .limit_key = where.limited ? "all" : "",
                           .ca_file = server.ca_file(),
                           .allow_plaintext_loopback = true});
  if (where.limited) static_cast<void>(api.get("first"));

  const nango::cancel_source source;
  steady_clock::time_point canceled_at{};
  std::thread other([&] {
    while (server.acts_left() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(settling);
    canceled_at = steady_clock::now();
    source.cancel();
  });
  const std::string body(where.body_size, 'x');
  auto outcome =
      api.send(body.empty() ? "GET" : "POST", "canceled", {}, body, "text/plain", {.cancel = source.token()});
  const auto back_at = steady_clock::now();
  other.join();
  if (where.door != entrance::open) server.open();
  const bool next_succeeds = where.limited || api.get("next").has_value();
  return {std::move(outcome), back_at - canceled_at, next_succeeds};
}

}  // namespace nango_test

#endif
