#include "nango.hpp"

const std::error_category& category_of_b() { return make_error_code(nango::errc::canceled).category(); }
nango::result<nango::client> client_of_b() { return nango::client::create({.api_key = "key"}); }
