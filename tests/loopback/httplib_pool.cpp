// Default backend: how many connections it keeps, for how long, and how they are set up.

#include <doctest/doctest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <latch>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "sockets.hpp"

namespace httplib_pool_tests {

namespace {

using nango_test::fault_server;
using nango_test::fault_server_options;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .retry = {.max_attempts = 1},
          .ca_file = server.ca_file(),
          .allow_plaintext_loopback = true};
}
nango::client client_of(const fault_server& server) { return nango::client(options_for(server)); }

// Waits until the server has that many open connections; false: it does not come to that.
bool comes_to(const fault_server& server, std::size_t open, std::chrono::seconds bound) {
  const auto until = steady_clock::now() + bound;
  while (server.open_connections() != open && steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  return server.open_connections() == open;
}

}  // namespace

TEST_CASE("each request in flight has a connection of its own, and all of them are kept") {
  constexpr int in_flight = 70;
  std::mutex mutex;
  std::condition_variable all_there;
  int there = 0;
  fault_server server({.tls = true, .afterwards = [&](std::string_view request) {
                         std::unique_lock lock(mutex);
                         if (++there % in_flight == 0) all_there.notify_all();
                         all_there.wait(lock, [&] { return there % in_flight == 0; });
                         return nango_test::answer_soundly(request);
                       }});
  const auto api = client_of(server);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < in_flight; ++i) threads.emplace_back([&api] { CHECK(api.get("x")); });
    for (auto& thread : threads) thread.join();
    CHECK(server.connections() == in_flight);
    CHECK(server.open_connections() == in_flight);
  }
}

TEST_CASE("200 threads that call in bursts make as many connections as were ever in flight") {
  constexpr int callers = 200, bursts = 10;
  const fault_server server({.tls = false, .afterwards = [](std::string_view request) {
                               std::this_thread::sleep_for(milliseconds(50));
                               return nango_test::answer_soundly(request);
                             }});
  const auto api = client_of(server);
  std::barrier together(callers);
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&] {
      for (int burst = 0; burst < bursts; ++burst) {
        together.arrive_and_wait();
        answered += api.get("x") ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(answered == callers * bursts);
  CHECK(server.connections() <= callers);
}

TEST_CASE("the connection that was used last is used next, so that the others grow old") {
  std::mutex mutex;
  std::vector<std::thread::id> users;  // the server's thread of each request of the second round
  const fault_server server({.tls = true, .afterwards = [&](std::string_view request) {
                               if (request.find("/v1/again") != std::string_view::npos) {
                                 const std::lock_guard lock(mutex);
                                 users.push_back(std::this_thread::get_id());
                               } else {
                                 std::this_thread::sleep_for(milliseconds(200));
                               }
                               return nango_test::answer_soundly(request);
                             }});
  const auto api = client_of(server);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&api] { CHECK(api.get("x")); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 20; ++i) REQUIRE(api.get("again"));
  CHECK(server.connections() == 4);
  const std::lock_guard lock(mutex);
  CHECK(std::set(users.begin(), users.end()).size() == 1);
}

TEST_CASE("a request goes out at once: no connection waits to fill a segment") {
  fault_server server({}, true);
  const auto api = client_of(server);
  REQUIRE(api.get("x"));
  const auto sockets = nango_test::sockets_to(server.port());
  REQUIRE_FALSE(sockets.empty());
  for (const int fd : sockets) {
    int on = 0;
    REQUIRE(nango_test::get_option(fd, IPPROTO_TCP, TCP_NODELAY, on) == 0);
    CHECK(on != 0);
  }
}

// --- How long an idle connection is kept ---

TEST_CASE("what is idle for 50 s is not used again: the next call closes it, and no thread does it before") {
  const fault_server server(nango_test::fault_server_options{});
  const auto api = client_of(server);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([&api] { CHECK(api.get("x")); });
  for (auto& thread : threads) thread.join();
  const auto made = server.connections();
  const auto idle_since = steady_clock::now();
  std::this_thread::sleep_until(idle_since + std::chrono::seconds(48));
  REQUIRE(api.get("x"));  // of the last one only
  CHECK(server.connections() == made);
  std::this_thread::sleep_until(idle_since + std::chrono::seconds(52));
  CHECK(server.open_connections() == static_cast<std::size_t>(made));
  REQUIRE(api.post("next", {{"a", 1}}));
  CHECK(server.connections() == made);
  CHECK(comes_to(server, 1, std::chrono::seconds(20)));
  std::this_thread::sleep_until(steady_clock::now() + std::chrono::seconds(51));
  CHECK(server.open_connections() == 1);
  REQUIRE(api.post("next", {{"a", 1}}));
  CHECK(server.connections() == made + 1);
  CHECK(comes_to(server, 1, std::chrono::seconds(20)));
}

namespace {

// A server whose answers have these fields.
fault_server_options announcing(const std::string& fields) {
  return {.afterwards = [fields](std::string_view) {
    return nango_test::act{.bytes = "HTTP/1.1 200 OK\r\n" + fields +
                                    "Content-Length: 26\r\n\r\n{\"status\":\"ok\",\"result\":1}"};
  }};
}

}  // namespace

