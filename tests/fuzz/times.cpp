// CRM resources: times. What is read is written and reads back as the same, within the years 0000 to 9999; what cannot
// be read back is not written.
// Bytes: a time as seconds, or a text.
#include "fuzz.hpp"

namespace {

using nango::json;
using nango_fuzz::check;
namespace crm = nango::crm;

constexpr std::int64_t first = -62'167'219'200, last = 253'402'300'799;

// The text of a time; nothing where it is refused.
std::optional<std::string> written(std::int64_t seconds) {
  try {
    const json record = crm::opportunity{.id = "1", .close_date = crm::time_point(std::chrono::seconds(seconds))};
    return record.at("close_date").get<std::string>();
  } catch (const std::out_of_range&) {
    return std::nullopt;
  }
}
std::optional<std::int64_t> read(const std::string& text) {
  try {
    const auto record = json{{"id", "1"}, {"close_date", text}}.get<crm::opportunity>();
    if (!record.close_date) return std::nullopt;
    return record.close_date->time_since_epoch().count();
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  if (in.below(2) == 0) {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | in.byte();
    // anything, or close to an end of what can be written
    const auto near = static_cast<std::int64_t>(bits % 8) - 4;
    const auto seconds = in.one_in(2) ? (in.one_in(2) ? first : last) + near : static_cast<std::int64_t>(bits);
    const auto text = written(seconds);
    check(text.has_value() == (seconds >= first && seconds <= last), "what has a year of four digits is written");
    if (text) check(read(*text) == seconds, "what is written reads back as the same");
    return 0;
  }
  const std::string text(in.rest());
  const auto seconds = read(text);
  if (!seconds) return 0;
  check(*seconds >= first && *seconds <= last, "a time is of a year of four digits");
  const auto again = written(*seconds);
  check(again && read(*again) == seconds, "what was read can be written, and reads back as the same");
  return 0;
}
