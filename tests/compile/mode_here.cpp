// A unit with exceptions, in one program with one that is compiled without them: each keeps its own functions,
// whichever is linked first.
#include "nango.hpp"

int sum_without_exceptions();

int main() {
  const nango::result<int> failed(nango::error{.code = nango::errc::timed_out, .message = "late"});
  try {
    static_cast<void>(failed.value());
  } catch (const nango::exception& e) {
    return e.error().code == nango::errc::timed_out && sum_without_exceptions() == 3 ? 0 : 2;
  }
  return 1;
}
