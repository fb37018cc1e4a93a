// An HTTP proxy on a free loopback port: it makes tunnels, or answers a CONNECT as it is told.
#ifndef NANGO_TESTS_CONNECT_PROXY_HPP
#define NANGO_TESTS_CONNECT_PROXY_HPP

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "sockets.hpp"

namespace nango_test {

/// Answers with `head` and makes the tunnel.
inline act make_tunnel(std::string head = "HTTP/1.1 200 Connection established\r\n\r\n") {
  return {.bytes = std::move(head), .then = ending::hand_over};
}
/// The same, a byte of the head each 10 ms.
inline act make_tunnel_slowly(std::string head) { return {.rest = std::move(head), .then = ending::hand_over}; }

/// Serves each connection on a thread of its own. Its members may be called from many threads at once.
class connect_proxy {
 public:
  /// All tunnels lead to `port` on loopback, whatever a CONNECT names. `script`: what is not to be a tunnel at once.
  explicit connect_proxy(int port, std::deque<act> script = {}, entrance door = entrance::open)
      : to_(port),
        server_({.tls = false,
                 .script = std::move(script),
                 .afterwards = [](std::string_view) { return make_tunnel(); },
                 .take_over = [this](int fd, const act& what) { tunnel(fd, what.rest); },
                 .door = door}) {}

  /// `user_info`: "user:password@", percent-encoded, or nothing.
  std::string url(const std::string& user_info = {}) const {
    return "http://" + user_info + "127.0.0.1:" + std::to_string(server_.port());
  }
  /// Connections that were accepted.
  int connections() const { return server_.connections(); }
  /// The heads that came in whole.
  std::vector<std::string> requests() const { return server_.requests(); }
  /// Answers of the script that were not given.
  std::size_t answers_left() const { return server_.acts_left(); }
  /// What clients sent into tunnels.
  std::string tunneled() const {
    const std::lock_guard lock(mutex_);
    return tunneled_;
  }
  /// Closes the tunnels that there are, and returns when clients can know.
  void cut() {
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : origins_) shut_down(fd);
    }
    while (server_.open_connections() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  void tunnel(int client, std::string_view slow_head) {
    for (const char& byte : slow_head) {
      if (send_some(client, {&byte, 1}) != 1) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(to_));
    const int origin = open_socket(AF_INET);
    if (::connect(origin, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) pump(client, origin);
    close_socket(origin);
  }
  // Until one of the two ends.
  void pump(int client, int origin) {
    {
      const std::lock_guard lock(mutex_);
      origins_.push_back(origin);
    }
    pollfd both[] = {poll_entry(client, POLLIN), poll_entry(origin, POLLIN)};
    while (poll_sockets(both, 2, -1) > 0 && (both[0].revents == 0 || pass(client, origin, &tunneled_)) &&
           (both[1].revents == 0 || pass(origin, client, nullptr))) {
    }
    const std::lock_guard lock(mutex_);
    std::erase(origins_, origin);
  }
  bool pass(int from, int to, std::string* record) {
    char data[16 * 1024];
    const auto got = receive_some(from, data, sizeof(data));
    if (got <= 0) return false;
    const std::string_view bytes(data, static_cast<std::size_t>(got));
    if (record != nullptr) {
      const std::lock_guard lock(mutex_);
      *record += bytes;
    }
    return send_some(to, bytes) == got;
  }

  const int to_;
  mutable std::mutex mutex_{};
  std::vector<int> origins_{};
  std::string tunneled_{};
  fault_server server_;  // last: its threads use what is above
};

}  // namespace nango_test

#endif
