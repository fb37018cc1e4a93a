// One call with the default backend, to a port where nobody listens.
#include "nango.hpp"

#include <iostream>

int main() {
  nango::client api{{.api_key = "key", .base_url = "https://127.0.0.1:1/", .retry = {.max_attempts = 1}}};
  const auto answer = api.user("token").get("crm/contacts");
  if (answer) return 1;
  std::cout << "nango.hpp " NANGO_VERSION " with httplib " CPPHTTPLIB_VERSION ": " << answer.error() << '\n';
  return answer.error().code == nango::errc::connection_failed ? 0 : 1;
}
