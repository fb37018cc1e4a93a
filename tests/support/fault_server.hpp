// A server on a free loopback port that misbehaves as it is told, over TLS or plain TCP. It stands directly on OpenSSL
// and sockets: a server library would mend the faults.
#ifndef NANGO_TESTS_FAULT_SERVER_HPP
#define NANGO_TESTS_FAULT_SERVER_HPP

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "sockets.hpp"

namespace nango_test {

/// When the server departs from what it should do.
enum class moment {
  accept,     ///< The connection is there, and not a byte of it was read.
  handshake,  ///< Half of the server's first flight is out.
  head,       ///< The first bytes of a request are in, the others stay unread.
  request,    ///< A whole request is in.
};

/// How an act ends.
enum class ending {
  keep,         ///< With the next request on the same connection.
  close,        ///< With a close_notify, where there is TLS, and a FIN.
  break_off,    ///< With a FIN alone.
  close_later,  ///< With half a second of silence and without reading on, then a FIN; an RST if bytes are unread.
  reset,        ///< With an RST.
  stall,        ///< With silence and without reading on, until the client goes away.
  drip,         ///< With `rest`, a byte each 100 ms (in the handshake: with its second half), then silence.
  flood,        ///< With `rest`, again and again, until the client goes away.
  ticket,       ///< With a new session ticket, then `rest`; then as keep. TLS 1.3 only.
  garble,       ///< With bytes that are no TLS, under it.
  renegotiate,  ///< With a renegotiation (TLS 1.2); `rest` is sent if that succeeds, then it is closed.
  hand_over,    ///< With what fault_server_options::take_over does, and a FIN. Plain TCP only.
};

/// What the server does at one moment.
struct act {
  moment at = moment::request;
  std::string bytes{};  ///< Sent as they are. (In the handshake any say: the whole flight is out, not its half.)
  std::string rest{};   ///< See ending.
  ending then = ending::keep;
  std::size_t reads = 0;              ///< At moment::head: so many bytes of the request are read first.
  bool bytewise = false;              ///< `bytes` go out one at a time; over TLS each has a record of its own.
  std::chrono::milliseconds pause{};  ///< Before the rest of a request is read: nothing is until then.
};

/// An envelope whose result is `result`, a JSON text, in a sound answer.
inline std::string sound_answer(const std::string& result) {
  const auto body = R"({"status":"ok","result":)" + result + "}";
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

/// Answers soundly: the result is the target of the request, "/v1/x?y=z".
inline act answer_soundly(std::string_view request) {
  const auto begin = request.find(' ') + 1;
  return {.bytes = sound_answer('"' + std::string(request.substr(begin, request.find(' ', begin) - begin)) + '"')};
}

/// Whether the server's port takes connections.
enum class entrance {
  open,
  refuses,
  full,  ///< Nobody answers a connect.
};

struct fault_server_options {
  bool tls = true;
  std::deque<act> script{};  ///< One act after the other, whatever the connection.
  std::function<act(std::string_view request)> afterwards = answer_soundly;  ///< When the script is at its end.
  std::function<act()> on_connection{};  ///< Likewise, for each connection; what is not of its moment is no fault.
  bool remembers = true;                 ///< False: requests() stays empty, however many come.
  std::function<void(int fd, const act&)> take_over{};  ///< See ending::hand_over.
  std::function<void(SSL_CTX*)> configure{};  ///< Certificate and versions; empty: a sound certificate of ca_file().
  std::function<void(SSL_CTX*)> adjust{};     ///< Called after that, for what is not the certificate.
  entrance door = entrance::open;
  std::string address = "127.0.0.1";  ///< Where it listens, IPv4 or IPv6. Its own certificate is good for it.
  int port = 0;                       ///< 0: a free one.
};

/// Serves each connection on a thread of its own. Its members may be called from many threads at once.
class fault_server {
 public:
  explicit fault_server(fault_server_options options) : options_(std::move(options)) {
    if (options_.configure) {
      options_.configure(context_.get());
    } else {
      SSL_CTX_use_certificate(context_.get(), certificate_.x509());
      SSL_CTX_use_PrivateKey(context_.get(), certificate_.key());
    }
    if (options_.adjust) options_.adjust(context_.get());
    take_port();
    if (options_.door == entrance::full) fill_queue();
    if (options_.door == entrance::open) open();
  }
  explicit fault_server(std::deque<act> script, bool tls = true)
      : fault_server(fault_server_options{.tls = tls, .script = std::move(script)}) {}
  ~fault_server() {
    stopping_ = true;
    end_listening(listener_);
    if (acceptor_.joinable()) acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shut_down(fd);
    }
    for (auto* threads : {&threads_, &finished_}) {
      for (auto& thread : *threads) thread.join();
    }
    for (const int fd : fillers_) close_socket(fd);
    close_socket(listener_.exchange(-1));
  }
  fault_server(const fault_server&) = delete;
  fault_server& operator=(const fault_server&) = delete;

  /// From now on connections are accepted, whatever door it began with.
  void open() {
    if (::listen(listener_, 128) != 0) throw std::runtime_error("cannot listen");
    acceptor_ = std::thread([this] { accept_all(); });
  }

  /// From now on connections are refused.
  void refuse() { end_listening(listener_); }
  /// Ends the connections that are open and wait for a request, each with a FIN and an RST: the client's next write to
  /// one of them is answered with SIGPIPE.
  void reset_all() {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) {
      reset_on_close(fd);
      shut_down(fd);  // wakes its thread, which closes it
    }
  }

