// What the servers of the tests need of sockets, on POSIX systems and on Windows: the one place where the two differ.
#ifndef NANGO_TESTS_SOCKETS_HPP
#define NANGO_TESTS_SOCKETS_HPP

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>

#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstddef>
#include <string_view>
#include <vector>

namespace nango_test {

#ifdef _WIN32

inline constexpr int shut_both = SD_BOTH;
inline constexpr short hung_up = 0;  // is always told
namespace detail {
struct winsock {
  winsock() {
    WSADATA data;
    static_cast<void>(::WSAStartup(MAKEWORD(2, 2), &data));
  }
};
inline const winsock started{};
}  // namespace detail
inline int close_socket(int fd) { return ::closesocket(static_cast<SOCKET>(fd)); }
inline void set_blocking(int fd, bool blocks) {
  unsigned long is_off = blocks ? 0 : 1;
  ::ioctlsocket(static_cast<SOCKET>(fd), static_cast<long>(FIONBIO), &is_off);
}
inline int open_socket(int family) { return static_cast<int>(::socket(family, SOCK_STREAM, 0)); }
inline int accept_one(int listener) {
  return static_cast<int>(::accept(static_cast<SOCKET>(listener), nullptr, nullptr));
}
/// From now on connections are refused, and accept_one() fails, also where it waits.
inline void end_listening(std::atomic<int>& listener) { close_socket(listener.exchange(-1)); }
inline int duplicate_socket(int fd) {
  WSAPROTOCOL_INFOW as{};
  if (::WSADuplicateSocketW(static_cast<SOCKET>(fd), ::GetCurrentProcessId(), &as) != 0) return -1;
  return static_cast<int>(::WSASocketW(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &as, 0, 0));
}
inline int poll_sockets(pollfd* entries, std::size_t count, int ms) {
  return ::WSAPoll(entries, static_cast<unsigned long>(count), ms);
}
inline pollfd poll_entry(int fd, short events) { return {static_cast<SOCKET>(fd), events, 0}; }
/// (In pieces that have room: under Wine, nothing ends a send that waits, not even shutdown().)
inline int send_some(int fd, std::string_view data) {
  auto entry = poll_entry(fd, POLLOUT);
  while (poll_sockets(&entry, 1, 50) == 0) {
  }
  const auto piece = data.substr(0, 2048);
  return ::send(static_cast<SOCKET>(fd), piece.data(), static_cast<int>(piece.size()), 0);
}
inline void block_sigpipe() {}  // Windows has no such signal
class sigpipe_guard {
 public:
  sigpipe_guard() {}  // not trivial, so that an unused one gives no warning
  ~sigpipe_guard() {}
};

#else

inline constexpr int shut_both = SHUT_RDWR;
inline constexpr short hung_up = POLLRDHUP;
inline int close_socket(int fd) { return ::close(fd); }
inline void set_blocking(int fd, bool blocks) { ::fcntl(fd, F_SETFL, blocks ? 0 : O_NONBLOCK); }
inline int open_socket(int family) { return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0); }
inline int accept_one(int listener) { return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); }
/// From now on connections are refused, and accept_one() fails, also where it waits.
inline void end_listening(std::atomic<int>& listener) { ::shutdown(listener, SHUT_RDWR); }
inline int duplicate_socket(int fd) { return ::dup(fd); }
inline int poll_sockets(pollfd* entries, std::size_t count, int ms) { return ::poll(entries, count, ms); }
inline int send_some(int fd, std::string_view data) {
  return static_cast<int>(::send(fd, data.data(), data.size(), MSG_NOSIGNAL));
}
inline pollfd poll_entry(int fd, short events) { return {fd, events, 0}; }
/// In this thread, for good.
inline void block_sigpipe() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
}
/// Blocks SIGPIPE in this thread, and in those it starts, until destruction. Then it also puts the process's handler
/// back, which httplib's servers set to "ignore" and so would hide what a client fails to do about the signal.
class sigpipe_guard {
 public:
  sigpipe_guard() {
    pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
    block_sigpipe();
    sigaction(SIGPIPE, nullptr, &action_);
  }
  ~sigpipe_guard() {
    sigaction(SIGPIPE, &action_, nullptr);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  sigpipe_guard(const sigpipe_guard&) = delete;
  sigpipe_guard& operator=(const sigpipe_guard&) = delete;

 private:
  sigset_t mask_{};
  struct sigaction action_ {};
};

#endif

inline void shut_down(int fd) { ::shutdown(fd, shut_both); }
inline int receive_some(int fd, char* data, std::size_t size) {
  return static_cast<int>(::recv(fd, data, static_cast<int>(size), 0));
}
template <class Value> int set_option(int fd, int level, int name, const Value& value) {
  return ::setsockopt(fd, level, name, reinterpret_cast<const char*>(&value), sizeof(value));
}
template <class Value> int get_option(int fd, int level, int name, Value& value) {
  socklen_t size = sizeof(value);
  return ::getsockopt(fd, level, name, reinterpret_cast<char*>(&value), &size);
}
/// Its close() is an RST.
inline void reset_on_close(int fd) { set_option(fd, SOL_SOCKET, SO_LINGER, linger{1, 0}); }

/// The sockets of this process, among its first 4096 descriptors or handles.
inline std::vector<int> own_sockets() {
  std::vector<int> found;
  for (int fd = 0, type = 0; fd < 4096; ++fd) {
    if (get_option(fd, SOL_SOCKET, SO_TYPE, type) == 0) found.push_back(fd);
  }
  return found;
}
/// Those of them that are connected to that port.
inline std::vector<int> sockets_to(int port) {
  std::vector<int> found;
  for (const int fd : own_sockets()) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const bool connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
    if (connected && peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) found.push_back(fd);
  }
  return found;
}

}  // namespace nango_test

#endif
