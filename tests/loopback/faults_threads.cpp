// Default backend: many threads, a server that fails now and then, and clients that come and go.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <latch>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "process.hpp"
#ifndef _WIN32
#include "server_process.hpp"
#endif

namespace faults_threads_tests {

namespace {

using nango::errc;
using nango_test::act;
using nango_test::comes_true;
using nango_test::ending;
using nango_test::fault_server;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .retry = {.max_attempts = 1},
          .ca_file = server.ca_file(),
          .allow_plaintext_loopback = true};
}

// What this process holds; where everything is gone again, it is what it was.
class census {
 public:
  census() {
    std::thread([] {}).join();                      // a sanitizer begins a thread of its own with the program's first
    std::this_thread::sleep_for(milliseconds(50));  // until those that were joined are gone from Linux's list too
    descriptors_ = nango_test::open_descriptors();
    threads_ = nango_test::threads();
  }
  bool is_back() const {
    return comes_true(
        [this] { return nango_test::open_descriptors() <= descriptors_ && nango_test::threads() <= threads_; });
  }

 private:
  std::size_t descriptors_ = 0, threads_ = 0;
};

// What becomes of a request: drawn from a number, so that it can be known before. Of 100, one is answered with a reset,
// one with a close, one with silence.
ending fate(std::uint64_t number) {
  number = (number + 20'260'101) * 0x9e3779b97f4a7c15U;
  const auto drawn = ((number ^ (number >> 32)) * 0xd6e8feb86659fd93U >> 32) % 100;
  constexpr std::array bad{ending::reset, ending::close, ending::stall};
  return drawn < bad.size() ? bad[drawn] : ending::keep;
}
act meet(ending its_fate, std::string_view request) {
  return its_fate == ending::keep ? nango_test::answer_soundly(request) : act{.then = its_fate};
}

// The number at the end of a request's target, "/v1/7".
std::uint64_t id_of(std::string_view request) {
  return std::stoull(std::string(request.substr(request.find("/v1/") + 4)));
}

#ifdef _WIN32  // or Wine, whose server does one thing at a time
constexpr int request_count = 5'000;
constexpr milliseconds patience(4000);
#else
constexpr int request_count = 20'000;
constexpr milliseconds patience(1000);
#endif

// What came of the calls. Their ids are 0, 1, 2 ...; those with an odd one are POSTs.
struct outcomes {
  std::vector<errc> of{};  // 0: an answer
  std::atomic<int> astray = 0, late = 0;

  explicit outcomes(int count) : of(static_cast<std::size_t>(count)) {}
  std::size_t answered() const { return static_cast<std::size_t>(std::count(of.begin(), of.end(), errc{})); }
};

// 64 threads make the calls. None should take longer than `most`.
void call_all(const nango::client& api, outcomes& seen, std::chrono::seconds most) {
  std::atomic<std::size_t> next_id = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] {
      for (auto id = next_id++; id < seen.of.size(); id = next_id++) {
        const auto path = std::to_string(id);
        const auto began = steady_clock::now();
        const auto answer = id % 2 == 0 ? api.get(path) : api.post(path, {{"id", id}});
        if (steady_clock::now() - began > most) ++seen.late;
        if (answer && *answer != "/v1/" + path) ++seen.astray;
        seen.of[id] = answer ? errc{} : answer.error().code;
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

// What holds after `call_all`, whatever the retries.
void check_sound(const outcomes& seen, const fault_server& server, int most_gets) {
  CHECK(seen.astray == 0);
  CHECK(seen.late == 0);
  CHECK(seen.answered() >= seen.of.size() * 95 / 100);
  for (const auto code : seen.of) {
    const bool is_expected = code == errc{} || code == errc::connection_failed || code == errc::timed_out;
    CHECK_MESSAGE(is_expected, nango::to_string(code));
  }
  std::map<std::uint64_t, int> times;
  for (const auto& request : server.requests()) ++times[id_of(request)];
  for (const auto& [id, count] : times) {
    CAPTURE(id);
    CHECK(count <= (id % 2 == 0 ? most_gets : 1));
  }
}

}  // namespace

TEST_CASE("64 threads and a server that fails at some requests: each call gets its own answer or its own error") {
  const census before;
  {
    outcomes seen(request_count);
    const fault_server server(
        {.afterwards = [](std::string_view request) { return meet(fate(id_of(request)), request); }});
    auto options = options_for(server);
    options.attempt_timeout = patience;
    call_all(nango::client(options), seen, std::chrono::seconds(10));
    check_sound(seen, server, 1);
    int cut = 0, told = 0;
    for (std::size_t id = 0; id < seen.of.size(); ++id) {
      CAPTURE(id);
      const auto its_fate = fate(id);
      if (its_fate != ending::keep) CHECK(seen.of[id] != errc{});
      if (its_fate == ending::stall) CHECK(seen.of[id] == errc::timed_out);
      if (its_fate == ending::keep || its_fate == ending::stall) continue;
      ++cut;
      if (seen.of[id] == errc::connection_failed) ++told;
    }
    CHECK(cut >= request_count / 100);
    CHECK(told >= cut * 9 / 10);  // a busy machine may have needed the second for the handshake
  }
  CHECK(before.is_back());
}

TEST_CASE("the same with the default retries: what was sent once with a POST is not sent again") {
  const census before;
  {
    outcomes seen(request_count / 4);
    std::atomic<std::uint64_t> number = 0;
    const fault_server server({.afterwards = [&](std::string_view request) { return meet(fate(number++), request); }});
    auto options = options_for(server);
    options.attempt_timeout = patience;
    options.retry = {};
    call_all(nango::client(options), seen, std::chrono::seconds(20));
    check_sound(seen, server, options.retry.max_attempts);
    std::size_t lost = 0;  // 1 of 37,000 is to be expected
    for (std::size_t id = 0; id < seen.of.size(); id += 2) lost += seen.of[id] == errc{} ? 0U : 1U;
    CHECK(lost <= seen.of.size() / 200);
  }
  CHECK(before.is_back());
}

TEST_CASE("a handle is destroyed while calls of its copies run: they end as if nothing had happened") {
  const census before;
  {
    std::atomic<int> under_way = 0, answered = 0;
    std::latch gone(1);
    const fault_server server({.afterwards = [&](std::string_view request) {
      ++under_way;
      gone.wait();
      return nango_test::answer_soundly(request);
    }});
    auto api = std::optional<nango::client>(options_for(server));
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, copy = i % 2 == 0 ? *api : api->user("someone")] {
        for (const char* path : {"first", "second"}) {
          const auto answer = copy.get(path);
          if (answer && *answer == std::string("/v1/") + path) ++answered;
        }
      });
    }
    CHECK(comes_true([&] { return under_way == 8; }));
    api.reset();
    gone.count_down();
    for (auto& thread : threads) thread.join();
    CHECK(answered == 16);
  }
  CHECK(before.is_back());
}

