#include <string>

#include "units.hpp"

nango::result<void> print_contact(const api_client& user, std::ostream& out) {
  const auto all = user.get("crm/contacts");
  if (!all) return all.error();
  if (all->empty()) return {};
  const auto contact = user.get(nango::path("crm", "contacts", all->front().at("id").get<std::string>()));
  if (!contact) return contact.error();
  out << contact->dump(2) << '\n';
  return {};
}
