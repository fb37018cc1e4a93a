// says: json::parse(text) or json(text)
#ifndef NANGO_NO_HTTPLIB
#define NANGO_NO_HTTPLIB
#endif
#include "nango.hpp"

auto f(const nango::basic_client<nango::any_backend>& api) {
  static_cast<void>(api);
#ifdef CONTROL
  return api.post("x", nango::json::parse("{}"));
#else
  return api.post("x", "{}");
#endif
}
