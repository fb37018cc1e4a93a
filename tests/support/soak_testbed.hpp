// The gateway of the soak, which is a real HAProxy, and the servers behind it and beside it.
#ifndef NANGO_TESTS_SOAK_TESTBED_HPP
#define NANGO_TESTS_SOAK_TESTBED_HPP

#include <sys/wait.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "soak_book.hpp"

namespace nango_test::soak {

using std::chrono::seconds;

inline std::vector<std::string> this_program(const std::string& role, std::uint64_t argument) {
  return {"/proc/self/exe", role, std::to_string(argument)};
}

struct no_haproxy : std::runtime_error {
  using runtime_error::runtime_error;
};

class testbed {
 public:
  explicit testbed(std::uint64_t seed) : faults_(this_program("faults", seed), {}, all.fd()) {
    start_server();
    const auto asks = [this] { return all->fault_port != 0 && refusals().has_value(); };
    if (nango_test::comes_true([&] { return asks() || !haproxy_.running(); }) && asks()) return;
    const auto status = haproxy_.status();
    if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 127) throw no_haproxy("skipped: no haproxy");
    throw std::runtime_error("no answer from haproxy: " + haproxy_.output());
  }

  bool server_runs() const { return server_.has_value(); }
  void start_server() {
    const auto port = static_cast<std::uint64_t>(port_.port());
    server_.emplace(this_program("sound", port), std::vector<std::string>{}, all.fd());
  }
  void stop_server() { server_.reset(); }
  bool others_run() { return haproxy_.running() && faults_.running(); }
  /// Nothing is executed after this.
  void stop() {
    haproxy_.stop();
    stop_server();
    faults_.stop();
  }

  nango::client_options gateway_options() const {
    auto options = common_options(socket_.port());
    options.ca_file = ca_file_.path();
    return options;
  }
  nango::client_options fault_options() const {
    auto options = common_options(all->fault_port);
    options.ca_file = all->fault_ca_file.data();
    options.max_response_bytes = std::size_t{1} << 20;
    return options;
  }
  /// As HAProxy counts them.
  nango::result<std::size_t> refusals() const {
    auto options = gateway_options();
    options.timeout = seconds(5);
    return nango::client(options).get<std::size_t>("refused");
  }

  shared_book all = shared_book::make();

 private:
  static nango::client_options common_options(int port) {
    return {.api_key = "soak-api-key", .base_url = "https://127.0.0.1:" + std::to_string(port) + "/v1/"};
  }
  nango_test::certificate authority_ = nango_test::make_authority();
  nango_test::certificate certificate_{{}, authority_};
  nango_test::temporary_file ca_file_{authority_.pem()};
  nango_test::temporary_file certificate_file_{certificate_.pem() + certificate_.key_pem()};
  nango_test::loopback_socket socket_{};
  nango_test::loopback_socket port_{nango_test::loopback_socket::reserved};
  nango_test::child haproxy_{
      {"haproxy", "-db", "-f", GATEWAY_CONFIGURATION},
      {"GATEWAY_CERTIFICATE=" + certificate_file_.path(), "SERVER_PORT=" + std::to_string(port_.port())},
      socket_.fd()};
  nango_test::child faults_;
  std::optional<nango_test::child> server_{};
};

}  // namespace nango_test::soak

#endif
