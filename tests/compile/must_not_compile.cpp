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

#include <iostream>
#include <sstream>

struct point {  // without a from_json
  int x = 0;
};
struct words {
  int x = 0;
};
void from_json(const nango::json& from, words& to) { from.get_to(to.x); }

// How a program prints results is its own to say, and which of them have a loop.
template <class Value>
std::ostream& operator<<(std::ostream& out, const nango::result<Value>& r)
  requires(std::same_as<Value, words>)
{
  return out << (r ? "words" : "none");
}
static_assert(!std::ranges::range<nango::result<nango::json>> &&
              !std::constructible_from<nango::param, const char*, double>);

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
#elif defined(PARAM_OF_DOUBLE)
  return api.get("x", {{"limit", 1.5}});
#elif defined(PARAM_OF_OPTIONAL)
  return api.get("x", {{"limit", std::optional<int>(1)}});
#elif defined(QUERY_WITHOUT_PAIRS)
  return api.get("x", {"name", "Rolf"});
#elif defined(LOOP_OVER_RESULT)
  for (auto& contact : api.get("x")) return contact;
  return nango::json();
#elif defined(PRINT_RESULT)
  return &(std::cout << api.get("x"));
#elif defined(NO_FROM_JSON)
  return api.get<point>("x");
#elif defined(NO_SUCH_OPTION)
  const nango::client_options options{.api_key = "key", .timout = std::chrono::seconds(5)};
  return api.get("x");
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
  const std::string text = "b";
  static_cast<void>(api.get("x", {{"a", text}, {"c", 1}, {"d", true}, {"e", std::string_view(text)}}, {}));
  static_cast<void>(api.get("x", {{"a", "b"}}));
  static_cast<void>(api.get("x", {{text, text}}));
  static_cast<void>(api.get("x", {nango::param("a", "b"), {"c", "d"}}));
  static_cast<void>(api.get("x", {}, {.timeout = std::chrono::seconds(1)}));
  static_cast<void>(api.del<void>("x", {}));
  const nango::query parameters(2, {"a", 1});
  static_cast<void>(api.get("x", {parameters.begin(), parameters.end()}));
  static_cast<void>(api.get<std::map<std::string, std::vector<words>>>("x", {parameters}));
  std::ostringstream() << api.get<words>("x");
  return api.post("x", {});
#endif
}
