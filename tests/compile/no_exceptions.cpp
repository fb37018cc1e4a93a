// Without exceptions and RTTI: errors come as results, and what would throw aborts.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "nango.hpp"

namespace {
char printed[512];  // what goes to stderr
[[noreturn]] void aborted(int) {
  std::_Exit(printed == std::string_view("nango: connection_failed: no [GET fail]\n") ? 0 : 7);
}

nango::result<nango::http_response> answer(const nango::http_request& request) {
  if (request.url.ends_with("fail")) return nango::error{.code = nango::errc::connection_failed, .message = "no"};
  return nango::http_response{.status = 200, .body = R"({"status":"ok","result":[1,2]})"};
}
}  // namespace

int main() {
  using client = nango::basic_client<nango::any_backend>;
  if (client::create({}, answer).error().code != nango::errc::invalid_argument) return 1;
  const auto api = client::create({.api_key = "key", .retry = {.max_attempts = 1}}, answer);
  if (!api || (*api).get("x")->size() != 2) return 2;
  if ((*api).get("fail").error().code != nango::errc::connection_failed) return 3;
  if ((*api).get<std::vector<int>>("x").value_or(std::vector<int>{}).size() != 2) return 4;
  const auto contacts = nango::crm::list_contacts(*api);  // two numbers
  if (contacts || contacts.error().code != nango::errc::decode_error) return 5;
  std::signal(SIGABRT, aborted);
  if (std::setvbuf(stderr, printed, _IOFBF, sizeof printed) != 0) return 8;
  static_cast<void>((*api).get("fail").value());  // aborts
  return 6;
}
