// Default backend: a loopback server that answers with the fuzzer's bytes, over TLS or plain TCP, whole or byte by
// byte. Each call ends in time, what it gives is sound, and the next call on the same client gets its own answer or
// none. Bytes: TLS or not, the method, how the answer ends, whether it goes out bytewise; the answer as it is.
#include <chrono>
#include <memory>
#include <mutex>

#include "fault_server.hpp"
#include "fuzz.hpp"

namespace {

using namespace std::chrono_literals;
using nango_fuzz::check;
using nango_test::act;
using nango_test::ending;

constexpr std::size_t most = 512;  // bytes of a body
constexpr auto patience = 200ms;

// A server that gives the next answer to the first request of each pair, and its own to the second.
class peer {
 public:
  explicit peer(bool tls)
      : server_({.tls = tls, .afterwards = [this](std::string_view request) { return next(request); }}) {}

  void prepare(std::string answer, ending then, bool bytewise) {
    const std::lock_guard lock(mutex_);
    answer_ = {.bytes = std::move(answer), .then = then, .bytewise = bytewise};
  }
  const nango_test::fault_server& server() const { return server_; }

 private:
  act next(std::string_view request) {
    const std::lock_guard lock(mutex_);
    if (nango_fuzz::contains(request.substr(0, request.find('\r')), "/own")) return nango_test::answer_soundly(request);
    return answer_;
  }

  std::mutex mutex_{};
  act answer_{};
  nango_test::fault_server server_;
};

struct side {
  explicit side(bool tls) : it(tls) {}
  peer it;
  nango::client api{{.api_key = "key",
                     .base_url = it.server().base_url(),
                     .timeout = patience,
                     .retry = {.max_attempts = 1},
                     .max_response_bytes = most,
                     .ca_file = it.server().ca_file(),
                     .allow_plaintext_loopback = true}};
};

void check_answer(const nango::http_response& got, std::string_view sent) {
  check(got.status >= 200 && got.status <= 599, "an answer has a status");
  check(got.body.size() <= most, "a body has its bound");
  for (const auto& [name, value] : got.headers) {
    check(!name.empty() && !nango_fuzz::has_control(name), "names of headers are clean");
    for (const char c : value) check(c == '\t' || !nango_fuzz::is_control(c), "values of headers are clean");
  }
  check(sent.starts_with("HTTP/1."), "what is no HTTP is no answer");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::array methods{"GET", "HEAD", "POST", "DELETE"};
  static constexpr std::array endings{ending::close, ending::break_off};
  static side plain(false), secure(true);
  nango_fuzz::bytes in(data, size);
  const bool tls = in.one_in(8);  // two handshakes take some 20 ms
  auto& on = tls ? secure : plain;
  const auto method = in.one_of(methods);
  const auto then = in.one_in(32) ? ending::keep : in.one_of(endings);  // which mostly waits for the deadline
  const bool bytewise = in.one_in(4);
  const std::string answer(in.rest());
  on.it.prepare(answer, then, bytewise);
  const auto began = std::chrono::steady_clock::now();
  const auto got = on.api.send(method, "any");
  check(std::chrono::steady_clock::now() - began < patience + 5s, "a call ends by its deadline");
  if (got) check_answer(*got, answer);
  if (!got) check(nango::to_string(got.error().code) != "unknown", "the code is one of errc");
  const auto own = on.api.get("own");
  check(!own || *own == "/v1/own", "the next call's answer is its own");
  const auto said = own ? nango::errc() : own.error().code;
  const bool late = said == nango::errc::connection_failed || said == nango::errc::timed_out;  // on a busy machine
  check(own || then == ending::keep || late, "a closed connection is replaced");
  return 0;
}
