// Fetches contacts over verified HTTPS: a list with a filter, one by its id, and an error as it should be shown.
//
// With NANGO_API_KEY and NANGO_USER_TOKEN it calls the real API, or the one at NANGO_BASE_URL, whose authorities are in
// NANGO_CA_FILE. Without a key it starts a local HTTPS server of the API and calls that. With --hosted it speaks the
// dialect of today's hosted API; NANGO_CONNECTION_ID and NANGO_PROVIDER_CONFIG_KEY then replace the user token.

#include <iomanip>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "local_nango.hpp"
#include "nango.hpp"

namespace five_lines {
// clang-format off
// [the five-line program]
int main() {
  nango::client api{{.api_key = nango::env("NANGO_API_KEY")}};
  auto contacts = api.user("6b693b41-bf22-42e6-aa31-b75cd41749ab").get("crm/contacts", {{"name", "Rolf"}});
  if (!contacts) { std::cerr << contacts.error() << '\n'; return 1; }
  for (const auto& contact : *contacts) std::cout << contact.dump() << '\n';
  // [end]
  // clang-format on
  return 0;  // implicit in a real main
}
}  // namespace five_lines

namespace {

// A field of a record; any but `id` may be absent or null (CRM resources).
std::string text(const nango::json& record, const char* field) {
  const auto found = record.find(field);
  return found != record.end() && found->is_string() ? found->get<std::string>() : "-";
}

std::string first_email(const nango::json& contact) {
  const auto addresses = contact.find("email_adresses");  // the API's spelling
  const bool has_one = addresses != contact.end() && addresses->is_array() && !addresses->empty();
  return has_one ? text(addresses->front(), "email") : "-";
}

void print(const nango::json& contact) {
  const auto name = text(contact, "first_name") + ' ' + text(contact, "last_name");
  std::cout << "  " << std::left << std::setw(24) << name << std::setw(36) << first_email(contact)
            << text(contact, "job_title") << '\n';
}

// Runs the whole tour. Returns 0 if every call did what it should.
int run(const nango::client& user, std::string_view filter) {
  std::cout << "\nContacts whose name has \"" << filter << "\" in it:\n";
  const auto contacts = user.get("crm/contacts", {{"name", filter}});
  if (!contacts) {
    std::cerr << "  " << contacts.error() << '\n';
    return 1;
  }
  for (const auto& contact : *contacts) print(contact);
  if (contacts->empty()) std::cout << "  none\n";

  if (!contacts->empty()) {
    const auto id = text(contacts->front(), "id");
    std::cout << "\nThe contact " << id << ":\n";
    const auto contact = user.get(nango::path("crm", "contacts", id));
    if (!contact) {
      std::cerr << "  " << contact.error() << '\n';
      return 1;
    }
    print(*contact);
  }

  std::cout << "\nA contact that does not exist:\n";
  const auto nobody = user.get(nango::path("crm", "contacts", "00000000-0000-4000-8000-000000000000"));
  if (nobody) {
    std::cerr << "  it does exist\n";
    return 1;
  }
  std::cout << "  " << nobody.error() << '\n';
  return 0;
}

// Reads records in the dialect of the hosted API.
int run_hosted() {
  auto connection_id = nango::env("NANGO_CONNECTION_ID"), provider = nango::env("NANGO_PROVIDER_CONFIG_KEY");
  auto options = nango::hosted::options(nango::env("NANGO_API_KEY"));
  std::optional<nango_test::local_nango> server;
  if (options.api_key.empty()) {
    server.emplace();
    options = nango::hosted::options(server->api_key());
    options.base_url = server->hosted_url();
    options.ca_file = server->ca_file();
    connection_id = nango_test::hosted_routes::connection_id;
    provider = nango_test::hosted_routes::provider_config_key;
    std::cout << "NANGO_API_KEY is not set: calling a local server of the hosted API at " << options.base_url << '\n';
  } else {
    if (const auto base_url = nango::env("NANGO_BASE_URL"); !base_url.empty()) options.base_url = base_url;
    options.ca_file = nango::env("NANGO_CA_FILE");
  }
  const nango::client api(options);  // made by nango::hosted::options(key)
  const auto connection = nango::hosted::connection(api, connection_id, provider);
  std::cout << "\nThe first tickets:\n";
  int left = 3;
  const auto progress = nango::hosted::for_each_record(connection, "Ticket", [&](nango::json&& ticket) {
    std::cout << "  " << ticket.at("id").get<std::string>() << '\n';
    return --left > 0;  // false stops
  });
  if (progress.failure) {
    std::cerr << "  " << *progress.failure << '\n';
    return 1;
  }
  std::cout << "\nA model that is not named:\n  " << connection.get("records").error() << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view("--five-lines")) return five_lines::main();
  if (argc == 2 && argv[1] == std::string_view("--hosted")) return run_hosted();

  nango::client_options options{.api_key = nango::env("NANGO_API_KEY")};
  auto token = nango::env("NANGO_USER_TOKEN");
  std::optional<nango_test::local_nango> server;
  if (options.api_key.empty()) {
    server.emplace();
    options.api_key = server->api_key();
    options.base_url = server->base_url();
    options.ca_file = server->ca_file();
    token = server->user_token();
    std::cout << "NANGO_API_KEY is not set: calling a local server of the API at " << options.base_url << '\n';
  } else {
    if (const auto base_url = nango::env("NANGO_BASE_URL"); !base_url.empty()) options.base_url = base_url;
    options.ca_file = nango::env("NANGO_CA_FILE");
  }
  if (token.empty()) {
    std::cerr << "NANGO_USER_TOKEN is not set: it says whose contacts to fetch\n";
    return 1;
  }

  const auto api = nango::client::create(options);
  if (!api) {
    std::cerr << api.error() << '\n';
    return 1;
  }
  return run(api->user(token), "Rolf");
}
