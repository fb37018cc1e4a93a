// Errors: their numbers and names, how they stand to std::error_code, how they are printed and thrown.
#include "nango.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <iomanip>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace error_tests {

using nango::errc;

namespace {

struct known_code {
  errc code;
  int number;
  std::string_view name;
};

// Numbers and names as programs and logs have them: neither may ever change.
constexpr known_code known_codes[] = {
    {errc::params_error, 1, "PARAMS_ERROR"},
    {errc::processing_error, 2, "PROCESSING_ERROR"},
    {errc::auth_error, 3, "AUTH_ERROR"},
    {errc::api_error, 4, "api_error"},
    {errc::rate_limited, 5, "rate_limited"},
    {errc::unexpected_status, 6, "unexpected_status"},
    {errc::invalid_argument, 101, "invalid_argument"},
    {errc::malformed_response, 102, "malformed_response"},
    {errc::decode_error, 103, "decode_error"},
    {errc::response_too_large, 104, "response_too_large"},
    {errc::connection_failed, 105, "connection_failed"},
    {errc::tls_failed, 106, "tls_failed"},
    {errc::timed_out, 107, "timed_out"},
    {errc::canceled, 108, "canceled"},
};

constexpr auto no_such_code = static_cast<errc>(99);

std::string print(const nango::error& e) {
  std::ostringstream out;
  out << e;
  return out.str();
}

}  // namespace

// ---- errc ----------------------------------------------------------------------------------------------------------

static_assert(std::is_same_v<std::underlying_type_t<errc>, int>);
static_assert(std::is_same_v<decltype(nango::to_string(errc{})), std::string_view>);

TEST_CASE("every error code keeps its number, and none is 0") {
  for (const auto& known : known_codes) {
    CAPTURE(known.name);
    CHECK(static_cast<int>(known.code) == known.number);
    CHECK(known.number != 0);
  }
}

TEST_CASE("the API's three types are named in its own spelling, the other codes as their enumerators") {
  for (const auto& known : known_codes) {
    CAPTURE(known.number);
    CHECK(nango::to_string(known.code) == known.name);
  }
}

TEST_CASE("a number that is not an error code has a name and a message too") {
  for (const int number : {0, 7, 99, 100, 109, -1}) {
    CAPTURE(number);
    CHECK_FALSE(nango::to_string(static_cast<errc>(number)).empty());
    CHECK_FALSE(make_error_code(static_cast<errc>(number)).message().empty());
  }
}

// ---- std::error_code -----------------------------------------------------------------------------------------------

static_assert(std::is_error_code_enum_v<errc>);
static_assert(!std::is_error_condition_enum_v<errc>);
static_assert(std::is_convertible_v<errc, std::error_code>);

TEST_CASE("an errc is a std::error_code of the category nango") {
  for (const auto& known : known_codes) {
    CAPTURE(known.name);
    const std::error_code as_code = known.code;
    CHECK(as_code.value() == known.number);
    CHECK(as_code);
    CHECK(as_code.category().name() == std::string_view("nango"));
    CHECK(as_code == make_error_code(known.code));
    CHECK(as_code == known.code);
    CHECK(as_code != std::error_code(known.number, std::generic_category()));
  }
}

TEST_CASE("the category is one object, so that codes can be compared") {
  CHECK(&make_error_code(errc::timed_out).category() == &make_error_code(errc::canceled).category());
  CHECK(make_error_code(errc::timed_out) != make_error_code(errc::canceled));
}

