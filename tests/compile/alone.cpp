// The header alone, and twice.
#include "nango.hpp"
#include "nango.hpp"

int main() {
  const nango::error e{.code = nango::errc::timed_out, .message = "too late"};
  return make_error_code(e.code) == std::errc::timed_out ? 0 : 1;
}
