// What must not compile, one line for each macro; without a macro it all compiles.
#if defined(NO_TLS) || defined(NO_TLS_IN_HTTPLIB) || defined(TLS_TOO_LATE)
#if !defined(NO_TLS)
#include <httplib.h>
#endif
#if defined(TLS_TOO_LATE)
#define CPPHTTPLIB_OPENSSL_SUPPORT
#endif
#include "nango.hpp"

nango::result<nango::json> call_by_default_backend() { return nango::client({.api_key = "key"}).get("x"); }
#else
#define NANGO_NO_HTTPLIB
#include "nango.hpp"
#endif

auto call(const nango::basic_client<nango::any_backend>& api) {
#if defined(POST_TEXT)
  return api.post("x", "{}");
#elif defined(PUT_TEXT)
  return api.put("x", std::string("{}"));
#elif defined(PATCH_TEXT)
  return api.patch("x", std::string_view("{}"));
#elif defined(REQUEST_JSON_TEXT)
  return api.request_json("POST", "x", "{}");
#elif defined(RESULT_OF_ERRC)
  static_cast<void>(api);
  return nango::result<nango::json>(nango::errc::timed_out);
#elif defined(RESULT_OF_ERROR)
  static_cast<void>(api);
  return nango::result<nango::error>(nango::error{});
#elif defined(PARAM_OF_NULL)
  return api.get("x", {nango::param("a", nullptr)});
#elif defined(PARAM_OF_JSON)
  return api.get("x", {nango::param("a", nango::json(1))});
#elif defined(DANGLING_ARROW)
  nango::json& gone = *api.get("x").operator->();
  return gone;
#elif defined(DANGLING_ERROR)
  const std::string& gone = nango::exception({.message = "gone"}).error().message;
  static_cast<void>(api);
  return gone;
#else
  static_cast<void>(api.put("x", nango::json("{}")));
  static_cast<void>(api.request_json("POST", "x", {{"a", 1}}));
  static_cast<void>(api.get("x", {{"a", "b"}, {"c", 1}, {"d", true}}));
  return api.post("x", {});
#endif
}
