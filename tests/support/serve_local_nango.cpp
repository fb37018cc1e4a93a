// The local server of the API as a program, for tests of other programs: it prints its base URL, its CA file, its key
// and a user token, a line each, and serves until its standard input ends.

#include <iostream>
#include <iterator>

#include "local_nango.hpp"

int main() {
  const nango_test::local_nango server;
  std::cout << server.base_url() << '\n'
            << server.ca_file() << '\n'
            << server.api_key() << '\n'
            << server.user_token() << std::endl;
  return std::distance(std::istreambuf_iterator<char>(std::cin), {}) >= 0 ? 0 : 1;
}
