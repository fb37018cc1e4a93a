// Default backend: bombs and endless answers do not fill the memory, and descriptors may run out.

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>

#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"

namespace {

using nango_test::ending;
using nango_test::fault;
using nango_test::fault_server;

bool is_large(const fault& row) {
  return row.script.size() == 1 && (row.script[0].then == ending::flood || row.script[0].bytes.size() > (1U << 20));
}

// A fault_server in a process of its own, so that its memory is not ours.
class server_process {
 public:
  server_process() {
    int to_us[2], to_it[2];
    REQUIRE(::pipe(to_us) == 0);
    REQUIRE(::pipe(to_it) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      ::close(to_it[1]);
      serve(to_us[1], to_it[0]);
    }
    ::close(to_us[1]);
    ::close(to_it[0]);
    until_here_ = to_it[1];
    REQUIRE(::read(to_us[0], &told_, sizeof(told_)) == static_cast<ssize_t>(sizeof(told_)));
    ::close(to_us[0]);
  }
  ~server_process() {
    ::close(until_here_);
    ::waitpid(child_, nullptr, 0);
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  std::string base_url() const { return "https://127.0.0.1:" + std::to_string(told_.port) + "/v1/"; }
  std::string ca_file() const { return told_.ca_file.data(); }
  int faults() const { return told_.faults; }

 private:
  struct told {
    int port = 0, faults = 0;
    std::array<char, 256> ca_file{};
  };

  [[noreturn]] static void serve(int to_parent, int until_closed) {
    {
      std::deque<nango_test::act> script{{.bytes = nango_test::sound_answer("0")}};
      told about{};
      for (const auto& row : nango_test::all_faults()) {
        if (!is_large(row)) continue;
        script.push_back(row.script.front());
        ++about.faults;
      }
      const fault_server server(std::move(script));
      about.port = server.port();
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
  told told_{};
};

long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("the peak of the memory grows by less than 32 MiB, with bodies of 1 MiB allowed") {
  const server_process server;
  REQUIRE(server.faults() >= 8);
  const nango::client api({.api_key = "key",
                           .base_url = server.base_url(),
                           .timeout = std::chrono::seconds(20),
                           .retry = {.max_attempts = 1},
                           .max_response_bytes = std::size_t{1} << 20,
                           .ca_file = server.ca_file()});
  REQUIRE(api.get("first"));
  const auto before = peak_kilobytes();
  for (int i = 0; i < server.faults(); ++i) {
    const auto answer = api.send("GET", "fault", {}, {}, {}, {.headers = {{"Accept-Encoding", "gzip"}}});
    REQUIRE_FALSE(answer);
    CHECK_MESSAGE(answer.error().code != nango::errc::timed_out, answer.error());
  }
  REQUIRE(api.get("next"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(peak_kilobytes() - before < 32 * 1024);
#endif
}

TEST_CASE("a connection for whose watchdog no descriptor is left is given up before anything is sent") {
  const server_process server;
  const nango::client api(
      {.api_key = "key", .base_url = server.base_url(), .retry = {.max_attempts = 1}, .ca_file = server.ca_file()});
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = ::dup(0);
  REQUIRE(next >= 0);
  ::close(next);
  const rlimit one_more{static_cast<rlim_t>(next) + 1, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &one_more) == 0);
  const auto unwatched = api.get("x");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(unwatched);
  CHECK(unwatched.error().code == nango::errc::connection_failed);
  CHECK_FALSE(unwatched.error().may_have_executed);
  CHECK(api.get("x"));
}
