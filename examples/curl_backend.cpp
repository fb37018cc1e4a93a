// Calls over libcurl instead of cpp-httplib. The client is the same; curl_backend.hpp is the backend.

#include <iostream>

#include "curl_backend.hpp"
#include "local_nango.hpp"
#include "nango.hpp"

int main() {
  const nango_test::local_nango server;
  // [another backend]
  const nango::basic_client<curl_backend> api(
      {.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  const auto user = api.user(server.user_token());
  const auto accounts = nango::crm::list_accounts(user, {.name = "Harbour"});
  // [end]
  if (!accounts) {
    std::cerr << accounts.error() << '\n';
    return 1;
  }
  for (const auto& account : *accounts) std::cout << account.name.value_or("?") << '\n';
  const auto echoed = user.post("test/echo", {{"said", "hello"}});
  if (!echoed) {
    std::cerr << echoed.error() << '\n';
    return 1;
  }
  std::cout << echoed->at("method").get<std::string>() << ' ' << echoed->at("body").get<std::string>() << '\n';
  return 0;
}
