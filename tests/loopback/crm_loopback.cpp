// CRM resources: the six calls over HTTPS, against the local server of the API.

#include <doctest/doctest.h>

#include <string>

#include "local_nango.hpp"
#include "nango.hpp"

namespace crm_loopback_tests {

namespace {

namespace crm = nango::crm;
using nango::errc;
using nango_test::local_nango;

struct fixture {
  local_nango server{};
  nango::client user =
      nango::client({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()})
          .user(server.user_token());
};

}  // namespace

TEST_CASE("every record of the server is read, and comes back by its id") {
  const fixture f;
  const auto contacts = crm::list_contacts(f.user, {.include_raw = true});
  REQUIRE_MESSAGE(contacts, contacts.error());
  CHECK(contacts->size() == 5);
  for (const auto& contact : *contacts) {
    const auto same = crm::get_contact(f.user, contact.id, true);
    REQUIRE_MESSAGE(same, same.error());
    CHECK(*same == contact);
    CHECK(contact.raw.is_object());
  }
  const auto accounts = crm::list_accounts(f.user);
  REQUIRE_MESSAGE(accounts, accounts.error());
  CHECK(accounts->size() == 3);
  for (const auto& account : *accounts) {
    CHECK(crm::get_account(f.user, account.id).value() == account);
    CHECK(account.raw.is_null());
  }
  CHECK(accounts->at(0).annual_revenue == 1e7);
  CHECK(accounts->at(1).number_of_employees == 40);
  const auto opportunities = crm::list_opportunities(f.user);
  REQUIRE_MESSAGE(opportunities, opportunities.error());
  CHECK(opportunities->size() == 3);
  for (const auto& opportunity : *opportunities) {
    CHECK(crm::get_opportunity(f.user, opportunity.id).value() == opportunity);
  }
  CHECK(opportunities->at(0).probability == 0.78);
}

TEST_CASE("the server's filters are reached") {
  const fixture f;
  const auto by_name = crm::list_contacts(f.user, {.name = "Rolf"}).value();
  REQUIRE(by_name.size() == 2);
  CHECK(by_name[0].first_name == "Rolf");
  CHECK(by_name[1].last_name == "Rolfsen");
  const auto by_email = crm::list_contacts(f.user, {.email = {"rolf@example.com", "ase@example.org"}}).value();
  REQUIRE(by_email.size() == 2);
  CHECK(by_email[1].last_name == "O'Bär & Søn");
  const auto account = by_name[0].account.value();
  CHECK(crm::list_contacts(f.user, {.account = {account}}).value().size() == 2);
  CHECK(crm::list_accounts(f.user, {.name = "Harbour"}).value().size() == 2);
  CHECK(crm::list_opportunities(f.user, {.name = "pier"}).value().size() == 2);
}

TEST_CASE("an unknown id is the API's error") {
  const fixture f;
  const auto nobody = crm::get_contact(f.user, "00000000-0000-4000-8000-000000000000");
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code == errc::params_error);
}

}  // namespace crm_loopback_tests
