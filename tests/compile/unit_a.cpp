// Two units with the header that link and share what is inline.
#include "nango.hpp"

const std::error_category& category_of_b();
nango::result<nango::client> client_of_b();

int main() {
  const bool same_category = &make_error_code(nango::errc::canceled).category() == &category_of_b();
  const auto made = nango::client::create({.api_key = "key"});
  return same_category && made && client_of_b() ? 0 : 1;
}
