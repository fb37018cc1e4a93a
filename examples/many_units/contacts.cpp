#include "units.hpp"

nango::result<void> print_contacts(const api_client& user, std::ostream& out) {
  const auto contacts = user.get("crm/contacts");
  if (!contacts) return contacts.error();
  for (const auto& contact : *contacts) {
    out << contact.at("id") << ' ' << contact.value("last_name", nango::json()) << '\n';
  }
  return {};
}
