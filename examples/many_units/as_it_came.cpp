#include "units.hpp"

nango::result<void> print_as_it_came(const api_client& user, std::ostream& out) {
  const auto answer = user.send("GET", "crm/accounts");
  if (!answer) return answer.error();
  out << "HTTP " << answer->status << ", " << answer->body.size() << " bytes\n";
  return {};
}
