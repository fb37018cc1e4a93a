// CRM resources: records as types, what does not fit, and the requests that ask for them.

#include <doctest/doctest.h>

#include <chrono>
#include <clocale>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"
#include "scripted_backend.hpp"

namespace crm_tests {

namespace {

namespace crm = nango::crm;
using nango::errc;
using nango::json;
using nango_test::scripted_backend;
using test_client = nango::basic_client<scripted_backend, nango::unlimited>;

// A handle of a user, and the script behind it.
struct fixture {
  scripted_backend backend{};
  test_client user = test_client(nango_test::test_options(), backend).user("user-token");

  std::string url_of_last() const {
    const auto url = backend.last().url;
    return url.substr(std::string_view("https://api.example.com/v1/").size());
  }
};

// What is read of a record that has one field besides its id.
template <class Record> Record record_with(const std::string& name, const json& value) {
  fixture f;
  f.backend.ok({{"id", "1"}, {name, value}});
  nango::result<Record> got = Record();
  if constexpr (std::same_as<Record, crm::contact>) got = crm::get_contact(f.user, "1");
  if constexpr (std::same_as<Record, crm::account>) got = crm::get_account(f.user, "1");
  if constexpr (std::same_as<Record, crm::opportunity>) got = crm::get_opportunity(f.user, "1");
  REQUIRE_MESSAGE(got, got.error());
  return *got;
}

// The error of a list that does not fit.
template <class List> nango::error error_of(const json& result, const List& list) {
  fixture f;
  f.backend.ok(result);
  const auto got = list(f.user);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::decode_error);
  CHECK(got.error().http_status == 200);
  CHECK(got.error().attempts == 1);
  CHECK(got.error().may_have_executed);
  return got.error();
}
nango::error contacts_error(const json& result) {
  return error_of(result, [](const auto& user) { return crm::list_contacts(user); });
}
nango::error accounts_error(const json& result) {
  return error_of(result, [](const auto& user) { return crm::list_accounts(user); });
}
nango::error opportunities_error(const json& result) {
  return error_of(result, [](const auto& user) { return crm::list_opportunities(user); });
}

std::optional<double> amount_of(const json& value) {
  fixture f;
  f.backend.ok({{"id", "1"}, {"amount", value}});
  const auto got = crm::get_opportunity(f.user, "1");
  if (!got) CHECK(got.error().code == errc::decode_error);
  return got ? got->amount : std::nullopt;
}
std::optional<long long> close_date_of(const std::string& value) {
  fixture f;
  f.backend.ok({{"id", "1"}, {"close_date", value}});
  const auto got = crm::get_opportunity(f.user, "1");
  if (!got) CHECK(got.error().code == errc::decode_error);
  return got ? std::optional<long long>((*got->close_date).time_since_epoch().count()) : std::nullopt;
}

constexpr long long august = 1'659'346'200;  // 2022-08-01T09:30:00Z, by `date -u -d ... +%s`

}  // namespace

TEST_CASE("a contact has what the API's page lists") {
  fixture f;
  auto sent = json::parse(R"({
      "id": "4f1c", "external_id": "003A", "first_name": "Ada", "last_name": "Quill", "job_title": "Pilot",
      "account": "a1", "unknown": {"x": [1]},
      "adresses": [{"street_1": "1 Quay", "street_2": "Floor 2", "city": "Ayr", "state": "SC", "zip_code": "KA7",
                    "country": "Scotland", "address_type": "work"}, {}],
      "email_adresses": [{"email": "ada@example.com", "email_type": "work"}, {"email": "a@example.org"}],
      "phone_numbers": [{"phone_number": "+44 555", "phone_number_type": "mobile"}],
      "last_activity_at": "2022-08-01T09:30:00Z", "external_created_at": "2022-08-01T09:30:01Z",
      "external_modified_at": "2022-08-01T09:30:02Z", "raw_external_data": {"Id": "003A"}})");
  f.backend.ok(json::array({sent}));
  const auto got = crm::list_contacts(f.user);
  REQUIRE_MESSAGE(got, got.error());
  const auto at = [](long long s) { return crm::time_point(std::chrono::seconds(august + s)); };
  const crm::contact expected{.id = "4f1c",
                              .external_id = "003A",
                              .first_name = "Ada",
                              .last_name = "Quill",
                              .job_title = "Pilot",
                              .account = "a1",
                              .addresses = {{"1 Quay", "Floor 2", "Ayr", "SC", "KA7", "Scotland", "work"}, {}},
                              .email_addresses = {{"ada@example.com", "work"}, {"a@example.org", std::nullopt}},
                              .phone_numbers = {{"+44 555", "mobile"}},
                              .last_activity_at = at(0),
                              .external_created_at = at(1),
                              .external_modified_at = at(2),
                              .raw = {{"Id", "003A"}}};
  REQUIRE(got->size() == 1);
  CHECK(got->front() == expected);
  sent.erase("unknown");
  CHECK(json(got->front()) == sent);  // == would not see a field that is in no table
}

