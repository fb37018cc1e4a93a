// Receives webhooks of the hosted API, and accepts only those that are signed with the key.
//
//   NANGO_WEBHOOK_KEY=... webhook_receiver [PORT]     # on 127.0.0.1, behind a proxy that terminates TLS

#include <charconv>
#include <iostream>
#include <string>
#include <string_view>

#include "nango.hpp"

namespace {

// One line for the log. The event comes from outside, so dump() escapes its text.
std::string line_of(const nango::json& event) {
  if (!event.is_object()) return "an event that is no object";
  const auto type = event.find("type");
  return type != event.end() ? type->dump() : "an event without a type";
}

}  // namespace

int main(int argc, char** argv) {
  const auto key = nango::env("NANGO_WEBHOOK_KEY");
  const std::string_view text = argc > 1 ? argv[1] : "0";
  int port = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (key.empty() || argc > 2 || failure != std::errc() || end != text.data() + text.size() || port < 0 ||
      port > 65'535) {
    std::cerr << "usage: NANGO_WEBHOOK_KEY=... webhook_receiver [PORT]\n";
    return 2;
  }
  httplib::Server server;
  server.set_payload_max_length(std::size_t{1} << 20);
  // [webhook]
  server.Post("/webhook", [&key](const httplib::Request& request, httplib::Response& response) {
    if (!nango::hosted::verify_webhook(request.body, request.get_header_value("X-Nango-Hmac-Sha256"), key)) {
      response.status = 401;
      return;
    }
    const auto event = nango::json::parse(request.body, nullptr, false);  // only after the verification
    std::cout << line_of(event) << std::endl;
    response.status = 204;
  });
  // [end]
  port = port != 0 ? (server.bind_to_port("127.0.0.1", port) ? port : -1) : server.bind_to_any_port("127.0.0.1");
  if (port < 0) {
    std::cerr << "the port cannot be had\n";
    return 1;
  }
  std::cout << "listening on http://127.0.0.1:" << port << "/webhook" << std::endl;
  return server.listen_after_bind() ? 0 : 1;
}
