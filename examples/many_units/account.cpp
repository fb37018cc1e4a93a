#include <string>

#include "units.hpp"

nango::result<void> print_account(const api_client& user, std::ostream& out) {
  const auto all = user.get("crm/accounts");
  if (!all) return all.error();
  if (all->empty()) return {};
  const auto account = user.get(nango::path("crm", "accounts", all->front().at("id").get<std::string>()));
  if (!account) return account.error();
  out << account->dump(2) << '\n';
  return {};
}
