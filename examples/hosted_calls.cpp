// The calls of today's service that have a trap, and how to make them: the table in examples/README.md points here. The
// program calls a local server of the API that it starts, and needs no key.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

namespace hosted = nango::hosted;
using nango::json;
using nango_test::hosted_routes;

// The value of a call that must succeed; ends the program otherwise.
template <class Value> Value must(nango::result<Value> got) {
  if (got) return *std::move(got);
  std::cerr << got.error() << '\n';
  std::exit(1);
}

const std::string id = hosted_routes::connection_id, provider = hosted_routes::provider_config_key;

void connections(const nango::client& api) {
  // A list filtered by tags: the brackets are part of the name. The list is a member of the answer.
  int of_the_team = 0;
  must(api.for_each("connections", [&](const json&) { ++of_the_team; }, {{"tags[team]", "x"}, {"limit", 2'000}},
                    {.list_member = "connections"}));
  std::cout << "connections of the team: " << of_the_team << '\n';

  // One connection needs its integration as a query, in a PATCH too. A PATCH with a query takes all four arguments.
  const nango::query of_integration{{"provider_config_key", provider}};
  must(api.get(nango::path("connections", id), of_integration));
  must(api.patch(nango::path("connections", id), {{"tags", {{"team", "x"}}}}, of_integration, {}));

  // Metadata of one connection or of several: POST replaces, PATCH merges, and both answer 201.
  must(api.post("connections/metadata",
                {{"connection_id", {id, "c-2"}}, {"provider_config_key", provider}, {"metadata", {{"a", 1}}}}));
  must(api.patch("connections/metadata",
                 {{"connection_id", id}, {"provider_config_key", provider}, {"metadata", {{"b", 2}}}}));
}

void sync_variants(const nango::client& api) {
  const auto variant = nango::path("sync", "tickets", "variant", "de");
  const json of_connection{{"provider_config_key", provider}, {"connection_id", id}};
  must(api.post(variant, of_connection));
  must(api.request_json("DELETE", variant, of_connection));  // a DELETE with a body
}

// The payload is what the action's author threw; here it decides what to do.
std::string outcome_of(const nango::client& connection, const std::string& action) {
  const auto id = hosted::trigger_action_async(connection, action, json::object());
  if (!id) return "not started: " + id.error().message;
  const auto result = hosted::wait_for_action(connection, *id, {.timeout = std::chrono::minutes(10)});
  if (result) return "done: " + result->dump();
  const auto said = json::parse(result.error().body, nullptr, false);
  const json::json_pointer reason("/error/payload/reason");
  if (said.contains(reason) && said.at(reason) == "no such ticket") return "nothing to do";
  return "failed: " + result.error().message;
}

// The connected API as if it were ours: its paths, its types of body, its headers.
void connected_api(const nango::client& connection) {
  const auto upstream = hosted::upstream(connection);
  must(upstream.get("user/repos", {{"per_page", 50}}));
  must(upstream.get("api/v1/contacts/"));  // some want the slash at the end
  must(upstream.post("contacts", {{"name", "Rolf"}}, {{"notify", false}}, {}));
  must(upstream.send("PUT", "contacts.csv", {}, "id,name\n1,Rolf\n", "text/csv"));
  must(upstream.get("contacts", {}, {.headers = {{"Nango-Proxy-Prefer", "minimal"}, {"Retries", "0"}}}));
}

// Tools for language models: the call's Accept replaces the client's.
void tools(const nango::client& connection) {
  const json request{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/list"}};
  const auto answer = must(connection.send("POST", "mcp", {}, request.dump(), "application/json",
                                           {.headers = {{"Accept", "application/json, text/event-stream"}}}));
  std::cout << "what a tool server says: " << answer.body.substr(0, answer.body.find('\n')) << '\n';
}

}  // namespace

int main() {
  const nango_test::local_nango server;
  auto options = hosted::options(server.api_key());
  options.base_url = server.hosted_url();
  options.ca_file = server.ca_file();
  const nango::client api(options);
  const auto connection = hosted::connection(api, id, provider);

  connections(api);
  sync_variants(api);
  connected_api(connection);
  tools(connection);
  for (const auto* action : {"echo", "custom-error", "http-error"}) {
    std::cout << "the action " << action << " is " << outcome_of(connection, action) << '\n';
  }
  std::cout << "all calls did what they should\n";
  return 0;
}
