// Runs the README's program word for word, against the local server.

#include <doctest/doctest.h>

#include <iostream>
#include <sstream>
#include <string>
#include <utility>

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

TEST_CASE("the five-line program prints the contacts as JSON lines") {
  const nango_test::local_nango running;
  server = &running;
  std::ostringstream printed;
  auto* const usual = std::cout.rdbuf(printed.rdbuf());
  const int code = program::main();
  std::cout.rdbuf(usual);
  CHECK(code == 0);
  std::istringstream lines(printed.str());
  std::string line;
  int count = 0;
  for (; std::getline(lines, line); ++count) CHECK(::nango::json::parse(line).contains("id"));
  CHECK(count >= 1);
  CHECK(printed.str().find("Rolf") != std::string::npos);
}
