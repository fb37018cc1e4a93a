// What to do about each error, in the style of std::expected and in the style of exceptions. The errors are real: they
// come from a local server of the API that this program starts. Canned answers make the three that it never sends.

#include <chrono>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using namespace std::chrono_literals;
using nango::errc;

enum class decision {
  mend_the_call,
  reconnect_the_user,
  check_the_setup,
  try_later,
  ask_for_less,
  look_into_it,
  nothing
};

// No `default`: the compiler then warns of each error code that a later version adds.
decision what_to_do(const nango::error& e) {
  // [each code]
  switch (e.code) {
    case nango::errc::params_error:      // the message says which parameter
    case nango::errc::invalid_argument:  // nothing was sent; the message says what to do
    case nango::errc::decode_error: return decision::mend_the_call;
    case nango::errc::auth_error: return decision::reconnect_the_user;  // or the key is wrong
    case nango::errc::tls_failed: return decision::check_the_setup;     // never turn verification off
    case nango::errc::rate_limited:                                     // e.retry_after says when
    case nango::errc::processing_error:                                 // the client has retried these
    case nango::errc::connection_failed:                                // where that was safe;
    case nango::errc::timed_out: return decision::try_later;            // see e.may_have_executed
    case nango::errc::response_too_large: return decision::ask_for_less;
    case nango::errc::api_error:          // e.type is one that this version does not know
    case nango::errc::unexpected_status:  // e.http_status and e.body: a gateway's page?
    case nango::errc::malformed_response: return decision::look_into_it;
    case nango::errc::canceled: break;  // by your own code
  }
  return decision::nothing;
  // [end]
}

std::string_view name_of(decision what) {
  switch (what) {
    case decision::mend_the_call: return "mend the call";
    case decision::reconnect_the_user: return "have the user connect again";
    case decision::check_the_setup: return "check the set-up";
    case decision::try_later: return "try later";
    case decision::ask_for_less: return "ask for less";
    case decision::look_into_it: return "look into it";
    case decision::nothing: break;
  }
  return "nothing";
}

int failures = 0;
std::set<errc> met;

// Prints the error of a call that must fail, and what to do about it.
template <class Value> void show(std::string_view what, const nango::result<Value>& got, errc expected) {
  if (got || got.error().code != expected) {
    std::cerr << what << " did not end as it should\n";
    ++failures;
    return;
  }
  met.insert(got.error().code);
  std::cout << what << ": " << got.error() << " -> " << name_of(what_to_do(got.error()));
  if (got.error().may_have_executed) std::cout << " (it may have been executed)";
  std::cout << '\n';
}

// [expected style]
nango::result<std::string> name_of_first_contact(const nango::client& user) {
  return nango::crm::list_contacts(user).and_then([](const auto& contacts) -> nango::result<std::string> {
    if (contacts.empty()) return std::string("nobody");
    return contacts.front().first_name.value_or("") + ' ' + contacts.front().last_name.value_or("");
  });
}
// [end]

// One chain: an error passes through each step until value_or() replaces it.
std::string name_of_first_account(const nango::client& user) {
  return nango::crm::list_contacts(user)
      .and_then([&](const auto& contacts) -> nango::result<nango::crm::account> {
        if (contacts.empty()) return nango::crm::account{};
        return nango::crm::get_account(user, contacts.front().account.value_or(""));
      })
      .transform([](const auto& account) { return account.name.value_or("without a name"); })
      .value_or("unknown");
}

// [throwing style]
std::string name_or_words(const nango::client& user) {
  try {
    const auto contacts = nango::crm::list_contacts(user).value();
    return contacts.empty() ? "nobody" : contacts.front().last_name.value_or("");
  } catch (const nango::exception& e) {
    return std::string("it failed: ") + e.what();  // e.error() has the whole error
  }
}
// [end]

// [wait as asked]
nango::result<nango::json> get_patiently(const nango::client& user, std::string_view path) {
  // The client waits and retries until the timeout, so allow as much time as you can wait.
  auto got = user.get(path, {}, {.timeout = 2min});
  if (!got && got.error().code == nango::errc::rate_limited) {
    std::cerr << "put off: again in " << got.error().retry_after.value_or(1s).count() << " ms\n";
  }
  return got;
}
// [end]

// What a client makes of an answer that the local server never sends.
nango::result<nango::json> canned(int status, std::string body) {
  const auto answer = [&](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{.status = status, .body = body};
  };
  return nango::basic_client<nango::any_backend>({.api_key = "key", .retry = {.max_attempts = 1}}, answer).get("any");
}

