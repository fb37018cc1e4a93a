// Default backend and default limiter: a real HAProxy, with a limit that it counts in its own way.

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "slow_network.hpp"

namespace {

using nango_test::comes_true;
using std::chrono::steady_clock;

using unlimited_client = nango::basic_client<nango::httplib_backend, nango::unlimited>;

const std::array<std::string, 4> users{"anna", "bert", "carl", "dora"};
constexpr int allowance = 100;  // of each user in a second, as haproxy.cfg has it
// Of it, to be used. On a machine that has nothing else to do it is 0.96 and more; on a busy one callers come late.
constexpr double least_share = nango_test::is_sanitized ? 0.3 : 0.5;

// HAProxy as haproxy.cfg describes it, on a free port.
class gateway {
 public:
  gateway() {
    const unlimited_client probe(options());
    bool answers = false;
    comes_true([&] {
      answers = probe.get("x", {}, {.timeout = std::chrono::seconds(1)}).has_value();
      return answers || !haproxy_.running();
    });
    if (!answers) throw std::runtime_error("no answer from haproxy (is it in PATH?): " + haproxy_.output());
  }

  nango::client_options options() const {
    return {.api_key = "key",
            .base_url = "https://127.0.0.1:" + std::to_string(socket_.port()) + "/v1/",
            .timeout = std::chrono::seconds(10),
            .retry = {.max_attempts = 1},
            .ca_file = ca_file_.path()};
  }
  /// How many requests of this user it has seen, and how many of them it has refused.
  nango::json counted(const std::string& user) const {
    return unlimited_client(options()).user(user).get("counted").value();
  }

 private:
  static std::string configuration() {
    return (std::filesystem::path(__FILE__).parent_path() / "support" / "haproxy.cfg").string();
  }

  nango_test::certificate authority_ = nango_test::make_authority();
  nango_test::certificate certificate_{{}, authority_};
  nango_test::temporary_file ca_file_{authority_.pem()};
  nango_test::temporary_file certificate_file_{certificate_.pem() + certificate_.key_pem()};
  nango_test::loopback_socket socket_{};
  nango_test::child haproxy_{
      {"haproxy", "-db", "-f", configuration()}, {"GATEWAY_CERTIFICATE=" + certificate_file_.path()}, socket_.fd()};
};

// What one thread or several have met.
struct tally {
  int answered = 0, refused = 0, failed = 0;
  tally& operator+=(const tally& other) {
    answered += other.answered;
    refused += other.refused;
    failed += other.failed;
    return *this;
  }
};

template <class Client> tally call_until(const Client& api, steady_clock::time_point end) {
  tally met;
  while (steady_clock::now() < end) {
    const auto answer = api.get("x");
    ++(answer ? met.answered : answer.error().http_status == 429 ? met.refused : met.failed);
  }
  return met;
}

// Each user's threads call for 6 s, one call after the other. Returns what each user has met.
template <class Client> std::array<tally, users.size()> call_for_all(const Client& api, std::size_t threads_of_each) {
  std::vector<tally> met(threads_of_each * users.size());
  std::vector<std::thread> threads;
  const auto end = steady_clock::now() + std::chrono::seconds(6);
  for (std::size_t i = 0; i < met.size(); ++i) {
    threads.emplace_back([&, i] { met[i] = call_until(api.user(users[i % users.size()]), end); });
  }
  for (auto& thread : threads) thread.join();
  std::array<tally, users.size()> of{};
  for (std::size_t i = 0; i < met.size(); ++i) of[i % users.size()] += met[i];
  return of;
}

}  // namespace

TEST_CASE("HAProxy refuses nothing, and lets pass nearly all that it allows") {
  const gateway server;
  std::size_t threads_of_each = 4;
  auto each_way = std::chrono::milliseconds(0);
  SUBCASE("16 threads for 4 users") {}
  SUBCASE("a thread alone for each user") { threads_of_each = 1; }
  SUBCASE("3 threads for each, and a round trip of 20 ms") {
    threads_of_each = 3;
    each_way = std::chrono::milliseconds(20);  // at most
  }
  const nango_test::slow_network network(nango::httplib_backend(server.options()), each_way);
  const auto began = steady_clock::now();
  const auto met = call_for_all(nango::basic_client(server.options(), network), threads_of_each);
  const std::chrono::duration<double> took = steady_clock::now() - began;
  for (std::size_t i = 0; i < users.size(); ++i) {
    CAPTURE(users[i]);
    CHECK(met[i].refused == 0);
    CHECK(met[i].failed == 0);
    CHECK(met[i].answered >= least_share * allowance * took.count());
    CHECK(server.counted(users[i]) == nango::json{{"seen", met[i].answered}, {"refused", 0}});
  }
}

TEST_CASE("without a limiter, HAProxy refuses most") {
  const gateway server;
  const auto met = call_for_all(unlimited_client(server.options()), 4);
  for (std::size_t i = 0; i < users.size(); ++i) {
    CAPTURE(users[i]);
    CHECK(met[i].refused > met[i].answered);
    CHECK(met[i].failed == 0);
    CHECK(server.counted(users[i])["refused"] == met[i].refused);
  }
}
