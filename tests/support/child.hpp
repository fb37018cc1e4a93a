// A program that runs beside the test, as a server or as a client.
#ifndef NANGO_TESTS_CHILD_HPP
#define NANGO_TESTS_CHILD_HPP

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "certificates.hpp"

namespace nango_test {

/// A socket on a free port of 127.0.0.1. It listens, for a child to inherit, or only reserves the port, for a server
/// that sets SO_REUSEADDR and comes and goes.
class loopback_socket {
 public:
  enum purpose { listening, reserved };
  explicit loopback_socket(purpose use = listening) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const int reuse = use == reserved ? 1 : 0;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    if (::bind(fd_, generic, size) != 0 || (use == listening && ::listen(fd_, 1024) != 0) ||
        ::getsockname(fd_, generic, &size) != 0) {
      ::close(fd_);
      throw std::runtime_error("no loopback port");
    }
    port_ = ntohs(address.sin_port);
  }
  ~loopback_socket() { ::close(fd_); }
  loopback_socket(const loopback_socket&) = delete;
  loopback_socket& operator=(const loopback_socket&) = delete;

  int fd() const { return fd_; }
  int port() const { return port_; }

 private:
  int fd_;
  int port_ = 0;
};

/// A port that nobody listens on now. Somebody else may take it: a server that cannot have it is to try another.
inline int free_port() { return loopback_socket().port(); }

/// Runs from construction to destruction at the latest, and not longer than the thread that made it. Not thread-safe.
class child {
 public:
  /// `command`: a program, looked up in PATH, and its arguments. `environment`: "NAME=value", added to this process's.
  /// `inherited`: a descriptor that it finds as its number 3. A program that cannot be run ends with status 127.
  explicit child(const std::vector<std::string>& command, const std::vector<std::string>& environment = {},
                 int inherited = -1)
      : output_file_("") {
    auto variables = environment;  // of a name that is there twice, the first counts
    for (char** inherits = environ; *inherits != nullptr; ++inherits) variables.emplace_back(*inherits);
    const auto arguments = pointers_to(command), names = pointers_to(variables);
    const int out = ::open(output_file_.path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (out < 0) throw std::runtime_error("cannot open a file for the output of " + command.at(0));
    const auto parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) become(arguments.data(), names.data(), inherited, out, parent);
    ::close(out);
    if (pid_ < 0) throw std::runtime_error("cannot fork");
  }
  ~child() { stop(); }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  pid_t pid() const { return pid_; }
  bool running() { return !status(); }
  /// How it ended, as waitpid tells it; nothing while it runs.
  std::optional<int> status() {
    if (!status_) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
    }
    return status_;
  }
  /// The same, once it has ended by itself or `most` has passed.
  std::optional<int> wait(std::chrono::milliseconds most) {
    const auto end = std::chrono::steady_clock::now() + most;
    while (running() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return status();
  }
  /// Asks it to end, and kills it when it has not after 5 s.
  void stop() {
    if (running()) ::kill(pid_, SIGTERM);
    if (!wait(std::chrono::seconds(5))) kill();
  }
  void kill() {
    if (running()) ::kill(pid_, SIGKILL);
    wait(std::chrono::seconds(5));
  }
  /// What it has written until now, to standard output and standard error.
  std::string output() const {
    std::ifstream file(output_file_.path());
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  static std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (const auto& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
    pointers.push_back(nullptr);
    return pointers;
  }
  // After a fork, in a process that may have had more threads: system calls only.
  [[noreturn]] static void become(char* const* arguments, char* const* environment, int inherited, int out,
                                  pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // which was too quick
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    if (inherited == 3) ::fcntl(3, F_SETFD, 0);
    if (inherited >= 0 && inherited != 3) ::dup2(inherited, 3);
    ::execvpe(arguments[0], arguments, environment);
    ::_exit(127);
  }

  temporary_file output_file_;
  pid_t pid_ = -1;
  std::optional<int> status_{};
};

}  // namespace nango_test

#endif
