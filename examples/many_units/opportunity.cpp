#include <string>

#include "units.hpp"

nango::result<void> print_opportunity(const api_client& user, std::ostream& out) {
  const auto all = user.get("crm/opportunities");
  if (!all) return all.error();
  if (all->empty()) return {};
  const auto opportunity = user.get(nango::path("crm", "opportunities", all->front().at("id").get<std::string>()));
  if (!opportunity) return opportunity.error();
  out << opportunity->dump(2) << '\n';
  return {};
}
