// says: param
#ifndef NANGO_NO_HTTPLIB
#define NANGO_NO_HTTPLIB
#endif
#include "nango.hpp"

auto f(const nango::basic_client<nango::any_backend>& api) {
  static_cast<void>(api);
#ifdef CONTROL
  return nango::param("a", "b");
#else
  return nango::param("a", nullptr);
#endif
}
