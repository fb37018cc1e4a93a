// The local server of the API as a program, for tests of other programs: it prints its base URL, its CA file, its key
// and a user token, a line each. `serve_local_nango RECORDS` has so many records in its hosted API. It serves until its
// standard input ends, or, where that is no pipe, until it is killed.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <iterator>

#include "local_nango.hpp"

int main(int argc, char** argv) {
  const auto records = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 25;
  const nango_test::local_nango server({.hosted = {.records = records}});
  std::cout << server.base_url() << '\n'
            << server.ca_file() << '\n'
            << server.api_key() << '\n'
            << server.user_token() << std::endl;
  struct stat input {};
  while (::fstat(STDIN_FILENO, &input) != 0 || !S_ISFIFO(input.st_mode)) ::pause();
  return std::distance(std::istreambuf_iterator<char>(std::cin), {}) >= 0 ? 0 : 1;
}
