// Default backend: bombs and endless answers do not fill the memory, and descriptors may run out.

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstddef>
#include <string>

#include "descriptor_limit.hpp"
#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "server_process.hpp"
#include "sockets.hpp"

namespace faults_memory_tests {

namespace {

using nango_test::ending;
using nango_test::fault;
using nango_test::server_process;

bool is_large(const fault& row) {
  return row.script.size() == 1 && (row.script[0].then == ending::flood || row.script[0].bytes.size() > (1U << 20));
}

nango_test::fault_server_options large_faults() {
  nango_test::fault_server_options options{.script = {{.bytes = nango_test::sound_answer("0")}}};
  for (const auto& row : nango_test::all_faults()) {
    if (is_large(row)) options.script.push_back(row.script.front());
  }
  return options;
}

long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Whether something has come on a connection of this process that nobody has read.
bool end_has_come() {
  for (const int fd : nango_test::own_sockets()) {
    auto entry = nango_test::poll_entry(fd, POLLIN);
    if (nango_test::poll_sockets(&entry, 1, 0) == 1) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("the peak of the memory grows by less than 32 MiB, with bodies of 1 MiB allowed") {
  const server_process server(large_faults);
  const nango::client api({.api_key = "key",
                           .base_url = server.base_url(),
                           .timeout = std::chrono::seconds(20),
                           .retry = {.max_attempts = 1},
                           .max_response_bytes = std::size_t{1} << 20,
                           .ca_file = server.ca_file()});
  REQUIRE(api.get("first"));
  const auto before = peak_kilobytes();
  int faults = 0;
  for (;; ++faults) {
    const auto answer = api.send("GET", "fault", {}, {}, {}, {.headers = {{"Accept-Encoding", "gzip"}}});
    if (answer) break;  // the server has played them all
    CHECK_MESSAGE(answer.error().code != nango::errc::timed_out, answer.error());
  }
  CHECK(faults >= 8);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(peak_kilobytes() - before < 32 * 1024);
#endif
}

TEST_CASE("one free descriptor is enough for a call") {
  const server_process server(nango_test::fault_server_options{});
  const nango::client api(
      {.api_key = "key", .base_url = server.base_url(), .retry = {.max_attempts = 1}, .ca_file = server.ca_file()});
  const nango_test::descriptor_limit one(1);
  for (int i = 0; i < 2; ++i) {
    const auto answer = api.post("x", {{"i", i}});
    CHECK_MESSAGE(answer, answer.error());
  }
}

TEST_CASE("a connection that cannot be used again is closed before the next one is made") {
  for (const auto how : {ending::close, ending::break_off, ending::reset}) {
    CAPTURE(static_cast<int>(how));
    const server_process server(
        nango_test::fault_server_options{.script = {{.bytes = nango_test::sound_answer("0"), .then = how}}});
    const nango::client api(
        {.api_key = "key", .base_url = server.base_url(), .retry = {.max_attempts = 1}, .ca_file = server.ca_file()});
    REQUIRE(api.get("first"));
    CHECK(nango_test::comes_true(end_has_come));
    const nango_test::descriptor_limit none(0);
    const auto answer = api.get("next");
    CHECK_MESSAGE(answer, answer.error());
  }
}

}  // namespace faults_memory_tests