TEST_CASE("a connection is kept for no longer than the answer's Keep-Alive says") {
  for (const std::string fields : {"Keep-Alive: timeout=2\r\n", "keep-alive: max=100, Timeout=2\r\n",
                                   "Keep-Alive: max=100\r\nKeep-Alive: timeout=2\r\n"}) {
    CAPTURE(fields);
    const fault_server server(announcing(fields));
    const auto api = client_of(server);
    REQUIRE(api.get("x"));
    REQUIRE(api.get("x"));
    CHECK(server.connections() == 1);
    std::this_thread::sleep_for(milliseconds(2100));
    CHECK(server.open_connections() == 1);  // nobody calls
    REQUIRE(api.get("x"));
    CHECK(server.connections() == 2);
    CHECK(comes_to(server, 1, std::chrono::seconds(20)));
  }
}

TEST_CASE("a connection with a Keep-Alive of 0 is not used again, and one that makes no sense disturbs no call") {
  const fault_server none(announcing("Keep-Alive: timeout=0\r\n"));
  const auto first = client_of(none);
  for (int i = 0; i < 3; ++i) REQUIRE(first.get("x"));
  CHECK(none.connections() == 3);
  for (const std::string value : {"timeout=x", "timeout=-1", "timeout=", "timeout", "timeout=99999999999999999999999",
                                  "timeout=999999999999", ",;=", "xtimeout=0", ""}) {
    CAPTURE(value);
    const fault_server server(announcing("Keep-Alive: " + value + "\r\n"));
    const auto api = client_of(server);
    for (int i = 0; i < 3; ++i) CHECK(api.post("x", {{"i", i}}));
  }
}

TEST_CASE("none is used for longer than 10 minutes, nor idle for longer than its limit") {
  using nango::detail::usable_until;
  using std::chrono::minutes;
  using std::chrono::seconds;
  constexpr seconds limit(50);
  const auto born = steady_clock::now();
  CHECK(usable_until(born, born, limit) == born + limit);
  CHECK(usable_until(born, born, seconds(0)) == born);
  for (const auto used : {minutes(1), minutes(5), minutes(9)}) {  // kept busy
    CHECK(usable_until(born, born + used, limit) == born + used + limit);
  }
  CHECK(usable_until(born, born + minutes(10) - seconds(1), limit) == born + minutes(10));
  CHECK(usable_until(born, born + minutes(11), limit) == born + minutes(10));
}

// --- close_idle ---

TEST_CASE("close_idle closes the idle connections now, and the next call makes a new one") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    const fault_server server({}, tls);
    const auto options = options_for(server);
    nango::httplib_backend backend(options);
    backend.close_idle();  // there are none
    const nango::client api(options, backend);
    REQUIRE(api.get("x"));
    CHECK(server.open_connections() == 1);
    backend.close_idle();
    CHECK(comes_to(server, 0, std::chrono::seconds(20)));
    CHECK(nango_test::sockets_to(server.port()).empty());
    REQUIRE(api.post("next", {{"a", 1}}));
    CHECK(server.connections() == 2);
    REQUIRE(api.post("next", {{"a", 1}}));
    CHECK(server.connections() == 2);
  }
}

TEST_CASE("close_idle leaves calls in flight alone, and what they used is kept afterwards") {
  std::atomic<int> arrived = 0;
  std::latch released(1);
  const fault_server server({.tls = true, .afterwards = [&](std::string_view request) {
                               if (++arrived == 2) released.wait();
                               return nango_test::answer_soundly(request);
                             }});
  const auto options = options_for(server);
  nango::httplib_backend backend(options);
  const nango::client api(options, backend);
  REQUIRE(api.get("first"));
  std::thread other([&] { CHECK(api.post("slow", {{"a", 1}})); });
  while (arrived != 2) std::this_thread::sleep_for(milliseconds(1));
  REQUIRE(api.get("beside"));
  REQUIRE(server.open_connections() == 2);
  backend.close_idle();
  CHECK(comes_to(server, 1, std::chrono::seconds(20)));
  released.count_down();
  other.join();
  REQUIRE(api.get("after"));
  CHECK(server.connections() == 2);
}

TEST_CASE("close_idle may be called at any time, from any thread") {
  const fault_server server({}, false);
  const auto options = options_for(server);
  nango::httplib_backend backend(options);
  const nango::client api(options, backend);
  std::atomic<bool> done = false;
  std::thread closer([&] {
    while (!done) backend.close_idle();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 100; ++call) CHECK(api.post("x", {{"a", 1}}));
    });
  }
  for (auto& thread : threads) thread.join();
  done = true;
  closer.join();
}

TEST_CASE("copies of a backend share its connections") {
  const fault_server server(nango_test::fault_server_options{});
  const auto options = options_for(server);
  const nango::httplib_backend backend(options);
  const nango::client first(options, backend), second(options, nango::httplib_backend(backend));
  REQUIRE(first.get("x"));
  REQUIRE(second.get("x"));
  CHECK(server.connections() == 1);
}

}  // namespace httplib_pool_tests
