// Client: numbers. An integer is what the answer says or a decode_error; what is not finite is not sent.
// Bytes: which type, then a number as JSON; or a float's bits, and where in the body it is.
#include <cmath>
#include <cstring>

#include "fuzz.hpp"
#include "scripted_backend.hpp"

namespace {

using nango::errc;
using nango::json;
using nango_fuzz::check;
using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;

template <class Integer> void check_integer(std::string_view text) {
  const auto number = nango_fuzz::parse(text);
  if (!number.is_number()) return;
  nango_test::scripted_backend backend;
  backend.answer(200, R"({"status":"ok","result":)" + std::string(text) + "}");
  const auto got = client(nango_test::test_options(), backend).get<Integer>("x");
  // 64 bits of mantissa hold each integer type and each double.
  static_assert(std::numeric_limits<long double>::digits >= 64);
  const auto value = number.is_number_unsigned()  ? static_cast<long double>(number.get<std::uint64_t>())
                     : number.is_number_integer() ? static_cast<long double>(number.get<std::int64_t>())
                                                  : static_cast<long double>(number.get<double>());
  const bool fits = value == std::floor(value) &&
                    value >= static_cast<long double>(std::numeric_limits<Integer>::min()) &&
                    value <= static_cast<long double>(std::numeric_limits<Integer>::max());
  check(got.has_value() == fits, "an integer that fits is read, and nothing else");
  if (got) check(static_cast<long double>(*got) == value, "it is what the answer says");
  if (!got) check(got.error().code == errc::decode_error, "else it is decode_error");
}

void check_body(nango_fuzz::bytes& in) {
  std::uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) bits = bits << 8 | in.byte();
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  json body = value;
  while (!in.done()) body = in.one_in(2) ? json{1, body} : json{{"a", body}, {"b", nullptr}};
  nango_test::scripted_backend backend;
  backend.ok();
  const auto got = client(nango_test::test_options(), backend).post("x", body);
  check(got.has_value() == std::isfinite(value), "what is finite is sent, and nothing else");
  check(got || (got.error().code == errc::invalid_argument && backend.calls() == 0), "else nothing is");
  if (got) check(json::parse(backend.last().body) == body, "it is what was given");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 512) return 0;  // deeper bodies are no JSON
  nango_fuzz::bytes in(data, size);
  switch (in.below(8)) {
    case 0: check_integer<signed char>(in.rest()); break;
    case 1: check_integer<unsigned short>(in.rest()); break;
    case 2: check_integer<int>(in.rest()); break;
    case 3: check_integer<unsigned>(in.rest()); break;
    case 4: check_integer<std::int64_t>(in.rest()); break;
    case 5: check_integer<std::uint64_t>(in.rest()); break;
    case 6: check_integer<short>(in.rest()); break;
    default: check_body(in);
  }
  return 0;
}
