// A fault_server in a process of its own, so that its memory, its threads and its descriptors are not the test's.
#ifndef NANGO_TESTS_SERVER_PROCESS_HPP
#define NANGO_TESTS_SERVER_PROCESS_HPP

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "fault_server.hpp"

namespace nango_test {

/// Runs from construction to destruction. It forks, so it is made before the test has threads.
class server_process {
 public:
  explicit server_process(fault_server_options options) : server_process([&options] { return std::move(options); }) {}
  /// `make` runs in the process of the server: what it needs is not this process's memory.
  explicit server_process(const std::function<fault_server_options()>& make) {
    int to_us[2], to_it[2];
    if (::pipe(to_us) != 0 || ::pipe(to_it) != 0) throw std::runtime_error("no pipe");
    child_ = ::fork();
    if (child_ < 0) throw std::runtime_error("cannot fork");
    if (child_ == 0) {
      ::close(to_us[0]);
      ::close(to_it[1]);
      serve(make(), to_us[1], to_it[0]);
    }
    ::close(to_us[1]);
    ::close(to_it[0]);
    until_here_ = to_it[1];
    const bool told = ::read(to_us[0], &told_, sizeof(told_)) == static_cast<ssize_t>(sizeof(told_));
    ::close(to_us[0]);
    if (!told) throw std::runtime_error("the server did not start");
  }
  ~server_process() {
    ::close(until_here_);
    ::waitpid(child_, nullptr, 0);
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  std::string base_url() const { return told_.base_url.data(); }
  std::string ca_file() const { return told_.ca_file.data(); }

 private:
  struct announcement {
    std::array<char, 128> base_url{};
    std::array<char, 256> ca_file{};
  };

  [[noreturn]] static void serve(fault_server_options options, int to_parent, int until_closed) {
    {
      const fault_server server(std::move(options));
      announcement about{};
      std::strncpy(about.base_url.data(), server.base_url().c_str(), about.base_url.size() - 1);
      std::strncpy(about.ca_file.data(), server.ca_file().c_str(), about.ca_file.size() - 1);
      if (::write(to_parent, &about, sizeof(about)) < 0) ::_exit(1);
      char ignored = 0;
      while (::read(until_closed, &ignored, 1) > 0) {
      }
    }
    ::_exit(0);
  }

  pid_t child_ = -1;
  int until_here_ = -1;
  announcement told_{};
};

}  // namespace nango_test

#endif