namespace {

class named_category final : public std::error_category {
 public:
  explicit named_category(const char* name) : name_(name) {}
  const char* name() const noexcept override { return name_; }
  std::string message(int) const override { return "another object's"; }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("a code of another shared object's category equals its errc, one of another name does not") {
  const named_category same("nango"), other("nango2");
  for (const auto& known : known_codes) {
    const std::error_code code(known.number, same);
    CHECK(code == known.code);
    CHECK(known.code == code);
    CHECK_FALSE(code != known.code);
    CHECK(code != (known.code == errc::canceled ? errc::timed_out : errc::canceled));
    CHECK(std::error_code(known.number, other) != known.code);
    CHECK(std::error_code(known.code) == known.code);
  }
  CHECK(std::error_code() != errc::canceled);
}

TEST_CASE("every message says in plain words what happened, each in its own") {
  std::set<std::string> messages{make_error_code(no_such_code).message()};
  for (const auto& known : known_codes) {
    CAPTURE(known.name);
    const std::string message = make_error_code(known.code).message();
    CHECK(message.find(' ') != std::string::npos);  // words, not an identifier
    CHECK(message.find('_') == std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(messages.insert(message).second);
  }
  CHECK(messages.size() == std::size(known_codes) + 1);
}

TEST_CASE("four codes compare equal to the matching conditions of std::errc") {
  CHECK(make_error_code(errc::timed_out) == std::errc::timed_out);
  CHECK(make_error_code(errc::canceled) == std::errc::operation_canceled);
  CHECK(make_error_code(errc::invalid_argument) == std::errc::invalid_argument);
  for (const auto condition :
       {std::errc::connection_refused, std::errc::connection_reset, std::errc::connection_aborted,
        std::errc::not_connected, std::errc::host_unreachable, std::errc::network_unreachable}) {
    CAPTURE(std::make_error_condition(condition).message());
    CHECK(make_error_code(errc::connection_failed) == condition);
  }
}

TEST_CASE("no code compares equal to a condition of std::errc that is not its own") {
  const std::set<std::errc> of_connections = {std::errc::connection_refused, std::errc::connection_reset,
                                              std::errc::connection_aborted, std::errc::not_connected,
                                              std::errc::host_unreachable,   std::errc::network_unreachable};
  const auto matches = [&](errc code, std::errc condition) {
    return (code == errc::timed_out && condition == std::errc::timed_out) ||
           (code == errc::canceled && condition == std::errc::operation_canceled) ||
           (code == errc::invalid_argument && condition == std::errc::invalid_argument) ||
           (code == errc::connection_failed && of_connections.count(condition) == 1);
  };
  // All numbers that errno has on Linux, those of the codes among them: 105 and 107 are errors of sockets there.
  for (int number = 0; number < 140; ++number) {
    const auto condition = static_cast<std::errc>(number);
    for (const auto& known : known_codes) {
      CAPTURE(number);
      CAPTURE(known.name);
      CHECK((make_error_code(known.code) == condition) == matches(known.code, condition));
    }
  }
}

TEST_CASE("a code that has a condition in std::errc still equals its own") {
  for (const auto& known : known_codes) {
    CAPTURE(known.name);
    CHECK(make_error_code(known.code) == make_error_code(known.code).default_error_condition());
  }
}

// ---- error ---------------------------------------------------------------------------------------------------------

static_assert(std::is_aggregate_v<nango::error>);
static_assert(std::is_copy_constructible_v<nango::error> && std::is_nothrow_move_constructible_v<nango::error>);

TEST_CASE("an empty error is assumed to be the worst case") {
  const nango::error e;
  CHECK(static_cast<int>(e.code) == 0);
  CHECK(e.http_status == 0);
  CHECK(e.type.empty());
  CHECK(e.message.empty());
  CHECK_FALSE(e.retry_after);
  CHECK(e.attempts == 0);
  CHECK(e.may_have_executed);
  CHECK(e.body.empty());
}

TEST_CASE("an error prints its name, its status and its message on one line") {
  CHECK(print({.code = errc::auth_error, .http_status = 401, .message = "the api key is unknown"}) ==
        "AUTH_ERROR (HTTP 401): the api key is unknown");
  CHECK(print({.code = errc::unexpected_status, .http_status = 502, .message = "a gateway's page", .body = "<html>"}) ==
        "unexpected_status (HTTP 502): a gateway's page");
}

TEST_CASE("an error without an HTTP answer prints no status") {
  CHECK(print({.code = errc::timed_out, .message = "the deadline passed"}) == "timed_out: the deadline passed");
}

TEST_CASE("an error of a type unknown to this version prints the type") {
  CHECK(print({.code = errc::api_error, .http_status = 409, .type = "CONFLICT_ERROR", .message = "it changed"}) ==
        "CONFLICT_ERROR (HTTP 409): it changed");
  CHECK(print({.code = errc::api_error, .http_status = 409, .message = "it changed"}) ==
        "api_error (HTTP 409): it changed");
}

TEST_CASE("an error of a known type prints as its code, whatever type it carries") {
  CHECK(print({.code = errc::rate_limited, .http_status = 429, .type = "RATE", .message = "slow down"}) ==
        "rate_limited (HTTP 429): slow down");
}

TEST_CASE("whatever a type or a message has in it, an error prints on one line") {
  for (const char control : std::string("\0\a\b\t\n\v\f\r\x1b\x1f\x7f", 11)) {
    CAPTURE(static_cast<int>(control));
    const std::string text = std::string("one") + control + "two";
    CHECK(print({.code = errc::api_error, .type = text, .message = text}) == "one two: one two");
  }
  CHECK(print({.code = errc::timed_out, .message = "r\xC3\xA9sum\xC3\xA9"}) == "timed_out: r\xC3\xA9sum\xC3\xA9");
}

TEST_CASE("one line means for a terminal too: no C1 control, separator or bidirectional control is printed") {
  for (const std::string odd : {"\xC2\x80", "\xC2\x85", "\xC2\x9B", "\xC2\x9F", "\xE2\x80\xA8", "\xE2\x80\xA9",
                                "\xE2\x80\xAA", "\xE2\x80\xAE", "\xE2\x81\xA6", "\xE2\x81\xA9"}) {
    const auto text = print({.code = errc::api_error, .type = "T" + odd + "U", .message = "a" + odd + "b" + odd});
    CAPTURE(text);
    CHECK(text.find(odd) == std::string::npos);
    CHECK(text.find_first_not_of("TU(): ab") == std::string::npos);
  }
  // Their neighbours stay, whole and in parts.
  for (const std::string odd : {"\xC2\xA0", "\xE2\x80\xA7", "\xE2\x80\xAF", "\xE2\x81\xA5", "\xE2\x81\xAA", "\xC3\x85",
                                "\xE3\x80\xA8", "\xE2\x82\xAC", "\xC2", "\xE2\x80", "\xE2", "\xF0\x9F\x98\x80"}) {
    const auto text = print({.code = errc::timed_out, .message = "a" + odd});
    CHECK(text == "timed_out: a" + odd);
  }
}

TEST_CASE("printing an error goes on with the same stream") {
  std::ostringstream out;
  out << "first " << nango::error{.code = errc::canceled, .message = "by hand"} << ", then";
  CHECK(out.str() == "first canceled: by hand, then");
}

TEST_CASE("printing an error leaves the stream's number format out of it") {
  std::ostringstream out;
  out << std::hex << std::showbase << nango::error{.code = errc::auth_error, .http_status = 401, .message = "no"};
  CHECK(out.str() == "AUTH_ERROR (HTTP 401): no");
}

// ---- exception -----------------------------------------------------------------------------------------------------

static_assert(std::is_base_of_v<std::runtime_error, nango::exception>);
static_assert(std::is_nothrow_copy_constructible_v<nango::exception>, "it is copied while another one may be thrown");
static_assert(noexcept(std::declval<const nango::exception&>().error()));
static_assert(std::is_same_v<decltype(std::declval<const nango::exception&>().error()), const nango::error&>);

TEST_CASE("an exception carries the whole error, and what() is its line") {
  const nango::error e{.code = errc::params_error,
                       .http_status = 400,
                       .type = "PARAMS_ERROR",
                       .message = "no such field",
                       .retry_after = std::chrono::milliseconds(1500),
                       .attempts = 2,
                       .may_have_executed = false,
                       .body = "kept"};
  const nango::exception thrown(e);
  CHECK(thrown.what() == print(e));
  CHECK(thrown.what() == std::string_view("PARAMS_ERROR (HTTP 400): no such field"));
  CHECK(thrown.error().code == e.code);
  CHECK(thrown.error().http_status == 400);
  CHECK(thrown.error().type == e.type);
  CHECK(thrown.error().message == e.message);
  CHECK(thrown.error().retry_after == e.retry_after);
  CHECK(thrown.error().attempts == 2);
  CHECK_FALSE(thrown.error().may_have_executed);
  CHECK(thrown.error().body == "kept");
}

TEST_CASE("a copy of an exception outlives the original with its error") {
  auto original = std::make_unique<nango::exception>(nango::error{.code = errc::canceled, .message = "by hand"});
  const nango::exception copy = *original;
  original.reset();
  CHECK(copy.error().message == "by hand");
  CHECK(copy.what() == std::string_view("canceled: by hand"));
}

}  // namespace error_tests