// Meets the API's own limit, because another program (here: a client with its own limiter) calls for the same user.
void show_429(const nango::client_options& options, const std::string& token) {
  const nango::client other_program(options), api(options);
  if (!other_program.user(token).get("crm/accounts")) ++failures;
  const auto user = api.user(token);
  show("a user who had all requests", user.get("crm/accounts", {}, {.timeout = 500ms}), errc::rate_limited);
  if (!get_patiently(user, "crm/accounts")) ++failures;  // succeeds a second later
}

// Errors that the API reports, and errors made of its answers.
void show_calls(const nango::client_options& options, const std::string& token) {
  const nango::client api(options);
  const auto user = api.user(token);
  show("a parameter that there is not", user.get("crm/contacts", {{"colour", "blue"}}), errc::params_error);
  show("an id that is missing", user.get(nango::path("crm", "contacts", "")), errc::invalid_argument);
  show("a user whom the API does not know", api.user("nobody").get("crm/contacts"), errc::auth_error);
  show("a request that the API cannot process", user.get("test/processing-error"), errc::processing_error);
  show("a POST of that kind", user.post("test/processing-error", {{"a", 1}}), errc::processing_error);
  show("a result of another type", user.get<int>("crm/contacts"), errc::decode_error);
  const nango::cancel_source source;
  source.cancel();
  show("a call that was canceled", user.get("crm/contacts", {}, {.cancel = source.token()}), errc::canceled);
  show("an error type of tomorrow",
       canned(402, R"({"status":"error","error_type":"PLAN_ERROR","error_msg":"too small"})"), errc::api_error);
  show("a gateway's page", canned(502, "<html>Bad gateway</html>"), errc::unexpected_status);
  show("a page that is no envelope", canned(200, "<html>Welcome</html>"), errc::malformed_response);
  show("a slow answer", user.get("test/sleep", {{"ms", 5'000}}, {.timeout = 100ms}), errc::timed_out);
}

// Errors that come from the options and from what they lead to.
void show_options(const nango::client_options& options, const std::string& token) {
  auto small = options, slow = options, nowhere = options, in_clear = options, untrusting = options;
  small.max_response_bytes = 1'000;
  slow.rate = {.requests = 1, .per = 10s};
  nowhere.base_url = "https://127.0.0.1:1/v1/";
  in_clear.base_url = "http://api.nango.dev/v1/";
  const nango_test::temporary_file other_authority(nango_test::make_authority().pem());
  untrusting.ca_file = other_authority.path();

  const nango::client small_api(small), slow_api(slow);
  show("an answer of 5,000 bytes, with 1,000 allowed", small_api.get("test/bytes", {{"count", 5'000}}),
       errc::response_too_large);
  const auto limited = slow_api.user(token);
  if (!limited.get("crm/accounts")) ++failures;
  show("a second call in a window of one", limited.get("crm/accounts", {}, {.timeout = 1s}), errc::rate_limited);
  show("a port where nobody listens", nango::client(nowhere).get("test/echo"), errc::connection_failed);
  show("a base URL without TLS", nango::client::create(in_clear), errc::invalid_argument);
  show("a server that is not trusted", nango::client(untrusting).get("test/echo"), errc::tls_failed);
}

// Both styles, and std::error_code for callers that do not know nango::error.
void show_styles(const nango::client_options& options, const std::string& token) {
  const nango::client api(options);
  const auto user = api.user(token), nobody = api.user("nobody");
  std::cout << "\nThe account of the first contact: " << name_of_first_account(user)
            << ", and as nobody: " << name_of_first_account(nobody) << '\n';
  std::cout << "The first contact: " << name_of_first_contact(user).value_or("unknown")
            << ", and as nobody: " << name_or_words(nobody) << '\n';
  // [error_code]
  const auto late = user.get("test/sleep", {{"ms", 5'000}}, {.timeout = 100ms});
  const std::error_code code = late ? std::error_code() : make_error_code(late.error().code);
  if (code == std::errc::timed_out) std::cout << code.category().name() << ": " << code.message() << '\n';
  // [end]
}

// Each part has its own server. (The thread sanitizer does not see Debian's httplib close a descriptor, and would take
// a client that gets the same number for its owner.)
void with_server(nango_test::local_nango_options like,
                 void (*part)(const nango::client_options& options, const std::string& token)) {
  const nango_test::local_nango server(std::move(like));
  part({.api_key = server.api_key(),
        .base_url = server.base_url(),
        .retry = {.max_attempts = 2, .base_delay = 10ms, .max_delay = 10ms},
        .ca_file = server.ca_file()},
       server.user_token());
}

}  // namespace

int main() {
  with_server({}, show_calls);
  with_server({}, show_options);
  with_server({.limit = 1}, show_429);
  std::cout << met.size() << " codes\n";
  with_server({}, show_styles);
  return failures == 0 && met.size() == 14 ? 0 : 1;
}