TEST_CASE("an account has what the API's page lists") {
  fixture f;
  auto sent = json::parse(R"({
      "id": "a1", "external_id": "001", "name": "Quay Ltd", "description": "Boats", "industry": "Shipping",
      "annual_revenue": "10000000", "number_of_employees": 250, "website": "https://quay.example.com",
      "contacts": ["4f1c", "4f1d"],
      "opportunities": [{"opportunity_id": "o1", "opportunity_stage": "Won", "opportunity_closed": true}, {}],
      "adresses": [{"city": "Ayr"}], "phone_numbers": [{"phone_number": "555"}],
      "last_activity_at": "2022-08-01T09:30:00Z", "external_created_at": "2022-08-01T09:30:01Z",
      "external_modified_at": "2022-08-01T09:30:02Z", "raw_external_data": {}})");
  f.backend.ok(sent);
  const auto got = crm::get_account(f.user, "a1");
  REQUIRE_MESSAGE(got, got.error());
  const auto at = [](long long s) { return crm::time_point(std::chrono::seconds(august + s)); };
  crm::account expected{.id = "a1",
                        .external_id = "001",
                        .name = "Quay Ltd",
                        .description = "Boats",
                        .industry = "Shipping",
                        .annual_revenue = 1e7,
                        .number_of_employees = 250,
                        .website = "https://quay.example.com",
                        .contacts = {"4f1c", "4f1d"},
                        .opportunities = {{"o1", "Won", true}, {}},
                        .phone_numbers = {{"555", std::nullopt}},
                        .last_activity_at = at(0),
                        .external_created_at = at(1),
                        .external_modified_at = at(2),
                        .raw = json::object()};
  expected.addresses.resize(1);
  expected.addresses[0].city = "Ayr";
  CHECK(*got == expected);
  sent["annual_revenue"] = 10'000'000;
  CHECK(json(*got) == sent);
}

TEST_CASE("an opportunity has what the API's page lists") {
  fixture f;
  auto sent = json::parse(R"({
      "id": "o1", "external_id": "006", "name": "Ten boats", "description": "Blue", "stage": "Talks", "amount": 10000,
      "close_date": "2022-08-01", "probability": "0.78", "expected_revenue": 7800.5,
      "expected_revenue_currency": "EUR", "is_won": false, "is_closed": true, "contacts": ["4f1c"],
      "accounts": ["a1"], "last_activity_at": "2022-08-01T09:30:00Z", "external_created_at": "2022-08-01T09:30:01Z",
      "external_modified_at": "2022-08-01T09:30:02Z"})");
  f.backend.ok(sent);
  const auto got = crm::get_opportunity(f.user, "o1");
  REQUIRE_MESSAGE(got, got.error());
  const auto at = [](long long s) { return crm::time_point(std::chrono::seconds(august + s)); };
  const crm::opportunity expected{.id = "o1",
                                  .external_id = "006",
                                  .name = "Ten boats",
                                  .description = "Blue",
                                  .stage = "Talks",
                                  .amount = 10000,
                                  .close_date = at(-(9 * 60 + 30) * 60),
                                  .probability = 0.78,
                                  .expected_revenue = 7800.5,
                                  .expected_revenue_currency = "EUR",
                                  .is_won = false,
                                  .is_closed = true,
                                  .contacts = {"4f1c"},
                                  .accounts = {"a1"},
                                  .last_activity_at = at(0),
                                  .external_created_at = at(1),
                                  .external_modified_at = at(2)};
  CHECK(*got == expected);
  sent.update({{"close_date", "2022-08-01T00:00:00Z"}, {"probability", 0.78}});
  CHECK(json(*got) == sent);
}

