// Default backend: whatever a peer does, the program gets no SIGPIPE, and what it arranged about SIGPIPE stays.

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace {

thread_local int mask_changes = 0;  // of this thread, by calls of pthread_sigmask

}  // namespace

// In place of the C library's: the linker prefers what the program defines.
extern "C" int pthread_sigmask(int how, const sigset_t* wanted, sigset_t* before) noexcept {
  static const auto original = reinterpret_cast<decltype(&::pthread_sigmask)>(::dlsym(RTLD_NEXT, "pthread_sigmask"));
  mask_changes += wanted != nullptr ? 1 : 0;
  return original(how, wanted, before);
}

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::fault_server;
using nango_test::moment;
using std::chrono::milliseconds;

// How the process and this thread stand towards signals.
struct standing {
  void (*handler)(int) = nullptr;
  int flags = 0;
  std::vector<int> blocked{}, pending{};
  bool operator==(const standing&) const = default;
};
standing how_it_stands() {
  struct sigaction of_sigpipe {};
  sigset_t blocked, pending;
  ::sigaction(SIGPIPE, nullptr, &of_sigpipe);
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  sigpending(&pending);
  standing found{.handler = of_sigpipe.sa_handler, .flags = of_sigpipe.sa_flags};
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (sigismember(&blocked, signal) == 1) found.blocked.push_back(signal);
    if (sigismember(&pending, signal) == 1) found.pending.push_back(signal);
  }
  return found;
}

enum class arranged { nothing, handler, ignored, blocked, pending };

std::atomic<int> caught = 0;

// What a program may have arranged about SIGPIPE. It has to be the same at the end, when this puts back what was.
class arrangement {
 public:
  explicit arrangement(arranged what) {
    struct sigaction wanted {};
    wanted.sa_handler = what == arranged::ignored ? SIG_IGN : SIG_DFL;
    if (what == arranged::handler) wanted.sa_handler = [](int) { ++caught; };
    ::sigaction(SIGPIPE, &wanted, &action_before_);
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    const bool blocks = what == arranged::blocked || what == arranged::pending;
    pthread_sigmask(blocks ? SIG_BLOCK : SIG_UNBLOCK, &sigpipe_, &mask_before_);
    if (what == arranged::pending) pthread_kill(pthread_self(), SIGPIPE);
    at_first_ = how_it_stands();
    CHECK(at_first_.pending.size() == (what == arranged::pending ? 1 : 0));
    // With nothing arranged a SIGPIPE kills this process.
    if (what == arranged::nothing) REQUIRE((at_first_.handler == SIG_DFL && at_first_.blocked.empty()));
    changes_at_first_ = mask_changes;
  }
  ~arrangement() {
    CHECK(mask_changes == changes_at_first_);  // not even for a moment
    CHECK(how_it_stands() == at_first_);
    CHECK(caught == 0);
    const timespec at_once{};
    sigtimedwait(&sigpipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
    ::sigaction(SIGPIPE, &action_before_, nullptr);
  }
  arrangement(const arrangement&) = delete;
  arrangement& operator=(const arrangement&) = delete;

 private:
  standing at_first_{};
  int changes_at_first_ = 0;
  sigset_t sigpipe_{}, mask_before_{};
  struct sigaction action_before_ {};
};

// Runs `misbehave(tls)` over TLS and plain TCP, with each arrangement.
template <class Misbehave> void check_quiet(Misbehave misbehave) {
  for (const bool tls : {true, false}) {
    for (const auto what :
         {arranged::nothing, arranged::handler, arranged::ignored, arranged::blocked, arranged::pending}) {
      CAPTURE(tls);
      CAPTURE(static_cast<int>(what));
      const arrangement kept(what);
      misbehave(tls);
    }
  }
}

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .timeout = milliseconds(20'000),
          .retry = {.max_attempts = 1},
          .ca_file = server.ca_file(),
          .allow_plaintext_loopback = true};
}
nango::client client_of(const fault_server& server) { return nango::client(options_for(server)); }

