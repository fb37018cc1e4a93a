// A TLS server that says exactly what it is told, well-formed or not: a server library would mend it.
#ifndef NANGO_TESTS_RAW_TLS_SERVER_HPP
#define NANGO_TESTS_RAW_TLS_SERVER_HPP

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"

namespace nango_test {

/// What the server does with one request.
struct raw_answer {
  /// break_off: without a close_notify; stall: until the client goes; quit: close, and refuse connections from now on
  enum class then { keep, close, break_off, stall, quit };
  std::string bytes{};
  then after = then::keep;
};

/// Serves one connection at a time on a free loopback port: reads a head, sends the next answer of the script.
class raw_tls_server {
 public:
  explicit raw_tls_server(std::vector<raw_answer> script)
      : script_(std::move(script)), context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
    SSL_CTX_use_certificate(context_.get(), certificate_.x509());
    SSL_CTX_use_PrivateKey(context_.get(), certificate_.key());
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no loopback port");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~raw_tls_server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  raw_tls_server(const raw_tls_server&) = delete;
  raw_tls_server& operator=(const raw_tls_server&) = delete;

  std::string base_url() const { return "https://127.0.0.1:" + std::to_string(port_) + "/"; }
  const std::string& ca_file() const { return ca_file_.path(); }
  /// Heads that were read whole.
  int requests() const { return requests_; }
  /// Connections that were accepted.
  int connections() const { return connections_; }

 private:
  void serve() {
    sigset_t sigpipe;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, nullptr);
    for (int fd = ::accept(listener_, nullptr, nullptr); fd >= 0; fd = ::accept(listener_, nullptr, nullptr)) {
      ++connections_;
      const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(context_.get()), SSL_free);
      SSL_set_fd(tls.get(), fd);
      if (SSL_accept(tls.get()) == 1) converse(tls.get());
      ::close(fd);
    }
  }
  void converse(SSL* tls) {
    while (next_ < script_.size() && read_head(tls)) {
      ++requests_;
      const auto& answer = script_[next_++];
      if (!answer.bytes.empty()) SSL_write(tls, answer.bytes.data(), static_cast<int>(answer.bytes.size()));
      if (answer.after == raw_answer::then::quit) ::shutdown(listener_, SHUT_RDWR);
      if (answer.after == raw_answer::then::close || answer.after == raw_answer::then::quit) SSL_shutdown(tls);
      if (answer.after == raw_answer::then::stall) read_head(tls);
      if (answer.after != raw_answer::then::keep) return;
    }
  }
  static bool read_head(SSL* tls) {
    char byte = 0;
    for (std::string head; !head.ends_with("\r\n\r\n"); head += byte) {
      if (SSL_read(tls, &byte, 1) != 1) return false;
    }
    return true;
  }

  const std::vector<raw_answer> script_;
  std::size_t next_ = 0;  // the serving thread's own
  std::atomic<int> requests_ = 0, connections_ = 0;
  const certificate authority_ = make_authority();
  const certificate certificate_{certificate_options{}, authority_};
  const temporary_file ca_file_{authority_.pem()};
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_{};
};

}  // namespace nango_test

#endif