TEST_CASE("fields that are absent or null are empty, except the id") {
  for (const auto* text : {R"({"id":"1"})", R"({"id":"1","external_id":null,"adresses":null,"phone_numbers":null,
      "email_adresses":null,"last_activity_at":null,"raw_external_data":null,"account":null})"}) {
    fixture f;
    f.backend.ok(json::parse(text));
    const auto got = crm::get_contact(f.user, "1");
    REQUIRE_MESSAGE(got, got.error());
    CHECK(*got == crm::contact{.id = "1"});
  }
  CHECK(record_with<crm::account>("annual_revenue", nullptr) == crm::account{.id = "1"});
  CHECK(record_with<crm::opportunity>("is_won", nullptr) == crm::opportunity{.id = "1"});
  for (const json& id : {json(), json(true), json::array()}) {
    const auto e = contacts_error(json::array({{{"id", "1"}}, {{"id", id}}}));
    CHECK(e.message == std::string("result[1].id is not a string, but of type ") + id.type_name());
  }
  CHECK(contacts_error(json::array({json::object()})).message == "result[0].id is not a string, but of type null");
}

TEST_CASE("a mismatch is reported with its place, without the answer's own text") {
  const auto contact = [](const char* name, const json& value) {
    return contacts_error(json::array({{{"id", "1"}}, {{"id", "2"}, {name, value}}})).message;
  };
  CHECK(contacts_error(json::object()).message == "result is not an array, but of type object");
  CHECK(contacts_error("secret").message == "result is not an array, but of type string");
  CHECK(contacts_error(json::array({7})).message == "result[0] is not an object, but of type number");
  CHECK(contact("first_name", false) == "result[1].first_name is not a string, but of type boolean (id \"2\")");
  CHECK(contact("adresses", {{"city", "Ayr"}}) == "result[1].adresses is not an array, but of type object (id \"2\")");
  CHECK(contact("email_adresses", {{{"email", "a@example.com"}}, {{"email", true}}}) ==
        "result[1].email_adresses[1].email is not a string, but of type boolean (id \"2\")");
  CHECK(contact("phone_numbers", {nullptr}) ==
        "result[1].phone_numbers[0] is not an object, but of type null (id \"2\")");
  CHECK(contact("last_activity_at", "secret") ==
        "result[1].last_activity_at is not a time such as 2022-08-01T09:30:00Z, but of type string (id \"2\")");
  CHECK(contact("last_activity_at", 1659346200) ==
        "result[1].last_activity_at is not a time such as 2022-08-01T09:30:00Z, but of type number (id \"2\")");

  const auto account = [](const char* name, const json& value) {
    return accounts_error(json::array({{{"id", "1"}, {name, value}}})).message;
  };
  CHECK(account("contacts", {"1", nullptr}) == "result[0].contacts[1] is not a string, but of type null (id \"1\")");
  CHECK(account("opportunities", {{{"opportunity_closed", "yes"}}}) ==
        "result[0].opportunities[0].opportunity_closed is not true or false, but of type string (id \"1\")");
  CHECK(account("annual_revenue", "secret") ==
        "result[0].annual_revenue is not a number, but of type string (id \"1\")");
  CHECK(account("annual_revenue", true) == "result[0].annual_revenue is not a number, but of type boolean (id \"1\")");
  CHECK(opportunities_error(json::array({{{"id", "1"}, {"is_won", 1}}})).message ==
        "result[0].is_won is not true or false, but of type number (id \"1\")");

  fixture f;
  f.backend.ok(json::array());
  const auto single = crm::get_account(f.user, "1");
  REQUIRE_FALSE(single);
  CHECK(single.error().message == "result is not an object, but of type array");
}

TEST_CASE("the first of many that do not fit is named, and the rest is not read") {
  json many = json::array();
  for (int i = 0; i < 3; ++i) many.push_back({{"id", std::to_string(i)}, {"first_name", {i}}});
  CHECK(contacts_error(many).message == "result[0].first_name is not a string, but of type array (id \"0\")");
}

TEST_CASE("numbers come as numbers or as texts, and are exact") {
  CHECK(amount_of(10000) == 10000.0);
  CHECK(amount_of(-3) == -3.0);
  CHECK(amount_of(0.1) == 0.1);
  CHECK(amount_of(std::numeric_limits<std::uint64_t>::max()) == 18446744073709551616.0);
  const std::vector<std::pair<std::string, double>> texts{
      {"0.78", 0.78},
      {"1e3", 1000},
      {"1E+3", 1000},
      {"-12.5e-1", -1.25},
      {"0", 0},
      {"10000000", 1e7},
      {"9007199254740993", 9007199254740992},
      {"123456789012345678901234567890", 123456789012345678901234567890.0},
      {"0.1000000000000000055511151231257827", 0.1},
      {"2.2250738585072014e-308", 2.2250738585072014e-308},
      {"1.7976931348623157e308", 1.7976931348623157e308}};
  for (const auto& [text, value] : texts) {
    CAPTURE(text);
    CHECK(amount_of(text) == value);
  }
  for (const std::string text :
       {" ",  " 1", "1 ", "12abc", "nan", "inf", "-inf",  "NaN",  "Infinity", "0x10", "1,5",   "1.5.2", "1e",
        "e3", "-",  "+5", ".5",    "5.",  "01",  "1e999", "true", "null",     "[1]",  "\"1\"", "1\n",   "--1"}) {
    CAPTURE(text);
    CHECK(amount_of(text) == std::nullopt);
  }
  CHECK(amount_of(std::string("1\0", 2)) == std::nullopt);
  CHECK(amount_of(std::string("1\0002", 3)) == std::nullopt);
}

