// Two networks of the test's own with a cable between them, which can be pulled at either end. Linux only, with the
// program `ip` of iproute2, and where a process may make network namespaces.
#ifndef NANGO_TESTS_TWO_NETWORKS_HPP
#define NANGO_TESTS_TWO_NETWORKS_HPP

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"

namespace nango_test {

/// A network namespace. What a thread does inside concerns its links and addresses alone.
class network {
 public:
  network() {
    std::thread([this] {
      if (::unshare(CLONE_NEWNET) == 0) fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }).join();
    if (fd_ < 0) throw std::runtime_error("network namespaces are not permitted");
  }
  ~network() { ::close(fd_); }
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  /// On a thread of its own, so nothing may be thrown. Sockets made there, and threads begun there, belong to it.
  void inside(const std::function<void()>& what) const {
    std::thread([&] {
      if (::setns(fd_, CLONE_NEWNET) == 0) what();
    }).join();
  }
  /// Runs `ip` with these arguments. False: it failed.
  bool ip(std::vector<std::string> arguments) const {
    bool succeeded = false;
    inside([&] {
      arguments.insert(arguments.begin(), "ip");
      child command(arguments, {"PATH=/usr/sbin:/sbin:/usr/bin:/bin"});
      succeeded = command.wait(std::chrono::seconds(10)) == 0;
    });
    return succeeded;
  }

 private:
  int fd_ = -1;
};

/// Throws std::runtime_error where they cannot be had.
class two_networks {
 public:
  two_networks() {
    bool linked = false;
    there.inside([&] {  // a namespace is named by a thread in it
      const auto thread = std::to_string(::gettid());
      linked = here.ip({"link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", thread});
    });
    if (!linked) throw std::runtime_error("there is no `ip`, or it may not make virtual links");
    for (auto* side : {&here, &there}) {
      const std::string address = side == &here ? "10.97.0.1/24" : server_address() + "/24";
      if (!side->ip({"address", "add", address, "dev", "cable"}) || !plug(*side) ||
          !side->ip({"link", "set", "lo", "up"})) {
        throw std::runtime_error("the virtual links cannot be set up");
      }
    }
  }

  static std::string server_address() { return "10.97.0.2"; }
  bool pull(const network& side) const { return side.ip({"link", "set", "cable", "down"}); }
  bool plug(const network& side) const { return side.ip({"link", "set", "cable", "up"}); }
  /// The other side hears us, and nothing that it says comes back, nor word of that.
  bool deafen() const { return there.ip({"route", "add", "blackhole", "10.97.0.1/32"}); }
  bool undeafen() const { return there.ip({"route", "del", "blackhole", "10.97.0.1/32"}); }

 private:
  // Who is not root is root in a namespace of users. It has to come before the process has a second thread.
  struct root {
    root() {
      const auto user = ::getuid(), group = ::getgid();
      if (user == 0 || ::unshare(CLONE_NEWUSER) != 0) return;
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
      std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
    }
  };
  root root_{};

 public:
  network here{}, there{};  ///< The client's and the server's.
};

}  // namespace nango_test

#endif