  int port() const { return port_; }
  /// `host`: by what name or address; empty: by its own address.
  std::string base_url(std::string host = {}) const {
    if (host.empty()) host = is_ipv6() ? '[' + options_.address + ']' : options_.address;
    return (options_.tls ? "https://" : "http://") + host + ':' + std::to_string(port_) + "/v1/";
  }
  /// What to trust. (A server with certificates of the test's own is trusted by the test's own file.)
  const std::string& ca_file() const { return ca_file_.path(); }

  /// Connections that were accepted.
  int connections() const { return connections_; }
  /// Connections that are open now.
  std::size_t open_connections() const {
    const std::lock_guard lock(mutex_);
    return open_.size();
  }
  /// Requests of which a byte came in.
  int started() const { return started_; }
  /// Requests that came in whole.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  /// Acts of the script that were not played.
  std::size_t acts_left() const {
    const std::lock_guard lock(mutex_);
    return options_.script.size();
  }

 private:
  static constexpr int an_hour_in_ms = 3'600'000;
  using tls_pointer = std::unique_ptr<SSL, decltype(&SSL_free)>;

  // One connection as its thread sees it.
  struct channel {
    int fd;
    SSL* tls;  // null: plain

    int read(char* data, int size) const {
      return tls != nullptr ? SSL_read(tls, data, size) : receive_some(fd, data, static_cast<std::size_t>(size));
    }
    bool write(std::string_view data) const {
      if (tls != nullptr && !data.empty()) {
        return SSL_write(tls, data.data(), static_cast<int>(data.size())) == static_cast<int>(data.size());
      }
      return send_all(fd, data);
    }
    bool write_bytes_of(const act& what) const {
      if (!what.bytewise) return write(what.bytes);
      return std::all_of(what.bytes.begin(), what.bytes.end(), [&](const char& byte) { return write({&byte, 1}); });
    }
  };

