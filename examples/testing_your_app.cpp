// How to test code that calls this client: the backend answers from a script, and the clock moves by hand, so no test
// opens a socket or sleeps. This is a test program as yours would be. The code under test stands first.
//
// scripted_backend.hpp and manual_clock.hpp are this project's own test support (tests/support/). Copy them.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

// --- The application ------------------------------------------------------------------------------------------------

namespace {

// [code to test]
// Code under test takes any client: nango::client in the program, a scripted one in a test.
template <class Client> std::string greeting(const Client& user, std::string_view contact_id) {
  const auto contact = nango::crm::get_contact(user, contact_id);
  if (contact) return "Dear " + contact->first_name.value_or("Sir or Madam");
  return contact.error().code == nango::errc::auth_error ? "Please connect your CRM again" : "Please try again later";
}
// [end]

// --- Its tests ------------------------------------------------------------------------------------------------------

using namespace std::chrono_literals;
using nango_test::manual_clock;
using nango_test::scripted_backend;

// [fixture]
// A client whose answers come from a script. Waits move the clock and take no time.
using test_client = nango::basic_client<scripted_backend, nango::basic_sliding_window<manual_clock>>;

struct fixture {
  fixture() {
    manual_clock::reset();
    manual_clock::run_by_itself();
  }
  scripted_backend backend{};
  test_client user = test_client({.api_key = "key"}, backend).user("token");
};
// [end]

}  // namespace

// [a test]
TEST_CASE("a contact is greeted by name, and requested on behalf of its user") {
  fixture f;
  f.backend.ok({{"id", "7"}, {"first_name", "Rolf"}});
  CHECK(greeting(f.user, "7") == "Dear Rolf");
  CHECK(f.backend.last().url == "https://api.nango.dev/v1/crm/contacts/7");
  CHECK(f.backend.last().header("X-User-Account") == "token");
}
// [end]

TEST_CASE("a user who is not connected any more is told so") {
  fixture f;
  f.backend.answer(401, R"({"status":"error","error_type":"AUTH_ERROR","error_msg":"unknown user"})");
  CHECK(greeting(f.user, "7") == "Please connect your CRM again");
}

TEST_CASE("an API that is out of order is tried three times, in no time") {
  fixture f;
  for (int i = 0; i < 3; ++i) f.backend.answer(503, "maintenance");
  CHECK(greeting(f.user, "7") == "Please try again later");
  CHECK(f.backend.calls() == 3);
}

// [a test of 429]
TEST_CASE("a 429 is waited out as long as it asks for") {
  fixture f;
  f.backend.answer(429, "", {{"Retry-After", "20"}}).ok({{"id", "7"}, {"first_name", "Rolf"}});
  CHECK(greeting(f.user, "7") == "Dear Rolf");
  CHECK(manual_clock::elapsed() >= 20s);  // on the manual clock; the test itself takes no time
}
// [end]

TEST_CASE("the 101st call of a second waits for its turn") {
  fixture f;
  f.backend.always([](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = 200, .body = R"({"status":"ok","result":{"id":"7"}})"};
  });
  for (int i = 0; i < 100; ++i) greeting(f.user, "7");
  CHECK(manual_clock::elapsed() == 0s);
  greeting(f.user, "7");
  CHECK(manual_clock::elapsed() >= 1s);
}

TEST_CASE("without any support: a lambda is a backend") {
  const auto answer = [](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::error{.code = nango::errc::connection_failed, .message = "no network", .may_have_executed = false};
  };
  const nango::basic_client<nango::any_backend> api({.api_key = "key", .retry = {.max_attempts = 1}}, answer);
  CHECK(greeting(api.user("token"), "7") == "Please try again later");
}
