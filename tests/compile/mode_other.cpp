// The unit without exceptions: see mode_here.cpp.
#include "nango.hpp"

int sum_without_exceptions() {
  const nango::result<int> one(1), failed(nango::error{.code = nango::errc::canceled, .message = "gone"});
  return one.value() + failed.value_or(2);
}