  static bool send_all(int fd, std::string_view data) {
    while (!data.empty()) {
      const auto sent = send_some(fd, data);
      if (sent <= 0) return false;
      data.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  // False: the client sent something, or went away, before the time was over.
  static bool quiet_for(int fd, int ms) {
    auto entry = poll_entry(fd, POLLIN);
    return poll_sockets(&entry, 1, ms) == 0;
  }

  bool is_ipv6() const { return options_.address.find(':') != std::string::npos; }
  // Where it is to listen, or what connects there.
  template <class Use> int with_address(int port, Use use) const {
    sockaddr_in ipv4{};
    sockaddr_in6 ipv6{};
    ipv4.sin_family = AF_INET;
    ipv6.sin6_family = AF_INET6;
    ipv4.sin_port = ipv6.sin6_port = htons(static_cast<std::uint16_t>(port));
    const char* const text = options_.address.c_str();
    if (is_ipv6() && ::inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1) {
      return use(reinterpret_cast<const sockaddr*>(&ipv6), static_cast<socklen_t>(sizeof(ipv6)));
    }
    if (::inet_pton(AF_INET, text, &ipv4.sin_addr) != 1) throw std::runtime_error("no address: " + options_.address);
    return use(reinterpret_cast<const sockaddr*>(&ipv4), static_cast<socklen_t>(sizeof(ipv4)));
  }
  int make_socket() const { return open_socket(is_ipv6() ? AF_INET6 : AF_INET); }

  void take_port() {
    listener_ = make_socket();
    const auto bind_it = [this](const sockaddr* address, socklen_t size) { return ::bind(listener_, address, size); };
    sockaddr_in6 bound{};  // the port stands at the same place in both families
    socklen_t size = sizeof(bound);
    if (with_address(options_.port, bind_it) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
      throw std::runtime_error("no port on " + options_.address);
    }
    port_ = ntohs(bound.sin6_port);
  }
  void fill_queue() {  // it takes one or two; the kernel drops what comes after
    if (::listen(listener_, 0) != 0) throw std::runtime_error("cannot listen");
    for (int i = 0; i < 4; ++i) {
      fillers_.push_back(make_socket());
      set_blocking(fillers_.back(), false);
      with_address(
          port_, [this](const sockaddr* address, socklen_t size) { return ::connect(fillers_.back(), address, size); });
    }
  }

  void accept_all() {
    for (const int fd : std::exchange(fillers_, {})) close_socket(fd);
    for (;;) {
      const int fd = accept_one(listener_);
      if (fd < 0) return;
      ++connections_;
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        close_socket(fd);
        return;
      }
      set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);  // or the first answer waits 40 ms for an ACK
      for (auto& thread : std::exchange(finished_, {})) thread.join();
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    block_sigpipe();
    const bool resets = converse(fd);
    ERR_clear_error();
    const std::lock_guard lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), fd));
    if (resets) reset_on_close(fd);
    close_socket(fd);
    if (stopping_) return;  // the destructor joins what is left
    const auto is_own = [](const std::thread& thread) { return thread.get_id() == std::this_thread::get_id(); };
    const auto own = std::find_if(threads_.begin(), threads_.end(), is_own);
    finished_.push_back(std::move(*own));
    threads_.erase(own);
  }

  // True: it ends with an RST.
  bool converse(int fd) {
    const act first = take_early();
    if (first.at == moment::accept) return play(first, {fd, nullptr});
    const tls_pointer tls(options_.tls ? SSL_new(context_.get()) : nullptr, SSL_free);
    if (tls && !shake_hands(fd, tls.get(), first)) return first.at == moment::handshake && first.then == ending::reset;
    const channel to{fd, tls.get()};
    for (;;) {
      std::string request;
      if (!read_more(to, request)) return false;
      ++started_;
      auto next = take();
      if (next) rest_for(next->pause);
      if (!next || next->at == moment::request) {
        if (!read_rest(to, request)) return false;
        const std::lock_guard lock(mutex_);
        if (options_.remembers) requests_.push_back(request);
      } else {
        while (request.size() < next->reads) {
          if (!read_more(to, request)) return false;
        }
      }
      if (!next) next = std::make_unique<act>(options_.afterwards(request));
      const bool goes_on = next->then == ending::keep || next->then == ending::ticket;
      if (!goes_on) return play(*next, to);
      if (!to.write_bytes_of(*next)) return false;
      if (next->then == ending::ticket && !write_after_ticket(next->rest, to)) return false;
    }
  }

  // The next act, if it is one of the connection rather than of a request.
  act take_early() {
    const std::lock_guard lock(mutex_);
    auto& script = options_.script;
    if (script.empty() && options_.on_connection) return options_.on_connection();
    if (script.empty() || script.front().at > moment::handshake) return {};
    const auto first = std::move(script.front());
    script.pop_front();
    return first;
  }
  std::unique_ptr<act> take() {
    const std::lock_guard lock(mutex_);
    if (options_.script.empty()) return nullptr;
    auto next = std::make_unique<act>(std::move(options_.script.front()));
    options_.script.pop_front();
    return next;
  }

  void rest_for(std::chrono::milliseconds time) const {
    const auto end = std::chrono::steady_clock::now() + time;
    while (!stopping_ && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  static bool read_more(const channel& from, std::string& request) {
    char data[16];
    const int got = from.read(data, sizeof(data));
    if (got > 0) request.append(data, static_cast<std::size_t>(got));
    return got > 0;
  }
  static bool read_rest(const channel& from, std::string& request) {
    char data[16 * 1024];
    for (;;) {
      const auto end = request.find("\r\n\r\n");
      const auto field = request.find("Content-Length: ");
      const auto length = field < end ? std::stoul(request.substr(field + 16)) : 0;
      if (end != std::string::npos && request.size() >= end + 4 + length) return true;
      const int got = from.read(data, sizeof(data));
      if (got <= 0) return false;
      request.append(data, static_cast<std::size_t>(got));
    }
  }

  // What TLS wants to send goes to memory first, so that half of it can be held back.
  bool shake_hands(int fd, SSL* tls, const act& plan) {
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(tls, BIO_new_socket(fd, BIO_NOCLOSE), out);
    set_blocking(fd, false);
    int done = 0;
    for (bool wants_more = true; wants_more && done != 1;) {
      done = SSL_accept(tls);
      wants_more = done != 1 && SSL_get_error(tls, done) == SSL_ERROR_WANT_READ;
      char* bytes = nullptr;
      const auto size = static_cast<std::size_t>(BIO_get_mem_data(out, &bytes));
      const std::string flight(bytes, size);
      static_cast<void>(BIO_reset(out));
      auto entry = poll_entry(fd, POLLOUT);
      if (!flight.empty()) poll_sockets(&entry, 1, -1);
      if (!flight.empty() && plan.at == moment::handshake) {
        const auto sent = plan.bytes.empty() ? size / 2 : size;
        send_all(fd, std::string_view(flight).substr(0, sent));
        const act second_half{.rest = flight.substr(sent), .then = plan.then};
        play(second_half, {fd, nullptr});
        return false;
      }
      if (!send_all(fd, flight)) return false;
      entry.events = POLLIN;
      if (wants_more) poll_sockets(&entry, 1, -1);
    }
    set_blocking(fd, true);
    SSL_set_fd(tls, fd);
    return done == 1;
  }

  // Plays an act that ends the connection. True: with an RST.
  bool play(const act& what, const channel& to) {
    if (!to.write_bytes_of(what)) return false;
    switch (what.then) {
      case ending::close:
        if (to.tls != nullptr) SSL_shutdown(to.tls);
        break;
      case ending::close_later: wait_for_end(to.fd, 500); break;
      case ending::reset: return true;
      case ending::drip: drip(what.rest, to); [[fallthrough]];
      case ending::stall: wait_for_end(to.fd); break;
      case ending::flood:
        while (!stopping_ && to.write(what.rest)) {
        }
        break;
      case ending::garble:
        send_all(to.fd, std::string(1000, 'x'));
        wait_for_end(to.fd);
        break;
      case ending::renegotiate: renegotiate(what.rest, to); break;
      case ending::hand_over: options_.take_over(to.fd, what); break;
      case ending::keep:
      case ending::ticket:
      case ending::break_off: break;
    }
    return false;
  }
  static void drip(const std::string& text, const channel& to) {
    for (const char& byte : text) {
      if (!to.write({&byte, 1}) || !quiet_for(to.fd, 100)) return;
    }
  }
  static bool write_after_ticket(std::string_view rest, const channel& to) {
    return SSL_new_session_ticket(to.tls) == 1 && SSL_do_handshake(to.tls) == 1 && to.write(rest);
  }
  void wait_for_end(int fd, int most_ms = an_hour_in_ms) const {
    auto entry = poll_entry(fd, hung_up);
    for (constexpr int step = 50; !stopping_ && most_ms > 0 && poll_sockets(&entry, 1, step) == 0;) most_ms -= step;
  }
  static void renegotiate(const std::string& rest, const channel& to) {
    char byte = 0;
    SSL_clear_mode(to.tls, SSL_MODE_AUTO_RETRY);  // so that a read is over when the handshake is
    if (SSL_renegotiate(to.tls) != 1 || SSL_do_handshake(to.tls) != 1) return;  // a HelloRequest is out
    SSL_read(to.tls, &byte, 1);                                                 // this does the handshake, or fails
    if (SSL_renegotiate_pending(to.tls) == 0) to.write(rest);
    SSL_shutdown(to.tls);
  }

  fault_server_options options_;
  mutable std::mutex mutex_{};
  std::vector<std::string> requests_{};
  std::vector<int> open_{};
  std::vector<std::thread> threads_{};   // of the connections
  std::vector<std::thread> finished_{};  // to be joined when the next connection comes
  std::atomic<int> connections_ = 0, started_ = 0;
  std::atomic<bool> stopping_ = false;
  const certificate authority_ = make_authority();
  const certificate certificate_{{.ip = {"127.0.0.1", "::1", options_.address}}, authority_};
  const temporary_file ca_file_{authority_.pem()};
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
  std::atomic<int> listener_ = -1;
  int port_ = 0;
  std::vector<int> fillers_{};
  std::thread acceptor_{};
};

}  // namespace nango_test

#endif
