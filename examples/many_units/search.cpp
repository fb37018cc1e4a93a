#include "units.hpp"

nango::result<void> print_search(const api_client& user, std::ostream& out) {
  return user.get("crm/contacts", {{"name", "Rolf"}}).transform([&](const nango::json& found) {
    out << found.size() << " contacts have \"Rolf\" in their name\n";
  });
}
