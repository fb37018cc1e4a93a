// The only unit with httplib: it does not define NANGO_NO_HTTPLIB.
#include <memory>
#include <string>

#include "local_nango.hpp"
#include "units.hpp"

template class nango::basic_client<nango::any_backend>;

api_client make_client() {
  nango::client_options options{.api_key = nango::env("NANGO_API_KEY"), .user_token = nango::env("NANGO_USER_TOKEN")};
  if (options.api_key.empty()) {
    static const nango_test::local_nango server;
    options.api_key = server.api_key();
    options.user_token = server.user_token();
    options.base_url = server.base_url();
    options.ca_file = server.ca_file();
  }
  return api_client(options, std::make_shared<nango::httplib_backend>(options));
}
