// The whole public interface without the default backend, each function of each class, so that nothing stays
// uncompiled. Included by two units of one program.
#pragma once

#include "nango.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {  // each unit has its own, and what they share is nango.hpp's

using nango::errc;
using nango::json;

// Answers with what was asked for.
struct canned_backend {
  canned_backend() = default;
  explicit canned_backend(const nango::client_options&) {}
  nango::result<nango::http_response> send(const nango::http_request& request) {
    const json result = {{"method", std::string(request.method)}, {"bytes", request.body.size()}};
    const json envelope = {{"status", "ok"}, {"result", result}};
    return nango::http_response{200, {{"Content-Type", "application/json"}}, envelope.dump()};
  }
};

// A backend whose making may fail.
struct created_backend : canned_backend {
  static nango::result<created_backend> create(const nango::client_options&) { return created_backend(); }
};

using canned_client = nango::basic_client<canned_backend>;

bool use_errors() {
  const nango::error e{.code = errc::timed_out, .message = "too late"};
  const std::error_code code = make_error_code(e.code);
  bool good = code == errc::timed_out && to_string(e.code) == "timed_out";
#if defined(__cpp_exceptions)
  const nango::exception thrown(e);
  good = good && thrown.error().code == e.code && thrown.what() != nullptr;
#endif
  return good;
}

bool use_result() {
  using number = nango::result<int>;
  number one = 1;
  const number two = 2, none = nango::error{.code = errc::canceled, .message = "no"};
  const auto twice = [](int value) { return 2 * value; };
  const auto twice_or_not = [](int value) -> number { return 2 * value; };
  const auto mend = [](const nango::error&) -> number { return 7; };
  *one = *two;
  one.value() += none.value_or(3);
  number copy(one);
  copy.error() = none.error();
  const int sum = *one.and_then(twice_or_not) + *two.and_then(twice_or_not) + *number(1).and_then(twice_or_not) +
                  *one.transform(twice) + *two.transform(twice) + *number(1).transform(twice) + *none.or_else(mend) +
                  *number(none).or_else(mend) + *number(4) + number(5).value() + two.value() + number(none).value_or(6);
  const nango::result<std::string> text("a");
  nango::result<std::string> other("b");
  const bool pointers = text->size() == 1 && other->size() == 1 && number(none).error().code == errc::canceled;
  const nango::result<void> done, failed = none.error();
  done.value();
  *done;
  const bool nothing = done && !failed.has_value() && done.transform([] { return 1; }) &&
                       done.transform([] {}).has_value() && done.and_then([] { return number(1); }) &&
                       failed.or_else([](const nango::error&) { return nango::result<void>(); }) &&
                       failed.error().code == errc::canceled && nango::result<void>(none.error()).error().attempts == 0;
  const number narrower = text->size();  // no warning of ours
  return sum > 0 && narrower && pointers && nothing;
}

bool use_seam() {
  const nango::cancel_source source;
  const nango::cancel_token token = source.token();
  source.cancel();
  const auto answer = [](const nango::http_request& request) { return canned_backend().send(request); };
  nango::any_backend from_function(answer), from_shared(std::make_shared<canned_backend>());
  const nango::header field{"name", "value"};
  const nango::http_request request{.method = "GET", .url = "https://example.com/", .headers = {&field, 1}};
  return token.canceled() && token.cancelable() && from_function.send(request) && from_shared.send(request);
}

bool use_limiters() {
  nango::sliding_window window({.requests = 1});
  auto copy = window;
  auto permit = copy.acquire("key", nango::steady_clock::now());
  if (!permit) return false;
  nango::sliding_window::permit held = *std::move(permit), empty;
  empty = std::move(held);
  empty.answered();
  window.hold("other", nango::steady_clock::now());
  nango::unlimited none;
  none.acquire("key", nango::steady_clock::now())->answered();
  none.hold("key", nango::steady_clock::now());
  return window.size() == 2 && window.rate().requests == 1;
}

bool use_functions() {
  const char* text = "text";
  const nango::query query{{"a", text},
                           {"b", std::string("b")},
                           {"c", std::string_view("c")},
                           {"d", "d"},
                           {"e", true},
                           {"f", 1},
                           {"g", 2U},
                           {"h", 3L},
                           {"i", std::size_t{4}},
                           {"j", static_cast<signed char>(5)}};
  const auto parsed = nango::parse_envelope({200, {}, R"({"status":"ok","result":[]})"});
  const nango::error late{.code = errc::timed_out, .message = "late"};
  return query.size() == 10 && nango::path("crm", std::string("contacts"), text) == "crm/contacts/text" &&
         nango::env("NANGO_NO_SUCH_VARIABLE").empty() && parsed && nango::next_delay(late, "GET", 1, {}, 0.5);
}

