// A program of many units that compiles httplib once. backend.cpp makes the backend. The other nine units define
// NANGO_NO_HTTPLIB, use the backend as a nango::any_backend, and need neither httplib's header nor OpenSSL's.
//
// With g++ 12 at -O0 (user time, lowest of 3) contacts.cpp takes 3.7 s. The same unit takes 6.1 s with httplib 0.11.4,
// and 20 s with upstream's single header.
#pragma once

#include "nango.hpp"

#include <ostream>

// The program's own name for its client.
using api_client = nango::basic_client<nango::any_backend>;
extern template class nango::basic_client<nango::any_backend>;  // backend.cpp has its code, too

// In backend.cpp: a client of the API if NANGO_API_KEY is set, else of a local server that it starts.
api_client make_client();

// One unit each. They print, and return the error if there is one.
nango::result<void> print_contacts(const api_client& user, std::ostream& out);
nango::result<void> print_contact(const api_client& user, std::ostream& out);
nango::result<void> print_search(const api_client& user, std::ostream& out);
nango::result<void> print_account_names(const api_client& user, std::ostream& out);
nango::result<void> print_totals(const api_client& user, std::ostream& out);
nango::result<void> print_in_time(const api_client& user, std::ostream& out);
nango::result<void> print_canceled(const api_client& user, std::ostream& out);
nango::result<void> print_as_it_came(const api_client& user, std::ostream& out);
