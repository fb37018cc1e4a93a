// Runs the README's two programs word for word, against the local server.

#include <doctest/doctest.h>

#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {
const nango_test::local_nango* server = nullptr;
}

namespace program {
// What the program calls nango::client goes to the local server here; the rest is the real thing.
namespace nango {
using ::nango::env;
struct client : ::nango::client {
  explicit client(::nango::client_options options) : ::nango::client(at_server(std::move(options))) {}
  static ::nango::client_options at_server(::nango::client_options options) {
    options.api_key = server->api_key();
    options.base_url = server->base_url();
    options.ca_file = server->ca_file();
    return options;
  }
};
}  // namespace nango
#include "five_lines.inc"
}  // namespace program

namespace hosted_program {
// The same for today's hosted service; the connection is one that the local server knows.
namespace nango {
using ::nango::env;
using ::nango::json;
struct client : ::nango::client {
  explicit client(::nango::client_options options) : ::nango::client(at_server(std::move(options))) {}
  static ::nango::client_options at_server(::nango::client_options options) {
    options.api_key = server->api_key();
    options.base_url = server->hosted_url();
    options.ca_file = server->ca_file();
    return options;
  }
};
namespace hosted {
using ::nango::hosted::for_each_record;
using ::nango::hosted::options;
::nango::client connection(const client& api, std::string_view, std::string_view) {
  using nango_test::hosted_routes;
  return ::nango::hosted::connection(api, hosted_routes::connection_id, hosted_routes::provider_config_key);
}
}  // namespace hosted
}  // namespace nango
int main() {
  // clang-format off
  // [hosted]
  nango::client api{nango::hosted::options(nango::env("NANGO_API_KEY"))};
  auto zendesk = nango::hosted::connection(api, "0d3f0e1c-5c5f-4b53-9f0a-0f3f3c1d2a77", "zendesk");
  auto tickets = nango::hosted::for_each_record(zendesk, "Ticket", [](const nango::json& ticket) {
    std::cout << ticket.dump() << '\n';
  });
  if (tickets.failure) { std::cerr << *tickets.failure << '\n'; return 1; }
  // [end]
  // clang-format on
  return 0;
}
}  // namespace hosted_program

namespace {

// What a program prints on stdout, one string for each line. It has to succeed.
std::vector<std::string> lines_of(int (*program)()) {
  std::stringstream printed;
  auto* const usual = std::cout.rdbuf(printed.rdbuf());
  const int code = program();
  std::cout.rdbuf(usual);
  CHECK(code == 0);
  std::vector<std::string> lines;
  for (std::string line; std::getline(printed, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("the five-line program prints the contacts as JSON lines") {
  const nango_test::local_nango running;
  server = &running;
  const auto lines = lines_of(program::main);
  REQUIRE(lines.size() >= 1);
  for (const auto& line : lines) {
    CHECK(::nango::json::parse(line).contains("id"));
    CHECK(line.find("Rolf") != std::string::npos);
  }
}

TEST_CASE("the same for the hosted service prints records as JSON lines") {
  const nango_test::local_nango running;
  server = &running;
  const auto lines = lines_of(hosted_program::main);
  CHECK(lines.size() == 25);
  for (const auto& line : lines) CHECK(::nango::json::parse(line).contains("_nango_metadata"));
}
