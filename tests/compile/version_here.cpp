// This version of the header, in one program with the next one.
#include "nango.hpp"

#include <cstdio>
#include <string>
#include <string_view>

std::string_view word_of_next();
std::size_t error_size_of_next();
std::string call_next();

namespace {

std::string call_here() {
  nango::basic_client<nango::any_backend> api({.api_key = "key"}, [](const nango::http_request&) {
    return nango::http_response{200, {}, R"({"status":"ok","result":"here"})"};
  });
  return api.user("token").get<std::string>("x").value();
}

}  // namespace

int main() {
  const bool numbers =
      NANGO_VERSION_MAJOR == 0 && NANGO_VERSION_MINOR == 2 && std::string_view(NANGO_VERSION) == "0.2.0";
  const bool words = to_string(nango::errc::timed_out) == "timed_out" && word_of_next() == "too_late";
  const bool sizes = sizeof(nango::error) < error_size_of_next();
  const bool calls = call_here() == "here" && call_next() == "next";
  std::printf("numbers %d, words %d, sizes %d, calls %d\n", numbers, words, sizes, calls);
  return numbers && words && sizes && calls ? 0 : 1;
}
