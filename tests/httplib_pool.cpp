// Default backend: how many connections it keeps, for how long, and how they are set up.

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"

namespace {

using nango_test::fault_server;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

nango::client client_of(const fault_server& server) {
  return nango::client({.api_key = "key", .base_url = server.base_url(), .ca_file = server.ca_file()});
}

// Waits until the server has that many open connections; false: it does not come to that.
bool comes_to(const fault_server& server, std::size_t open, std::chrono::seconds bound) {
  const auto until = steady_clock::now() + bound;
  while (server.open_connections() != open && steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  return server.open_connections() == open;
}

// This process's sockets that are connected to the port.
std::vector<int> sockets_to(int port) {
  std::vector<int> found;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const bool connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
    if (connected && peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) found.push_back(fd);
  }
  return found;
}

}  // namespace

TEST_CASE("each request in flight has a connection of its own, and 64 at most are kept afterwards") {
  constexpr int in_flight = 70;
  std::mutex mutex;
  std::condition_variable all_there;
  int there = 0;
  fault_server server({.tls = true, .afterwards = [&](std::string_view request) {
                         std::unique_lock lock(mutex);
                         if (++there == in_flight) all_there.notify_all();
                         all_there.wait(lock, [&] { return there >= in_flight; });
                         return nango_test::answer_soundly(request);
                       }});
  const auto api = client_of(server);
  std::vector<std::thread> threads;
  for (int i = 0; i < in_flight; ++i) threads.emplace_back([&api] { CHECK(api.get("x")); });
  for (auto& thread : threads) thread.join();
  CHECK(server.connections() == in_flight);
  CHECK(comes_to(server, 64, std::chrono::seconds(20)));
  CHECK(api.get("next"));
  CHECK(server.connections() == in_flight);
}

TEST_CASE("what is written goes out at once: no connection waits to fill a segment") {
  fault_server server({}, true);
  const auto api = client_of(server);
  REQUIRE(api.get("x"));
  const auto sockets = sockets_to(server.port());
  REQUIRE_FALSE(sockets.empty());
  for (const int fd : sockets) {
    int on = 0;
    socklen_t size = sizeof(on);
    REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0);
    CHECK(on != 0);
  }
}

TEST_CASE("an idle connection is closed after 50 s, before the server does it, and the next call makes a new one") {
  fault_server server({}, true);
  const auto api = client_of(server);
  REQUIRE(api.get("x"));
  const auto idle_since = steady_clock::now();
  REQUIRE(server.open_connections() == 1);
  CHECK(comes_to(server, 0, std::chrono::seconds(60)));
  CHECK(steady_clock::now() - idle_since > std::chrono::seconds(49));
  CHECK(api.post("next", {{"a", 1}}));
  CHECK(server.connections() == 2);
}