template <class Client> bool use_client(const Client& made) {
  Client api = made;
  api = made.as({{{"X-Team", "a"}}, "team"});
  const auto user = api.user("token");
  const nango::call_options options{.headers = {{"X-Trace", "1"}}, .timeout = std::chrono::seconds(5)};
  const nango::query query{{"name", "Rolf"}};
  const json body{{"key", "value"}};
  const std::vector<int> list{1, 2};
  using object = std::map<std::string, json>;
  return api.limit_key() == "team" && user.get("a") && user.template get<object>("a", query, options) &&
         user.template del<void>("a", query, options) && user.post("a", body) && user.put("a", body, options) &&
         user.patch("a", body, options) && user.post("a", {}) && user.post("a", list) &&
         user.template post<object>("a", body) && user.template put<object>("a", list) &&
         user.template patch<void>("a", nullptr) && user.request("GET", "a", query, options) &&
         user.request_json("POST", "a", body, query, options) &&
         user.send("GET", "a", query, "body", "text/plain", options) &&
         user.get("..").error().code == errc::invalid_argument;
}

// Answers each path with one record, or with a list of it.
nango::result<nango::http_response> answer_record(const nango::http_request& request) {
  const json record = {{"id", "1"}, {"adresses", {json::object()}}, {"last_activity_at", "2022-08-01T09:30:00Z"}};
  const json envelope = {{"status", "ok"},
                         {"result", request.url.find("/1") != request.url.npos ? record : json::array({record})}};
  return nango::http_response{200, {}, envelope.dump()};
}

bool use_crm() {
  namespace crm = nango::crm;
  const auto made =
      nango::basic_client<nango::any_backend>::create({.api_key = "key", .base_url = "https://a"}, answer_record);
  const auto& user = *made;
  const auto contacts = crm::list_contacts(user, {.email = {"a@example.com"}, .name = "Rolf", .include_raw = true});
  const auto accounts = crm::list_accounts(user, {.name = "Quay"});
  const auto opportunities = crm::list_opportunities(user, {.name = "Ten"}, {.headers = {{"X-Trace", "1"}}});
  const auto contact = crm::get_contact(user, "1", true);
  const auto account = crm::get_account(user, "1");
  const auto opportunity = crm::get_opportunity(user, "1");
  return contacts && accounts && opportunities && contact && account && opportunity && *contact == contacts->at(0) &&
         json(*contact).get<crm::contact>() == *contact && json(*account).get<crm::account>() == *account &&
         json(*opportunity).get<crm::opportunity>() == *opportunity &&
         json(crm::account_opportunity{}).get<crm::account_opportunity>() == crm::account_opportunity{} &&
         json(crm::email_address{}).get<crm::email_address>() == crm::email_address{} &&
         json(crm::phone_number{}).get<crm::phone_number>() == crm::phone_number{};
}

bool use_hosted() {
  namespace hosted = nango::hosted;
  const auto made = nango::basic_client<nango::any_backend>::create(
      hosted::options("key", {200, std::chrono::minutes(1)}),
      [](const nango::http_request&) -> nango::result<nango::http_response> {
        return nango::http_response{200, {}, R"({"records":[{"id":"1"}],"next_cursor":null})"};
      });
  const auto link = hosted::connection(*made, "c", "p");
  const auto all = hosted::for_each_record(link, "Ticket", [](json&&) {});
  const auto one = hosted::for_each_record(link, "Ticket", [](const json&) { return false; }, {.limit = 1},
                                           {.headers = {{"X-Trace", "1"}}});
  const auto action = hosted::trigger_action(link, "add", {{"a", 1}});
  const auto typed = hosted::trigger_action<std::map<std::string, json>>(link, "add", nullptr);
  const auto proxied = hosted::proxy(link, "POST", "x", {}, "body", "text/plain");
  return all.done && all.count == 1 && one.done && !one.failure && action && typed && proxied &&
         !hosted::parse_bare({400, {}, ""});
}

bool use_clients() {
  nango::client_options options{.api_key = "key"};
  options.on_attempt = [](const nango::attempt&) {};
  const nango::any_backend backend = std::make_shared<canned_backend>();
  const auto by_itself = canned_client::create(options);
  const auto created = nango::basic_client<created_backend>::create(options);
  const auto with_backend = nango::basic_client<nango::any_backend>::create(options, backend);
  const auto unlimited = nango::basic_client<canned_backend, nango::unlimited>::create(options, {}, {});
  return by_itself && use_client(*by_itself) && created && use_client(*created) && with_backend &&
         use_client(*with_backend) && unlimited && use_client(*unlimited);
}

bool use_everything() {
  return use_errors() && use_result() && use_seam() && use_limiters() && use_functions() && use_clients() &&
         use_crm() && use_hosted();
}

}  // namespace
