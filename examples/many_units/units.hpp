// A program of many units that compiles httplib once. backend.cpp makes the backend; the nine other units are compiled
// with NANGO_NO_HTTPLIB, see it as a nango::any_backend, and need neither httplib's header nor OpenSSL's.
//
// What it saves, with g++ 12 at -O0 (user time, lowest of 3): contacts.cpp takes 3.7 s. With httplib 0.11.4 in it such
// a unit takes 6.1 s, with upstream's single header 20 s.
#pragma once

#include "nango.hpp"

#include <ostream>

// The program's own name for its client.
using api_client = nango::basic_client<nango::any_backend>;
extern template class nango::basic_client<nango::any_backend>;  // its code too is made in backend.cpp

// backend.cpp: of the API where NANGO_API_KEY is set, else of a local server that it starts.
api_client make_client();

// One unit each. They print, and return what went wrong.
nango::result<void> print_contacts(const api_client& user, std::ostream& out);
nango::result<void> print_contact(const api_client& user, std::ostream& out);
nango::result<void> print_search(const api_client& user, std::ostream& out);
nango::result<void> print_account_names(const api_client& user, std::ostream& out);
nango::result<void> print_totals(const api_client& user, std::ostream& out);
nango::result<void> print_in_time(const api_client& user, std::ostream& out);
nango::result<void> print_canceled(const api_client& user, std::ostream& out);
nango::result<void> print_as_it_came(const api_client& user, std::ostream& out);
