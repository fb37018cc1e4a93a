// The default backend and the client that stands on it. Included by two units of one program.
#pragma once

#include "nango.hpp"

#include <utility>

namespace {

bool use_default_backend() {
  const auto refused = nango::client::create({.api_key = "key", .ca_file = "no/such/file"});
  auto backend = nango::httplib_backend::create({.api_key = "key"});
  if (refused || !backend) return false;
  auto copy = *backend;
  const bool sent = copy.send({.method = "GET", .url = "https://elsewhere.example/"}).has_value();
  const auto made = nango::client::create({.api_key = "key"}, *std::move(backend), nango::sliding_window());
  if (nango::hosted::verify_webhook("body", "signature", "key")) return false;
  return !sent && made && made->user("").get("x").error().code == nango::errc::invalid_argument;
}

}  // namespace