// The client's answer to a peer that plays `first`; the next call is answered. A deadline that a busy machine let pass
// before the peer came to its act is doubled.
void check_fails(bool tls, const act& first, std::size_t body_size, errc code, milliseconds timeout) {
  const fault_server server({first}, tls);
  const auto api = client_of(server);
  const nango::json body(std::string(body_size, 'x'));
  while (server.acts_left() != 0) {
    const auto answer = api.post("x", body, {.timeout = timeout});
    REQUIRE_FALSE(answer);
    CHECK_MESSAGE(answer.error().code == code, answer.error());
    // What a stalled peer did not read keeps its connection open.
    REQUIRE(nango_test::comes_true([&] { return server.acts_left() == 0 || server.open_connections() == 0; }));
    timeout *= 2;
    REQUIRE(timeout < milliseconds(60'000));
  }
  const auto next = api.get("next");
  REQUIRE_MESSAGE(next, next.error());
  CHECK(*next == "/v1/next");
}

}  // namespace

TEST_CASE("no SIGPIPE from a peer that resets a connection as soon as it is there") {
  check_quiet([](bool tls) {
    check_fails(tls, {.at = moment::accept, .then = ending::reset}, 100'000, errc::connection_failed,
                milliseconds(20'000));
  });
}

TEST_CASE("no SIGPIPE from a peer that resets within the handshake") {
  check_quiet([](bool tls) {
    if (!tls) return;
    check_fails(tls, {.at = moment::handshake, .then = ending::reset}, 100'000, errc::connection_failed,
                milliseconds(20'000));
  });
}

TEST_CASE("no SIGPIPE from a peer that ends a connection with the first bytes of a small request or a large one") {
  for (const auto how : {ending::reset, ending::break_off, ending::close}) {
    CAPTURE(static_cast<int>(how));
    for (const std::size_t size : {1U, 4'000'000U}) {
      CAPTURE(size);
      check_quiet([&](bool tls) {
        check_fails(tls, {.at = moment::head, .then = how}, size, errc::connection_failed, milliseconds(20'000));
      });
    }
  }
}

TEST_CASE("no SIGPIPE when a large request is cut at its deadline while it is being written") {
  check_quiet([](bool tls) {
    check_fails(tls, {.at = moment::head, .then = ending::stall}, 8'000'000, errc::timed_out, milliseconds(500));
  });
}

TEST_CASE("no SIGPIPE from an idle connection that the peer reset, when it is used again and when it is destroyed") {
  check_quiet([](bool tls) {
    fault_server server({}, tls);
    auto api = std::optional(client_of(server));
    REQUIRE(api->get("x"));
    server.reset_all();
    REQUIRE(nango_test::comes_true([&] { return server.open_connections() == 0; }));
    const auto next = api->post("x", {{"a", 1}});
    CHECK_MESSAGE(next, next.error());
    CHECK(server.connections() == 2);
    server.reset_all();
    REQUIRE(nango_test::comes_true([&] { return server.open_connections() == 0; }));
    api.reset();
  });
}

TEST_CASE("no SIGPIPE from an idle connection that the peer reset, when close_idle closes it") {
  check_quiet([](bool tls) {
    fault_server server({}, tls);
    const auto options = options_for(server);
    nango::httplib_backend backend(options);
    const nango::client api(options, backend);
    REQUIRE(api.get("x"));
    server.reset_all();
    REQUIRE(nango_test::comes_true([&] { return server.open_connections() == 0; }));
    backend.close_idle();
    CHECK(api.post("x", {{"a", 1}}));
  });
}

TEST_CASE("no SIGPIPE when the peer resets while the client is being destroyed") {
  check_quiet([](bool tls) {
    fault_server server({}, tls);
    for (int i = 0; i < 20; ++i) {
      auto api = std::optional(client_of(server));
      REQUIRE(api->get("x"));
      std::thread peer([&] { server.reset_all(); });
      api.reset();
      peer.join();
    }
  });
}
