// The next version of the header, as the build makes it.
#include "nango_next.hpp"

#include <string>
#include <string_view>

static_assert(NANGO_VERSION_MINOR == 3 && std::string_view(NANGO_VERSION) == "0.3.0");

std::string_view word_of_next();
std::string_view word_of_next() { return to_string(nango::errc::timed_out); }

std::size_t error_size_of_next();
std::size_t error_size_of_next() { return sizeof(nango::error); }

std::string call_next();
std::string call_next() {
  nango::basic_client<nango::any_backend> api({.api_key = "key"}, [](const nango::http_request&) {
    return nango::http_response{200, {}, R"({"status":"ok","result":"next"})"};
  });
  return api.user("token").get<std::string>("x").value();
}
