// Two units of one program that share what is inline. This one has `main`.
#include "core.hpp"

// Each member, called or not. (The client's: of one that can be made from options, since clang 14 takes the others'
// constructors for callable.)
struct answering_backend {
  explicit answering_backend(const nango::client_options&) {}
  nango::result<nango::http_response> send(const nango::http_request&) { return nango::http_response{}; }
};
template class nango::result<json>;
template class nango::result<std::string>;
template class nango::basic_sliding_window<nango::steady_clock>;
template class nango::basic_client<answering_backend>;
template class nango::basic_client<answering_backend, nango::unlimited>;

bool use_everything_elsewhere();

int main() { return use_everything() && use_everything_elsewhere() ? 0 : 1; }
