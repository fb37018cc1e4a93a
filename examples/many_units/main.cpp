#include <iostream>

#include "units.hpp"

int main() {
  const auto user = make_client();
  for (const auto print : {print_contacts, print_contact, print_search, print_account_names, print_totals,
                           print_in_time, print_canceled, print_as_it_came}) {
    if (const auto printed = print(user, std::cout); !printed) {
      std::cerr << printed.error() << '\n';
      return 1;
    }
  }
  return 0;
}