TEST_CASE("a locale with a decimal comma changes nothing") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  const bool found =
      std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr || std::setlocale(LC_ALL, "fr_FR.UTF-8") != nullptr;
  if (!found) MESSAGE("skipped: no locale with a decimal comma is installed");
  CHECK(amount_of("0.78") == 0.78);
  CHECK(amount_of("0,78") == std::nullopt);
  CHECK(json(crm::opportunity{.id = "1", .amount = 0.78}).dump() == R"({"amount":0.78,"id":"1"})");
  std::setlocale(LC_ALL, before.c_str());
}

TEST_CASE("times are ISO 8601") {
  const std::vector<std::pair<std::string, long long>> rows{
      {"2022-08-01T09:30:00Z", august},
      {"2022-08-01T09:30:00", august},
      {"2022-08-01T09:30:00.5Z", august},
      {"2022-08-01T09:30:00.999999999999Z", august},
      {"2022-08-01T09:30:00.123", august},
      {"2022-08-01T11:30:00+02:00", august},
      {"2022-08-01T11:30:00+0200", august},
      {"2022-08-01T11:30:00+02", august},
      {"2022-08-01T05:00:00.25-04:30", august},
      {"2022-08-02T00:30:00+15:00", august},
      {"2022-08-01T09:30Z", august},
      {"2022-08-01T09:30", august},
      {"2022-08-01T11:30+02:00", august},
      {"0000-01-01T00:59:00+00:59", -62'167'219'200},
      {"9999-12-31T22:59:59-01:00", 253'402'300'799},
      {"2022-08-01", august - (9 * 60 + 30) * 60},
      {"1970-01-01T00:00:00Z", 0},
      {"1969-12-31T23:59:59Z", -1},
      {"2000-02-29T00:00:00Z", 951'782'400},
      {"2016-12-31T23:59:60Z", 1'483'228'800},  // a leap second is the one after it
      {"9999-12-31T23:59:59Z", 253'402'300'799},
      {"0000-01-01T00:00:00Z", -62'167'219'200}};
  for (const auto& [text, seconds] : rows) {
    CAPTURE(text);
    CHECK(close_date_of(text) == seconds);
  }
  for (const std::string text : {"2022",
                                 "2022-08",
                                 "2022-8-1",
                                 "20220801",
                                 "2022-08-1",
                                 "2022-13-01",
                                 "2022-00-10",
                                 "2022-02-30",
                                 "2021-02-29",
                                 "2022-08-32",
                                 "2022-08-00",
                                 "22-08-01",
                                 "+2022-08-01",
                                 "2022/08/01",
                                 "2022-08-01 ",
                                 " 2022-08-01",
                                 "2022-08-01T",
                                 "2022-08-01T09",
                                 "2022-08-01T09Z",
                                 "2022-08-01T09:Z",
                                 "2022-08-01T09:30:",
                                 "2022-08-01T09:30:Z",
                                 "2022-08-01T09:30.5Z",
                                 "9999-12-31T23:59:59-05:00",
                                 "9999-12-31T23:59:60Z",
                                 "9999-12-31T23:59-00:01",
                                 "0000-01-01T00:00:00+01:00",
                                 "0000-01-01T00:00+00:01",
                                 "2022-08-01 09:30:00Z",
                                 "2022-08-01T24:00:00Z",
                                 "2022-08-01T09:60:00Z",
                                 "2022-08-01T09:30:61Z",
                                 "2022-08-01T9:30:00Z",
                                 "2022-08-01T09:30:00.Z",
                                 "2022-08-01T09:30:00,5Z",
                                 "2022-08-01T09:30:00ZZ",
                                 "2022-08-01T09:30:00z",
                                 "2022-08-01T09:30:00Z ",
                                 "2022-08-01T09:30:00+",
                                 "2022-08-01T09:30:00+2",
                                 "2022-08-01T09:30:00+02:",
                                 "2022-08-01T09:30:00+24:00",
                                 "2022-08-01T09:30:00+02:60",
                                 "2022-08-01T09:30:00+02:000",
                                 "2022-08-01T09:30:00*02:00",
                                 "2022-08-01T-9:30:00Z",
                                 "2022-0x-01",
                                 "2022-08T09:30:00Z",
                                 "2022-0801T09:30:00Z",
                                 "202208-01"}) {
    CAPTURE(text);
    CHECK(close_date_of(text) == std::nullopt);
  }
}

TEST_CASE("a field that is cleared or written as another type is read, and does not lose the list") {
  const auto list = json::parse(R"([{"id":1,"external_id":77,"amount":"","close_date":"","is_won":"true","is_closed":"",
      "probability":"","expected_revenue":"1.5","name":12.5,"stage":18446744073709551615,"contacts":["a",2],
      "last_activity_at":"2022-08-01T09:30Z","description":""},
      {"id":"b","is_won":"false","amount":2}])");
  fixture f;
  f.backend.ok(list);
  const auto got = crm::list_opportunities(f.user);
  REQUIRE_MESSAGE(got, got.error());
  CHECK(got->at(0) == crm::opportunity{.id = "1",
                                       .external_id = "77",
                                       .name = "12.5",
                                       .description = "",
                                       .stage = "18446744073709551615",
                                       .expected_revenue = 1.5,
                                       .is_won = true,
                                       .contacts = {"a", "2"},
                                       .last_activity_at = crm::time_point(std::chrono::seconds(august))});
  CHECK(got->at(1) == crm::opportunity{.id = "b", .amount = 2, .is_won = false});
  const auto contact = json::parse(R"({"id":"c","phone_numbers":[{"phone_number":4412345}],
      "adresses":[{"zip_code":10115}]})")
                           .get<crm::contact>();
  CHECK(contact.phone_numbers.at(0).phone_number == "4412345");
  CHECK(contact.addresses.at(0).zip_code == "10115");
  for (const char* text : {"True", "TRUE", "1", "yes", " true"}) {
    CAPTURE(text);
    CHECK(opportunities_error(json::array({{{"id", "7"}, {"is_won", text}}})).message.ends_with("(id \"7\")"));
  }
}

TEST_CASE("a time that cannot be read back is not written") {
  const auto with = [](std::chrono::seconds time) {
    return crm::opportunity{.id = "1", .close_date = crm::time_point(time)};
  };
  for (const auto time : {std::chrono::seconds(253'402'300'800), std::chrono::seconds(-62'167'219'201),
                          (std::chrono::seconds::max)(), (std::chrono::seconds::min)()}) {
    CHECK_THROWS_AS(static_cast<void>(json(with(time))), std::out_of_range);
    fixture f;
    CHECK(f.user.post("x", with(time)).error().code == errc::invalid_argument);
    CHECK(f.backend.calls() == 0);
  }
  CHECK(json(with(std::chrono::seconds(253'402'300'799))).at("close_date") == "9999-12-31T23:59:59Z");
  CHECK(json(with(std::chrono::seconds(-62'167'219'200))).at("close_date") == "0000-01-01T00:00:00Z");
}

TEST_CASE("each time that is read can be written, and reads back as the same") {
  std::mt19937 random(9999);
  const auto digits = [&](int least, int most, int width) {
    auto text = std::to_string(std::uniform_int_distribution<int>(least, most)(random));
    return std::string(static_cast<std::size_t>(width) - text.size(), '0') + text;
  };
  const std::vector<std::string> years{"0000", "9999", "1970", "2024"}, days{"-01-01", "-12-31", "-02-29"};
  int read = 0;
  for (int i = 0; i < 5'000; ++i) {
    const auto sign = random() % 2 == 0 ? "+" : "-";
    const auto text = years[random() % years.size()] + days[random() % days.size()] + 'T' + digits(0, 23, 2) + ':' +
                      digits(0, 59, 2) + ':' + digits(0, 60, 2) + sign + digits(0, 23, 2) + ':' + digits(0, 59, 2);
    CAPTURE(text);
    const auto seconds = close_date_of(text);
    if (!seconds) continue;
    ++read;
    const auto written =
        json(crm::opportunity{.id = "1", .close_date = crm::time_point(std::chrono::seconds(*seconds))});
    REQUIRE(close_date_of(written.at("close_date")) == seconds);
  }
  CHECK(read > 2'000);
  CHECK(read < 5'000);
}

TEST_CASE("to JSON in the wire's spelling, without what is empty") {
  CHECK(json(crm::contact{.id = "1"}) == json({{"id", "1"}}));
  CHECK(json(crm::address{}) == json::object());
  const crm::contact contact{.id = "1",
                             .addresses = {{.city = "Ayr"}},
                             .email_addresses = {{.email = "a@example.com"}},
                             .phone_numbers = {{.phone_number = "555"}},
                             .last_activity_at = crm::time_point(std::chrono::seconds(august)),
                             .raw = {{"k", nullptr}}};
  CHECK(json(contact) == json::parse(R"({"id":"1","adresses":[{"city":"Ayr"}],
      "email_adresses":[{"email":"a@example.com"}],"phone_numbers":[{"phone_number":"555"}],
      "last_activity_at":"2022-08-01T09:30:00Z","raw_external_data":{"k":null}})"));
  CHECK(json(crm::opportunity{.id = "1", .probability = 0.25, .is_won = false, .accounts = {"a", "b"}}) ==
        json::parse(R"({"id":"1","probability":0.25,"is_won":false,"accounts":["a","b"]})"));
  CHECK(json(std::vector<crm::account>{{.id = "1"}, {.id = "2"}}) == json::parse(R"([{"id":"1"},{"id":"2"}])"));
}

TEST_CASE("from JSON as nlohmann/json does it: it throws with the place, and leaves the target as it was") {
  const auto read =
      json::parse(R"([{"id":"1","phone_numbers":[{"phone_number":"5"}]}])").get<std::vector<crm::contact>>();
  CHECK(read.at(0).phone_numbers.at(0).phone_number == "5");
  const auto bad = json::parse(R"({"id":"2","phone_numbers":[{"phone_number":[]}]})");
  crm::contact target{.id = "kept"};
  CHECK_THROWS_WITH_AS(bad.get_to(target),
                       "phone_numbers[0].phone_number is not a string, but of type array (id \"2\")",
                       std::runtime_error);
  CHECK(target == crm::contact{.id = "kept"});
  CHECK_THROWS_WITH_AS(json(7).get<crm::address>(), "the value is not an object, but of type number",
                       std::runtime_error);

  fixture f;
  f.backend.ok(json::array({bad})).ok(json::array({{{"id", "1"}}}));
  const auto got = f.user.get<std::vector<crm::contact>>("crm/contacts");
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::decode_error);
  CHECK(got.error().message.find("phone_numbers[0].phone_number is not a string") != std::string::npos);
  CHECK(f.user.get<std::vector<crm::contact>>("crm/contacts").value().at(0).id == "1");
}

namespace {

// Records with any field full or empty.
class random_records {
 public:
  crm::contact contact() {
    crm::contact r{.id = text(),
                   .external_id = maybe(),
                   .first_name = maybe(),
                   .last_name = maybe(),
                   .job_title = maybe(),
                   .account = maybe()};
    for (auto n = few(); n > 0; --n) r.addresses.push_back(address());
    for (auto n = few(); n > 0; --n) r.email_addresses.push_back({maybe(), maybe()});
    for (auto n = few(); n > 0; --n) r.phone_numbers.push_back({maybe(), maybe()});
    common(r);
    return r;
  }
  crm::account account() {
    crm::account r{.id = text(),
                   .external_id = maybe(),
                   .name = maybe(),
                   .description = maybe(),
                   .industry = maybe(),
                   .annual_revenue = number(),
                   .number_of_employees = number(),
                   .website = maybe()};
    for (auto n = few(); n > 0; --n) r.contacts.push_back(text());
    for (auto n = few(); n > 0; --n) r.opportunities.push_back({maybe(), maybe(), flag()});
    for (auto n = few(); n > 0; --n) r.addresses.push_back(address());
    for (auto n = few(); n > 0; --n) r.phone_numbers.push_back({maybe(), maybe()});
    common(r);
    return r;
  }
  crm::opportunity opportunity() {
    crm::opportunity r{.id = text(),
                       .external_id = maybe(),
                       .name = maybe(),
                       .description = maybe(),
                       .stage = maybe(),
                       .amount = number(),
                       .close_date = time(),
                       .probability = number(),
                       .expected_revenue = number(),
                       .expected_revenue_currency = maybe(),
                       .is_won = flag(),
                       .is_closed = flag()};
    for (auto n = few(); n > 0; --n) r.contacts.push_back(text());
    for (auto n = few(); n > 0; --n) r.accounts.push_back(text());
    common(r);
    return r;
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  std::size_t few() { return below(4); }
  std::string text() {
    static const std::vector<std::string> parts{"a", "B7", "\"", "\\", "é", "\n", "日本", " ", ",", "😀", "0"};
    std::string all;
    for (auto n = below(6); n > 0; --n) all += parts[below(parts.size())];
    return all;
  }
  std::optional<std::string> maybe() { return below(2) == 0 ? std::nullopt : std::optional(text()); }
  std::optional<bool> flag() { return below(3) == 0 ? std::nullopt : std::optional(below(2) == 0); }
  std::optional<double> number() {
    if (below(3) == 0) return std::nullopt;
    const auto mantissa = std::uniform_real_distribution<double>(-1, 1)(random_);
    return std::ldexp(mantissa, static_cast<int>(below(600)) - 300);
  }
  std::optional<crm::time_point> time() {
    if (below(3) == 0) return std::nullopt;
    return crm::time_point(
        std::chrono::seconds(std::uniform_int_distribution<long long>(-62'167'219'200, 253'402'300'799)(random_)));
  }
  crm::address address() { return {maybe(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe()}; }
  template <class Record> void common(Record& r) {
    r.last_activity_at = time();
    r.external_created_at = time();
    r.external_modified_at = time();
    if (below(2) == 0) r.raw = {{text(), text()}, {"list", {1, nullptr, text()}}};
  }

  std::mt19937 random_{2022};
};

template <class Record> void check_round_trip(const Record& record) {
  const auto text = json(record).dump();
  CAPTURE(text);
  REQUIRE(json::parse(text).get<Record>() == record);
}

// Whichever member is left out, or changed where it cannot be.
template <class Record> void check_differences(const Record& record) {
  const json whole = record;
  for (const auto& [name, value] : whole.items()) {
    CAPTURE(name);
    auto other = whole;
    if (name == "id") {
      other["id"] = record.id + "x";
    } else {
      other.erase(name);
    }
    REQUIRE(other.get<Record>() != record);
  }
}

}  // namespace

TEST_CASE("records that differ in one field are not equal") {
  random_records random;
  for (int i = 0; i < 50; ++i) {
    check_differences(random.contact());
    check_differences(random.account());
    check_differences(random.opportunity());
  }
}

TEST_CASE("a record to JSON and back is the same record") {
  random_records random;
  for (int i = 0; i < 1000; ++i) {
    check_round_trip(random.contact());
    check_round_trip(random.account());
    check_round_trip(random.opportunity());
  }
}

namespace {

// One value of a record is replaced. What is loose must be read, and everything else named.
void mutate(json& value, std::mt19937& random) {
  while (value.is_structured() && !value.empty() && random() % 4 != 0) {
    auto next = value.begin();
    std::advance(next, static_cast<std::ptrdiff_t>(random() % value.size()));
    return mutate(*next, random);
  }
  static const json values[] = {nullptr,
                                "",
                                "x",
                                "true",
                                "false",
                                7,
                                -1.5,
                                true,
                                json::array(),
                                json::object(),
                                "2022-08-01T09:30Z",
                                "9999-12-31T23:59:59-05:00",
                                "0.78",
                                {1},
                                {{"id", 1}}};
  value = values[random() % std::size(values)];
}

}  // namespace

TEST_CASE("a mutated record is read or named with its place and its id, and the others are not lost") {
  random_records records;
  std::mt19937 random(13);
  std::size_t read = 0, named = 0;
  for (int i = 0; i < 5'000; ++i) {
    auto record = records.opportunity();
    record.id = "id-" + std::to_string(i);
    json mutated = record;
    mutate(mutated, random);
    CAPTURE(mutated.dump());
    fixture f;
    f.backend.ok({{{"id", "before"}}, mutated});
    const auto got = crm::list_opportunities(f.user);
    if (got) {
      ++read;
      REQUIRE(got->size() == 2);
      REQUIRE(json(got->at(1)).get<crm::opportunity>() == got->at(1));
      continue;
    }
    ++named;
    REQUIRE(got.error().code == errc::decode_error);
    REQUIRE(got.error().message.starts_with("result[1]"));
    const bool has_id = mutated.is_object() && mutated.contains("id") && mutated["id"].is_string();
    if (has_id) REQUIRE(got.error().message.ends_with("(id " + mutated["id"].dump() + ")"));
  }
  CHECK(read > 1'000);
  CHECK(named > 1'000);
}

TEST_CASE("each call asks for its resource, as the user") {
  fixture f;
  f.backend.ok(json::array()).ok(json::array()).ok(json::array());
  CHECK(crm::list_contacts(f.user)->empty());
  CHECK(f.url_of_last() == "crm/contacts");
  CHECK(f.backend.last().method == "GET");
  CHECK(f.backend.last().header("X-User-Account") == "user-token");
  CHECK(crm::list_accounts(f.user)->empty());
  CHECK(f.url_of_last() == "crm/accounts");
  CHECK(crm::list_opportunities(f.user)->empty());
  CHECK(f.url_of_last() == "crm/opportunities");

  for (int i = 0; i < 6; ++i) f.backend.ok({{"id", "x"}});
  CHECK(crm::get_contact(f.user, "a/b")->id == "x");
  CHECK(f.url_of_last() == "crm/contacts/a%2Fb");
  CHECK(crm::get_account(f.user, "7")->id == "x");
  CHECK(f.url_of_last() == "crm/accounts/7");
  CHECK(crm::get_opportunity(f.user, "7")->id == "x");
  CHECK(f.url_of_last() == "crm/opportunities/7");
  CHECK(crm::get_contact(f.user, "7", true)->id == "x");
  CHECK(f.url_of_last() == "crm/contacts/7?include_raw=true");
  CHECK(crm::get_account(f.user, "7", true)->id == "x");
  CHECK(f.url_of_last() == "crm/accounts/7?include_raw=true");
  CHECK(crm::get_opportunity(f.user, "7", true)->id == "x");
  CHECK(f.url_of_last() == "crm/opportunities/7?include_raw=true");
}

TEST_CASE("queries become parameters, and what is empty none") {
  fixture f;
  for (int i = 0; i < 4; ++i) f.backend.ok(json::array());
  REQUIRE(crm::list_contacts(f.user, {.email = {"a@example.com", "b+c@example.com"},
                                      .account = {"a1", "a2"},
                                      .name = "Rolf & Co",
                                      .include_raw = true}));
  CHECK(
      f.url_of_last() ==
      "crm/contacts?name=Rolf%20%26%20Co&include_raw=true&email=a%40example.com%2Cb%2Bc%40example.com&account=a1%2Ca2");
  REQUIRE(crm::list_contacts(f.user, {.account = {"a1"}}));
  CHECK(f.url_of_last() == "crm/contacts?account=a1");
  REQUIRE(crm::list_accounts(f.user, {.name = "Quay", .include_raw = true}));
  CHECK(f.url_of_last() == "crm/accounts?name=Quay&include_raw=true");
  REQUIRE(crm::list_opportunities(f.user, {.name = "Ten"}));
  CHECK(f.url_of_last() == "crm/opportunities?name=Ten");
}

TEST_CASE("invalid queries are refused, and nothing is sent") {
  fixture f;
  for (const std::string bad : {"a@example.com,b@example.com", ""}) {
    for (const auto& which : {crm::contact_query{.email = {"x", bad}}, crm::contact_query{.account = {bad}}}) {
      const auto got = crm::list_contacts(f.user, which);
      REQUIRE_FALSE(got);
      CHECK(got.error().code == errc::invalid_argument);
      CHECK_FALSE(got.error().may_have_executed);
      const auto* name = which.email.empty() ? "contact_query::account" : "contact_query::email";
      CHECK(got.error().message.find(name) != std::string::npos);
    }
  }
  CHECK(crm::get_contact(f.user, "").error().code == errc::invalid_argument);
  CHECK(crm::get_account(f.user, "").error().code == errc::invalid_argument);
  CHECK(crm::get_opportunity(f.user, "..").error().code == errc::invalid_argument);
  CHECK(f.backend.calls() == 0);
}

TEST_CASE("errors of the call come through, and its options go with it") {
  fixture f;
  f.backend.answer(401, R"({"status":"error","error_type":"AUTH_ERROR","error_msg":"no"})").ok(json::array());
  const auto got = crm::list_accounts(f.user);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::auth_error);
  REQUIRE(crm::list_accounts(f.user, {}, {.headers = {{"X-Trace", "7"}}}));
  CHECK(f.backend.last().header("X-Trace") == "7");
  const nango::cancel_source source;
  source.cancel();
  CHECK(crm::get_contact(f.user, "1", false, {.cancel = source.token()}).error().code == errc::canceled);
}

}  // namespace crm_tests
