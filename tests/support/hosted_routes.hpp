// What the local server answers beside `/v1/`: the hosted API, in the shapes, headers and statuses of its recorded
// answers (hosted_answers.json). It knows nothing of nango.hpp.
#ifndef NANGO_TESTS_HOSTED_ROUTES_HPP
#define NANGO_TESTS_HOSTED_ROUTES_HPP

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace nango_test {

struct hosted_options {
  std::size_t limit = 5'000;  ///< requests of the account in a window, which is fixed
  std::size_t records = 25;   ///< of the model Ticket
  std::chrono::steady_clock::duration window = std::chrono::minutes(1);
};

/// Thread-safe.
class hosted_routes {
 public:
  static constexpr const char* connection_id = "c-open";
  static constexpr const char* provider_config_key = "open";

  hosted_routes(hosted_options options, std::string api_key) : options_(options), api_key_(std::move(api_key)) {}

  void answer(const httplib::Request& request, httplib::Response& response) {
    const auto path = request.target.substr(0, request.target.find('?'));
    const bool known = path == "/records" || path == "/mcp" || is_below("/connections", path) ||
                       is_below("/action", path) || is_variant(path) || is_below("/proxy", path);
    if (!known) return show_page(request, response);
    if (!is_authorized(request)) {
      return refuse(
          response, 401,
          {{"message", "Authentication failed. The provided authorization header does not match any account."},
           {"code", "unknown_account"},
           {"payload", nlohmann::json::object()}});
    }
    if (!admit(request, path, response)) return;
    if (is_below("/connections", path)) return connections(request, path, response);
    if (is_variant(path)) return variant(request, path, response);
    if (is_below("/action", path) && path != "/action/trigger") return outcome(path.substr(8), response);
    if (!has_connection(request, response)) return;
    if (path == "/mcp") return tools(request, response);
    if (path == "/records") return records(request, response);
    if (path == "/action/trigger") return action(request, response);
    proxy(request, path.substr(6), response);
  }

 private:
  using json = nlohmann::json;
  using clock = std::chrono::steady_clock;

  static bool starts_with(const std::string& text, const std::string& with) { return text.rfind(with, 0) == 0; }
  static bool is_below(const std::string& root, const std::string& path) {
    return path == root ? root == "/connections" : starts_with(path, root + '/');
  }
  static bool is_variant(const std::string& path) {
    return starts_with(path, "/sync/") && path.find("/variant/") != std::string::npos;
  }
  bool is_authorized(const httplib::Request& request) const {
    return request.get_header_value("Authorization") == "Bearer " + api_key_;
  }
  static void show(httplib::Response& response, int status, const json& body) {
    response.status = status;
    response.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace), "application/json; charset=utf-8");
  }
  static void refuse(httplib::Response& response, int status, const json& error) {
    show(response, status, {{"error", error}});
  }
  // Unknown paths get the dashboard, or the framework's page.
  static void show_page(const httplib::Request& request, httplib::Response& response) {
    const bool reads = request.method == "GET" || request.method == "HEAD";
    response.status = reads ? 200 : 404;
    response.set_content(reads ? "<!doctype html><html><head><title>Nango</title></head><body></body></html>"
                               : "<!DOCTYPE html><html><body><pre>Cannot " + request.method + "</pre></body></html>",
                         "text/html; charset=utf-8");
  }

  bool admit(const httplib::Request& request, const std::string& path, httplib::Response& response) {
    const std::lock_guard lock(mutex_);
    const auto now = clock::now();
    if (now >= ends_) {
      used_ = 0;
      ends_ = now + options_.window;
    }
    const bool fits = used_ < options_.limit;
    if (fits) ++used_;
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(ends_ - now).count();  // rounded down
    const auto epoch = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()) + left;
    response.set_header("X-RateLimit-Limit", std::to_string(options_.limit));
    response.set_header("X-RateLimit-Remaining", std::to_string(options_.limit - used_));
    response.set_header("X-RateLimit-Reset", std::to_string(epoch));
    if (fits) return true;
    response.set_header("Retry-After", std::to_string(left));
    refuse(response, 429, {{"code", "too_many_request"}, {"method", request.method}, {"path", path}});
    return false;
  }

  static json wrong_field(const char* code, const char* message, const char* name) {
    return {{"code", code}, {"message", message}, {"path", {name}}};
  }
  static bool has_connection(const httplib::Request& request, httplib::Response& response) {
    json errors = json::array();
    for (const auto* name : {"provider-config-key", "connection-id"}) {
      if (request.get_header_value_count(name) != 1) {  // twice: the framework joins them to one unknown name
        errors.push_back(wrong_field("invalid_type", "Invalid input: expected string, received undefined", name));
      }
    }
    if (!errors.empty()) {
      refuse(response, 400, {{"code", "invalid_headers"}, {"errors", errors}});
      return false;
    }
    if (request.get_header_value("Provider-Config-Key") != provider_config_key) {
      refuse(response, 400, {{"code", "unknown_provider_config"}, {"message", "Provider does not exists"}});
      return false;
    }
    if (request.get_header_value("Connection-Id") == connection_id) return true;
    refuse(response, 400, {{"code", "unknown_connection"}, {"message", "Failed to find connection"}});
    return false;
  }
  static json connection() {
    return {{"id", 1},
            {"connection_id", connection_id},
            {"provider_config_key", provider_config_key},
            {"provider", "unauthenticated"},
            {"errors", json::array()},
            {"end_user", nullptr},
            {"tags", {{"team", "x"}}},
            {"metadata", json::object()},
            {"created", "2026-01-01T00:00:00.000+00:00"}};
  }

  static void wrong_body(httplib::Response& response, const char* name) {
    refuse(response, 400,
           {{"code", "invalid_body"},
            {"errors", {wrong_field("invalid_type", "Invalid input: expected string, received undefined", name)}}});
  }
  static json body_of(const httplib::Request& request) {
    auto body = json::parse(request.body, nullptr, false);
    return body.is_object() ? body : json::object();
  }
  // The list, its filters, one connection, and the metadata of several.
  static void connections(const httplib::Request& request, const std::string& path, httplib::Response& response) {
    const auto wrong_query = [&](const char* name) {
      refuse(response, 400,
             {{"code", "invalid_query_params"},
              {"errors", {wrong_field("invalid_type", "Invalid input: expected string, received undefined", name)}}});
    };
    if (path == "/connections/metadata") {
      const auto body = body_of(request);
      if (!body.contains("metadata")) return wrong_body(response, "metadata");
      return show(response, 201, body);
    }
    if (path != "/connections") {
      if (!request.has_param("provider_config_key")) return wrong_query("provider_config_key");
      if (request.method == "GET") return show(response, 200, connection());
      return show(response, 200, {{"success", true}});
    }
    bool shown = true;
    for (const auto& [name, value] : request.params) {
      if (starts_with(name, "tags[")) shown = shown && name == "tags[team]" && value == "x";
      if (name == "connectionId") shown = shown && value == connection_id;
    }
    show(response, 200, {{"connections", shown ? json::array({connection()}) : json::array()}});
  }
  // DELETE takes a body too.
  static void variant(const httplib::Request& request, const std::string& path, httplib::Response& response) {
    const auto body = body_of(request);
    for (const auto* name : {"provider_config_key", "connection_id"}) {
      if (!body.contains(name)) return wrong_body(response, name);
    }
    if (request.method == "DELETE") return show(response, 200, {{"success", true}});
    show(response, 200, {{"id", "s-1"}, {"variant", path.substr(path.rfind('/') + 1)}});
  }
  static void tools(const httplib::Request& request, httplib::Response& response) {
    if (request.get_header_value("Accept").find("text/event-stream") == std::string::npos) {
      return show(response, 406, {{"jsonrpc", "2.0"}, {"error", {{"code", -32000}, {"message", "Not Acceptable"}}}});
    }
    response.status = 200;
    response.set_content("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n", "text/event-stream");
  }

  // Cursors are the number of records before.
  static std::string cursor_of(std::size_t before) { return "MDA" + std::to_string(before) + "=="; }
  static bool read_number(std::string_view text, std::size_t& number) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    return failure == std::errc() && end == text.data() + text.size();
  }
  static json record(std::size_t number) {
    char id[16];
    std::snprintf(id, sizeof id, "t%07zu", number);
    return {{"id", id},
            {"title", "Ticket " + std::to_string(number)},
            {"open", number % 2 == 0},
            {"_nango_metadata",
             {{"first_seen_at", "2026-01-01T00:00:00.000000+00:00"},
              {"last_modified_at", "2026-01-01T00:00:00.000000+00:00"},
              {"last_action", "ADDED"},
              {"deleted_at", nullptr},
              {"pruned_at", nullptr},
              {"cursor", cursor_of(number)}}}};
  }
  void records(const httplib::Request& request, httplib::Response& response) const {
    const auto wrong = [&](const json& error) {
      refuse(response, 400, {{"code", "invalid_query_params"}, {"errors", {error}}});
    };
    if (!request.has_param("model")) {
      return wrong(wrong_field("invalid_type", "Invalid input: expected string, received undefined", "model"));
    }
    std::size_t limit = 100, first = 0;
    if (request.has_param("limit") && (!read_number(request.get_param_value("limit"), limit) || limit == 0)) {
      return wrong(wrong_field("invalid_type", "Invalid input: expected number, received NaN", "limit"));
    }
    if (limit > 10'000) return wrong(wrong_field("too_big", "Too big: expected number to be <=10000", "limit"));
    const auto cursor = request.get_param_value("cursor");
    const bool is_one =
        cursor.size() > 5 && cursor.rfind("MDA", 0) == 0 && read_number(cursor.substr(3, cursor.size() - 5), first);
    if (!cursor.empty() && !is_one) {  // a fault within, to the service
      return refuse(response, 500, {{"code", "generic_error_support"}, {"message", "An error occurred."}});
    }
    if (request.get_param_value_count("ids") > 100) return wrong(wrong_field("too_big", "Invalid input", "ids"));
    const auto after = request.get_param_value("modified_after");
    if (!after.empty() && (after.size() < 20 || after.back() != 'Z')) {
      return wrong(wrong_field("invalid_format", "Invalid ISO datetime", "modified_after"));
    }
    const auto all = request.get_param_value("model") == "Ticket" ? options_.records : 0;
    const auto last = (std::min)(all, first + limit);
    json page = json::array();
    for (auto number = first; number < last; ++number) page.push_back(record(number + 1));
    show(response, 200, {{"records", page}, {"next_cursor", last < all ? json(cursor_of(last)) : json()}});
  }

  // What an action comes to.
  struct ended {
    int status = 200;
    json body{};
  };
  static ended run(const json& name, const json& input) {
    if (name == "echo") return {200, input};
    if (name == "http-error") {
      return {424,
              {{"error",
                {{"payload", {{"error", "bad"}}},
                 {"code", "script_http_error"},
                 {"upstream", {{"status", 422}, {"headers", json::object()}, {"body", {{"error", "bad"}}}}}}}}};
    }
    if (name == "custom-error") {
      return {500,
              {{"error",
                {{"message", "The action script failed with a runtime error"},
                 {"code", "action_script_runtime_error"},
                 {"payload", {{"reason", "no such ticket"}}}}}}};
    }
    return {500,
            {{"error",
              {{"message", "An internal error occurred during the script execution"},
               {"code", "script_internal_error"},
               {"payload", {{"name", "TypeError"}, {"message", "x is not a function"}}}}}}};
  }
  void action(const httplib::Request& request, httplib::Response& response) {
    const auto body = body_of(request);
    const auto name = body.value("action_name", json());
    if (request.method != "POST" || !name.is_string()) return wrong_body(response, "action_name");
    const auto made = run(name, body.value("input", json()));
    if (!request.has_header("X-Async")) return show(response, made.status, made.body);
    if (request.get_header_value("X-Async") != "true") {
      return refuse(
          response, 400,
          {{"code", "invalid_headers"},
           {"errors", {wrong_field("invalid_value", "Invalid option: expected one of \"true\"", "x-async")}}});
    }
    const std::lock_guard lock(mutex_);
    char id[48];
    std::snprintf(id, sizeof id, "01a20b85-7fe3-78c7-a07c-%012zu", actions_.size() + 1);
    actions_[id] = {made, 0};
    response.set_header("Location", "/action/" + std::string(id));
    show(response, 202, {{"id", id}, {"statusUrl", "/action/" + std::string(id)}});
  }
  // Of an action in the background: it has run when it is asked for the third time.
  void outcome(const std::string& id, httplib::Response& response) {
    if (id.size() != 36) {
      return refuse(
          response, 400,
          {{"code", "invalid_uri_params"}, {"errors", {wrong_field("invalid_format", "Invalid UUID", "id")}}});
    }
    const std::lock_guard lock(mutex_);
    const auto found = actions_.find(id);
    if (found == actions_.end() || ++found->second.second < 3) {
      return refuse(response, 404, {{"code", "not_found"}, {"message", "No action '" + id + "' found"}});
    }
    show(response, found->second.first.status, found->second.first.body);
  }

  // Where Nango-Proxy-Content-Type does not say it, only a form is taken for JSON, and only JSON for no form.
  static const char* guessed_type(const httplib::Request& request) {
    const auto type = request.get_header_value("Content-Type");
    const bool is_json = starts_with(type, "application/json"), is_form = type == "application/x-www-form-urlencoded";
    return is_json || is_form ? "application/json" : "application/x-www-form-urlencoded";
  }
  // An upstream that says what it was asked.
  static void proxy(const httplib::Request& request, const std::string& path, httplib::Response& response) {
    if (path == "/ratelimited") {
      for (const auto* name : {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}) {
        response.headers.erase(name);  // the upstream's take their place
      }
      response.set_header("x-ratelimit-remaining", "0");
      response.set_header("Retry-After", "9");
      return show(response, 429, {{"error", "slow down"}});
    }
    json headers = json::object();
    for (const auto& [name, value] : request.headers) {
      if (name.size() > 12 && name.compare(0, 12, "Nango-Proxy-") == 0) headers[name.substr(12)] = value;
    }
    if (!request.body.empty() && headers.count("Content-Type") == 0) headers["Content-Type"] = guessed_type(request);
    std::size_t status = 200;
    if (starts_with(path, "/status/")) read_number(path.substr(8), status);
    const auto query = request.target.find('?');
    const auto url = path + (query == std::string::npos ? "" : request.target.substr(query));
    show(response, static_cast<int>(status),
         {{"method", request.method}, {"url", url}, {"headers", headers}, {"body", request.body}});
  }

  const hosted_options options_;
  const std::string api_key_;
  std::mutex mutex_{};
  std::size_t used_ = 0;
  clock::time_point ends_{};
  std::map<std::string, std::pair<ended, int>> actions_{};  // and how often each was asked for
};

}  // namespace nango_test

#endif
