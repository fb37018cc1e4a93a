#include "units.hpp"

nango::result<void> print_totals(const api_client& user, std::ostream& out) {
  for (const auto* resource : {"contacts", "accounts", "opportunities"}) {
    const auto all = user.get(nango::path("crm", resource));
    if (!all) return all.error();
    out << all->size() << ' ' << resource << '\n';
  }
  return {};
}
