#include <map>
#include <string>
#include <vector>

#include "units.hpp"

nango::result<void> print_account_names(const api_client& user, std::ostream& out) {
  const auto accounts = user.get<std::vector<std::map<std::string, nango::json>>>("crm/accounts");
  if (!accounts) return accounts.error();
  for (const auto& account : *accounts) out << account.at("name").get<std::string>() << '\n';
  return {};
}
