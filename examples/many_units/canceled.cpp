#include "units.hpp"

nango::result<void> print_canceled(const api_client& user, std::ostream& out) {
  const nango::cancel_source source;
  source.cancel();  // as another thread would
  const auto all = user.get("crm/contacts", {}, {.cancel = source.token()});
  if (!all && all.error().code != nango::errc::canceled) return all.error();
  out << (all ? "not canceled" : all.error().message) << '\n';
  return {};
}
