// The code of the four README files that is in no example: it compiles, and does what they say.

#include <doctest/doctest.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using namespace std::chrono_literals;

void print_name(const nango::json& record) { std::cout << record.value("id", "") << '\n'; }

struct server_address {
  const char* host;
  int port;
};

// As it is written when it has to be done quickly.
// clang-format off
bool by_hand(const server_address& server, const std::string& key, const std::string& token) {
  // [by hand]
  httplib::SSLClient http(server.host, server.port);
  const auto answer = http.Get("/v1/crm/contacts?name=Rolf", {{"Authorization", "Bearer " + key}, {"X-User-Account", token}});
  if (!answer) return false;                                   // why? was it sent? is it worth another try?
  const auto body = nlohmann::json::parse(answer->body);       // throws at a gateway's page
  if (body["status"] != "ok") return false;                    // a 429 is lost here, and its Retry-After
  for (const auto& contact : body["result"]) print_name(contact);
  // [end]
  return true;
}
// clang-format on

template <class Client> bool by_nango(const Client& api, const std::string& token) {
  // clang-format off
  // [by nango]
  const auto contacts = api.user(token).get("crm/contacts", {{"name", "Rolf"}});
  if (!contacts) return std::cerr << contacts.error() << '\n', false;  // what happened, in one line, without the key
  for (const auto& contact : *contacts) print_name(contact);
  // [end]
  // clang-format on
  return true;
}

}  // namespace

TEST_CASE("by hand and with nango.hpp") {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  CHECK(by_nango(api, server.user_token()));
  CHECK_FALSE(by_nango(api, "nobody"));
  CHECK_FALSE(by_hand({"127.0.0.1", server.port()}, server.api_key(), server.user_token()));  // whom to trust?
}

TEST_CASE("the calls") {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  const auto token = server.user_token(), id = std::string("0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01");
  const nango::cancel_source source;
  using words = std::vector<std::string>;
  // clang-format off
  // [calls]
  auto user = api.user(token);                                    // a handle for one end user; cheap, shares everything
  auto list = user.get("crm/contacts", {{"name", "Rolf"}, {"include_raw", true}});
  auto one = user.get(nango::path("crm", "contacts", id));        // each segment percent-encoded
  auto typed = user.get<words>("test/echo");                      // any T that nlohmann::json::get<T>() returns
  auto sent = user.post("test/echo", {{"key", "value"}});         // JSON bodies; put, patch and del likewise
  auto slow = user.get("test/echo", {}, {.timeout = 2s, .cancel = source.token()});
  auto whole = user.request("GET", "crm/contacts");               // with status, headers and the number of attempts
  auto as_it_came = user.send("GET", "test/echo");                // the answer as it came, for what is not JSON
  // [end]
  // clang-format on
  CHECK(list->size() == 2);
  CHECK(one->at("id") == id);
  CHECK(typed.error().code == nango::errc::decode_error);
  CHECK(sent->at("body") == R"({"key":"value"})");
  CHECK(slow.has_value());
  CHECK(whole->attempts == 1);
  CHECK(as_it_came->status == 200);
}

TEST_CASE("typed records") {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  const auto user = api.user(server.user_token());
  double revenue = 0;
  // [typed]
  const auto accounts = nango::crm::list_accounts(user, {.name = "Harbour"});
  if (!accounts) return std::cerr << accounts.error() << '\n', void();
  for (const nango::crm::account& account : *accounts) {
    std::cout << account.name.value_or("?") << ": " << account.contacts.size() << " contacts\n";
    revenue += account.annual_revenue.value_or(0);  // a number, also if the API sent a text
  }
  // [end]
  CHECK(revenue == 1e7);
}

TEST_CASE("lists, element by element") {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  const auto user = api.user(server.user_token());
  std::vector<std::string> ids;
  // [each]
  const auto count = user.for_each<nango::result<nango::crm::contact>>("crm/contacts", [&](auto&& contact) {
    if (!contact) return std::cerr << contact.error() << '\n', true;  // such as `result[17].account is not a string`
    ids.push_back(contact->id);
    return ids.size() < 1'000;  // false stops
  });
  if (!count) std::cerr << count.error() << '\n';  // the elements before it were handed on
  // [end]
  CHECK(count.value() == ids.size());
  CHECK(ids.size() == 5);
}

TEST_CASE("options") {
  const nango_test::local_nango server;
  const auto key = server.api_key(), url = server.base_url(), authorities = server.ca_file();
  // [options]
  nango::client_options options{.api_key = key};
  options.base_url = url;                             // your own installation, a gateway
  options.ca_file = authorities;                      // trusted instead of the system's authorities
  options.timeout = 10s;                              // of a whole call: limiter, retries and all
  options.attempt_timeout = 3s;                       // of each attempt
  options.retry = {.max_attempts = 5};                // 1: none
  options.max_response_bytes = std::size_t{8} << 20;  // of one answer
  const auto api = nango::client::create(options);    // a result; the constructor throws instead
  // [end]
  REQUIRE(api);
  CHECK((*api).get("test/echo"));
}

TEST_CASE("a backend of one's own") {
  // clang-format off
  // [own backend]
  struct my_backend {
    nango::result<nango::http_response> send(const nango::http_request& request) {
      // send request.method, url, headers and body, until request.deadline or request.cancel.canceled()
      return nango::http_response{.status = request.method == "GET" ? 200 : 405, .body = R"({"status":"ok","result":[]})"};
    }
  };
  nango::basic_client<my_backend> api({.api_key = "key"}, my_backend());
  // [end]
  // clang-format on
  CHECK(api.get("crm/contacts")->empty());
}

TEST_CASE("a new key, with the same limiter: no user's rate is doubled") {
  const nango_test::local_nango server;
  const auto options = [&](const std::string& key) {
    return nango::client_options{.api_key = key, .base_url = server.base_url(), .ca_file = server.ca_file()};
  };
  const auto token = server.user_token();
  const auto old_options = options(server.api_key()), new_options = options(server.api_key());
  // clang-format off
  // [key rotation]
  const nango::sliding_window limiter(old_options.rate);  // made once: a new limiter would count each user anew
  nango::client current(old_options, nango::httplib_backend(old_options), limiter);
  // later, for a new key or any other option, under your own lock if threads copy `current` at the same time:
  nango::client api = current;                            // a copy keeps the old options
  current = nango::client(new_options, nango::httplib_backend(new_options), limiter);
  // [end]
  // clang-format on
  for (int i = 0; i < 100; ++i) REQUIRE(api.user(token).get("test/echo"));
  for (int i = 0; i < 100; ++i) REQUIRE(current.user(token).get("test/echo"));
  CHECK(server.most_in_a_window(token) <= 100);
  CHECK(server.refused(token) == 0);
}
