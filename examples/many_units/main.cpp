#include <iostream>

#include "units.hpp"

int main() {
  const auto user = make_client();
  for (const auto print : {print_contacts, print_contact, print_accounts, print_account, print_opportunities,
                           print_opportunity, print_search, print_totals}) {
    if (const auto printed = print(user, std::cout); !printed) {
      std::cerr << printed.error() << '\n';
      return 1;
    }
  }
  return 0;
}
