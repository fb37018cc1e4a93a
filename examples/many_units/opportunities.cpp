#include "units.hpp"

nango::result<void> print_opportunities(const api_client& user, std::ostream& out) {
  const auto opportunities = user.get("crm/opportunities");
  if (!opportunities) return opportunities.error();
  for (const auto& opportunity : *opportunities) {
    out << opportunity.at("id") << ' ' << opportunity.value("name", nango::json()) << '\n';
  }
  return {};
}