namespace {

// Calls a peer that plays `script`, over TLS and plain TCP, and destroys the client.
void check_destroyed_at_once(const act& script, errc expected, const std::string& body = "x") {
  const census before;
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const fault_server server({script}, tls);
    auto api = std::optional<nango::client>(options_for(server));
    const nango::cancel_source source;
    std::thread other([&] {
      if (expected != errc::canceled) return;
      std::this_thread::sleep_for(milliseconds(100));  // so that the call is under way; it ends the same if not
      source.cancel();
    });
    const milliseconds timeout(expected == errc::timed_out ? 300 : 20'000);
    const auto answer = api->send("POST", "x", {}, body, "text/plain", {.timeout = timeout, .cancel = source.token()});
    CHECK_MESSAGE(answer.error().code == expected, answer.error());
    const auto began = steady_clock::now();
    api.reset();
    CHECK(steady_clock::now() - began < std::chrono::seconds(4));
    other.join();
  }
  CHECK(before.is_back());
}

}  // namespace

TEST_CASE("a client is destroyed at once, also when the peer of its idle connection neither reads nor closes") {
  check_destroyed_at_once({.bytes = nango_test::sound_answer("1"), .then = ending::stall}, errc{});
}

TEST_CASE("a client is destroyed at once after a call to a silent peer that timed out or was canceled") {
  const std::string large(8'000'000, 'x');
  check_destroyed_at_once({.then = ending::stall}, errc::timed_out);
  check_destroyed_at_once({.at = nango_test::moment::head, .then = ending::stall}, errc::timed_out, large);
  check_destroyed_at_once({.at = nango_test::moment::accept, .then = ending::stall}, errc::timed_out);
  check_destroyed_at_once({.then = ending::stall}, errc::canceled);
  check_destroyed_at_once({.at = nango_test::moment::head, .then = ending::stall}, errc::canceled, large);
}

TEST_CASE("clients that come and go leave no descriptor and no thread") {
  const census at_first;
  {
    const fault_server server(nango_test::fault_server_options{});
    REQUIRE(nango::client(options_for(server)).get("x"));
    const census before;
    for (int i = 0; i < 200; ++i) {
      const nango::client api(options_for(server));
      if (i % 2 == 0) REQUIRE(api.get("x"));
    }
    CHECK(before.is_back());
  }
  CHECK(at_first.is_back());
}

#ifndef _WIN32  // which has no fork
namespace {

// The most threads that this process had while it lived, without its own.
class thread_watch {
 public:
  ~thread_watch() { stop(); }
  std::size_t stop() {
    done_ = true;
    if (thread_.joinable()) thread_.join();
    return most_ - 1;
  }

 private:
  std::atomic<bool> done_ = false;
  std::size_t most_ = 0;
  std::thread thread_{[this] {
    while (!done_) most_ = (std::max)(most_, nango_test::threads());
  }};
};

}  // namespace

TEST_CASE("a client starts no thread, whatever becomes of its calls") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const nango_test::server_process server(
        nango_test::fault_server_options{.tls = tls,
                                         .script = {{.bytes = nango_test::sound_answer("1")},
                                                    {.then = ending::stall},
                                                    {.then = ending::reset},
                                                    {.then = ending::stall}}});
    std::thread([] {}).join();                      // a sanitizer begins a thread of its own with the program's first
    std::this_thread::sleep_for(milliseconds(50));  // until those that were joined are gone from Linux's list too
    const auto before = nango_test::threads();
    thread_watch seen;
    {
      const nango::client api({.api_key = "key",
                               .base_url = server.base_url(),
                               .retry = {.max_attempts = 1},
                               .ca_file = server.ca_file(),
                               .allow_plaintext_loopback = true});
      const auto other = api.user("someone");
      CHECK(api.get("answered"));
      CHECK_FALSE(api.get("stalled", {}, {.timeout = milliseconds(200)}));
      CHECK_FALSE(other.get("reset"));
      const nango::cancel_source source;
      CHECK_FALSE(api.get("stalled", {}, {.timeout = milliseconds(200), .cancel = source.token()}));
      CHECK(other.post("answered", {{"a", 1}}, {.cancel = source.token()}));
      std::this_thread::sleep_for(milliseconds(50));
    }
    CHECK(seen.stop() == before);
  }
}
#endif

}  // namespace faults_threads_tests
