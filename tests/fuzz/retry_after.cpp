// Envelope and Retries: Retry-After in seconds and in each form of a date, and the delay that next_delay() makes of it.
// Bytes: what kind of value; a time and a date to compare with, or a text; an error and a policy.
#include <ctime>

#include "fuzz.hpp"

namespace {

using namespace std::chrono_literals;
using nango_fuzz::bytes;
using nango_fuzz::check;
using std::chrono::milliseconds;

constexpr milliseconds year = std::chrono::hours(24 * 365);

std::optional<milliseconds> read(const std::string& value, const std::string& date) {
  const auto answer = nango::parse_envelope({.status = 503, .headers = {{"Retry-After", value}, {"Date", date}}});
  const auto found = answer.error().retry_after;
  check(!found || (*found >= 0ms && *found <= year), "it is between 0 and a year");
  return found;
}

// By the C library, in its "C" locale.
std::string written(std::time_t time, const char* form) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), form, &parts);
  return text.data();
}

// A date within 1970 to 2069, which all three forms can tell.
std::time_t take_time(bytes& in) {
  std::uint32_t seconds = 0;
  for (int i = 0; i < 4; ++i) seconds = seconds << 8 | in.byte();
  return static_cast<std::time_t>(seconds % (3'155'760'000U));
}

void check_dates(bytes& in) {
  static constexpr std::array forms{"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y",
                                    "%a, %d %b %Y %H:%M:%S UTC"};
  const auto then = take_time(in), now = in.one_in(2) ? take_time(in) : then - static_cast<std::time_t>(in.below(4000));
  if (now < 0) return;
  const auto found = read(written(then, in.one_of(forms)), written(now, in.one_of(forms)));
  const auto due = std::clamp<milliseconds>(std::chrono::seconds(then - now), 0ms, year);
  check(found == due, "a date is told by its distance from Date");
}

void check_seconds(bytes& in) {
  const std::string text(in.text());
  const auto found = read(text, "");
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) return;
  const auto first = (std::min)(text.find_first_not_of('0'), text.size());
  const bool is_long = text.size() - first > 8;  // 99,999,999 s are over three years
  const auto due =
      is_long ? year : (std::min<milliseconds>)(std::chrono::seconds(std::stol("0" + text.substr(first))), year);
  check(found == due, "seconds are what they say, to a year");
}

// A list of numbers with fractions: the largest counts, rounded up.
void check_list(bytes& in) {
  std::string list;
  std::int64_t due = 0;
  for (auto left = 1 + in.below(4); left > 0; --left) {
    const auto whole = static_cast<std::int64_t>(in.below(1000)), fraction = static_cast<std::int64_t>(in.below(1000));
    due = (std::max)(due, whole + (fraction > 0 ? 1 : 0));
    const auto digits = std::to_string(fraction);
    list += std::to_string(whole) + '.' + std::string(3 - digits.size(), '0') + digits + (left > 1 ? ", " : "");
  }
  check(read(list, "") == std::chrono::seconds(due), "fractions are rounded up, the largest of a list counts");
}

void check_delay(bytes& in) {
  static constexpr std::array codes{nango::errc::rate_limited,      nango::errc::connection_failed,
                                    nango::errc::timed_out,         nango::errc::processing_error,
                                    nango::errc::unexpected_status, nango::errc::auth_error,
                                    nango::errc::canceled,          nango::errc::params_error};
  static constexpr std::array statuses{0, 429, 500, 501, 502, 503, 504, 505, 200, 408, 520, 524, 525};
  static constexpr std::array methods{"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"};
  const auto amount = [&] { return milliseconds(std::int64_t{1} << in.below(63)) - 1ms; };
  nango::error e{.code = in.one_of(codes), .http_status = in.one_of(statuses), .may_have_executed = in.one_in(2)};
  if (in.one_in(2)) e.retry_after = amount();
  const nango::retry_policy policy{static_cast<int>(in.below(70)), amount(), amount()};
  const auto index = in.below(methods.size());
  const int number = static_cast<int>(1 + in.below(70));
  const auto delay = nango::next_delay(e, methods[index], number, policy, static_cast<double>(in.byte()) / 256);
  const bool repeatable = index < 4 || !e.may_have_executed;
  const bool gateway = e.code == nango::errc::unexpected_status && (e.http_status == 520 || e.http_status == 524);
  const bool crossed = e.http_status == 408 && e.code != nango::errc::rate_limited;  // which is of 429 alone
  check(delay || number >= policy.max_attempts || !repeatable || (!crossed && !gateway),
        "408, and 520 to 524 without an envelope, are worth another attempt");
  if (!delay) return;
  check(number < policy.max_attempts, "attempts have an end");
  check(index < 4 || !e.may_have_executed, "what may have executed is sent again only where that is idempotent");
  check(*delay >= e.retry_after.value_or(0ms), "it waits as long as it was asked to");
  check(*delay <= (std::max)(policy.max_delay, e.retry_after.value_or(0ms)), "it waits no longer than it has to");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bytes in(data, size);
  switch (in.below(5)) {
    case 0: check_seconds(in); break;
    case 1: check_dates(in); break;
    case 2: check_delay(in); break;
    case 3: check_list(in); break;
    default: {
      const auto value = in.text();
      static_cast<void>(read(std::string(value), std::string(in.rest())));
    }
  }
  return 0;
}
