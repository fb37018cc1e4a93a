#include <chrono>

#include "units.hpp"

nango::result<void> print_in_time(const api_client& user, std::ostream& out) {
  const auto all = user.get("crm/opportunities", {}, {.timeout = std::chrono::seconds(5)});
  if (!all) return all.error();
  out << all->size() << " opportunities within 5 s\n";
  return {};
}
