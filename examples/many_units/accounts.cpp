#include "units.hpp"

nango::result<void> print_accounts(const api_client& user, std::ostream& out) {
  const auto accounts = user.get("crm/accounts");
  if (!accounts) return accounts.error();
  for (const auto& account : *accounts) {
    out << account.at("id") << ' ' << account.value("name", nango::json()) << '\n';
  }
  return {};
}
