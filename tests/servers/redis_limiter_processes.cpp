// The example redis_limiter as a program: four processes of four threads each, and the server that counts.
#include <doctest/doctest.h>

#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "local_nango.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "redis_fixture.hpp"

namespace redis_limiter_processes_tests {

using namespace nango_test::redis_limiting;
using nango_test::comes_true;
using nango_test::local_nango;
using nango_test::redis_server;

// Of the allowance, to be used. On a machine that has nothing else to do it is 0.99; on a busy one callers come late.
constexpr double least_share = nango_test::is_sanitized ? 0.3 : 0.5;

std::string program() {
  const auto path = nango::env("NANGO_REDIS_LIMITER");
  if (path.empty()) throw std::runtime_error("NANGO_REDIS_LIMITER is to name the example's program");
  return path;
}

class fleet {
 public:
  fleet(const local_nango& api, const redis_server& redis, seconds time, const std::string& down) {
    for (int i = 0; i < 4; ++i) {
      processes_.push_back(std::make_unique<nango_test::child>(
          std::vector<std::string>{program(), "--threads", "4", "--seconds", std::to_string(time.count()),
                                   "--when-down", down, "--share", "20"},
          std::vector<std::string>{"NANGO_API_KEY=" + local_nango::api_key(), "NANGO_BASE_URL=" + api.base_url(),
                                   "NANGO_USER_TOKEN=" + local_nango::user_token(), "NANGO_CA_FILE=" + api.ca_file(),
                                   "NANGO_REDIS=127.0.0.1:" + std::to_string(redis.port())}));
    }
  }
  bool all_run() {
    return std::all_of(processes_.begin(), processes_.end(), [](const auto& process) { return process->running(); });
  }
  // By themselves, all with success.
  bool ends_in(seconds most) {
    bool all = true;
    for (auto& process : processes_) all = process->wait(most) == 0 && all;
    return all;
  }
  // So many outcomes of this name each of them counted; the least. 0 where it does not name it.
  int least_of(const std::string& outcome) const {
    int least = std::numeric_limits<int>::max();
    for (const auto& process : processes_) {
      const auto said = process->output();
      const auto at = said.rfind(' ' + outcome + '=');
      least = (std::min)(least, at == said.npos ? 0 : std::atoi(said.c_str() + at + outcome.size() + 2));
    }
    return least;
  }

 private:
  std::vector<std::unique_ptr<nango_test::child>> processes_;
};

// The server refuses nothing, so that it sees what would have come.
class counting_server {
 public:
  const local_nango api{{.limit = 1'000'000}};

  std::size_t requests() const { return api.requests(local_nango::user_token()); }
  std::size_t most() const { return api.most_in_a_window(local_nango::user_token()); }
  bool is_busy() const {
    const auto before = requests();
    return comes_true([&] { return requests() > before + 50; });
  }
  // Of 100 a second, from now on.
  double share_used(milliseconds time) const {
    const auto began = steady_clock::now();
    const auto before = requests();
    std::this_thread::sleep_for(time);
    const std::chrono::duration<double> took = steady_clock::now() - began;
    return static_cast<double>(requests() - before) / (100 * took.count());
  }
};

TEST_CASE("the program says what is wrong with its arguments") {
  const auto outcome = [](std::vector<std::string> command, const std::string& redis = "") {
    command.insert(command.begin(), program());
    nango_test::child process(command, {"NANGO_REDIS=" + redis});
    const auto status = process.wait(ages);
    REQUIRE(status);
    return std::to_string(WEXITSTATUS(*status)) + ' ' + process.output();
  };
  CHECK(outcome({"--threads", "0"}).starts_with("2 redis_limiter: --threads wants a number from 1 to 1000\n"));
  CHECK(outcome({"--seconds"}).starts_with("2 redis_limiter: --seconds wants"));
  CHECK(outcome({"--when-down", "pray"}).starts_with("2 redis_limiter: --when-down wants refuse or local\n"));
  CHECK(outcome({"--verbose"}).starts_with("2 redis_limiter: --verbose is unknown\n"));
  CHECK(outcome({}, "localhost").starts_with("2 redis_limiter: NANGO_REDIS's port wants"));
}

TEST_CASE("four processes of four threads keep to one limit and use it, and without Redis refuse to call") {
  redis_server redis;
  const counting_server server;
  fleet processes(server.api, redis, seconds(12), "refuse");
  REQUIRE(server.is_busy());
  std::this_thread::sleep_for(seconds(1));  // without the burst at the beginning
  const auto used = server.share_used(seconds(3));
  redis.kill();
  std::this_thread::sleep_for(seconds(1));
  const auto used_then = server.share_used(seconds(1));
  CHECK(processes.all_run());
  CHECK(processes.ends_in(ages));
  MESSAGE("most in a window: " << server.most() << ", used: " << used << ", without Redis: " << used_then);
  CHECK(used >= least_share);
  CHECK(used_then == 0);
  CHECK(server.most() <= 100);
  CHECK(processes.least_of("ok") > 0);
  CHECK(processes.least_of("connection_failed") >= 20);
}

TEST_CASE("four processes whose Redis is killed go on with their shares, and with Redis when it is back") {
  redis_server redis;
  const counting_server server;
  fleet processes(server.api, redis, seconds(22), "local");
  REQUIRE(server.is_busy());
  redis.kill();
  std::this_thread::sleep_for(seconds(2));
  const auto locally = server.share_used(seconds(2));
  REQUIRE(redis.start());
  REQUIRE(comes_true([&] { return redis.key_of(":slots:") != ""; }));
  std::this_thread::sleep_for(seconds(1));
  const auto again = server.share_used(seconds(2));
  CHECK(processes.all_run());
  CHECK(processes.ends_in(ages));
  MESSAGE("most in a window: " << server.most() << ", used locally: " << locally << ", then: " << again);
  CHECK(locally > 0.3);
  CHECK(locally < 0.85);
  CHECK(again >= least_share);
  CHECK(server.most() <= 100);
  CHECK(processes.least_of("connection_failed") == 0);
}

}  // namespace redis_limiter_processes_tests
