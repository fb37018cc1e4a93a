// A real HTTPS server of the API on the loopback interface, to test clients against. It knows nothing of nango.hpp.
#pragma once

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "hosted_routes.hpp"
#include "sockets.hpp"

namespace nango_test {

// ---- The server ----------------------------------------------------------------------------------------------------

struct local_nango_options {
  std::size_t limit = 100;                                               ///< requests answered in a window and token
  std::chrono::steady_clock::duration window = std::chrono::seconds(1);  ///< any time span of this length
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;  ///< called under a lock
  std::chrono::seconds keep_alive = std::chrono::seconds(5);  ///< idle connections are closed after this long
  std::size_t more_users = 0;                                 ///< their tokens are numbered_token(0) and so on
  hosted_options hosted = {};                                 ///< of the hosted API, beside v1/
  certificate_options certificate = {};                       ///< what the server shows; signed by the CA of ca_file()
};

/// Listens on a free port from construction to destruction. Every member function may be called from any thread.
///
/// Under `v1/` it answers the six `crm/` resources, and for tests `test/echo` (any method), `test/bytes?count=N`,
/// `test/sleep?ms=N` and `test/processing-error`, which need no user token. Whatever carries a known user token counts
/// against that token's limit.
class local_nango {
 public:
  /// Throws std::runtime_error if the server cannot be started within ten seconds.
  explicit local_nango(local_nango_options options = {});
  /// Cuts connections and sleeps short, so it takes no longer than the handlers do.
  ~local_nango();
  local_nango(const local_nango&) = delete;
  local_nango& operator=(const local_nango&) = delete;

  /// "https://127.0.0.1:PORT/v1/", an address and not a name so that nothing is looked up.
  std::string base_url() const { return "https://127.0.0.1:" + std::to_string(port_) + "/v1/"; }
  /// The same server's hosted API.
  std::string hosted_url() const { return "https://127.0.0.1:" + std::to_string(port_) + "/"; }
  int port() const { return port_; }
  /// Path of the PEM file to trust.
  const std::string& ca_file() const { return ca_file_.path(); }

  static std::string api_key() { return "local-test-api-key-0001"; }
  static std::string user_token() { return "6b693b41-bf22-42e6-aa31-b75cd41749ab"; }
  static std::string other_user_token() { return "d2c0f4f5-0d39-4b5e-9d0a-4f7b1c6f1e27"; }
  static std::string numbered_token(std::size_t number) { return "user-" + std::to_string(number); }

  /// Requests with this user token and a valid API key, the refused ones among them; 0 for an unknown token.
  std::size_t requests(const std::string& token) const { return traffic_of(token).requests; }
  /// Those of requests() that got a 429.
  std::size_t refused(const std::string& token) const { return traffic_of(token).refused; }
  /// The most of requests() that ever arrived within less than one window, wherever it begins.
  std::size_t most_in_a_window(const std::string& token) const { return traffic_of(token).most_in_a_window; }
  /// All requests, whatever became of them.
  std::size_t total_requests() const;
  /// TCP connections accepted, also those whose client then rejected the certificate.
  std::size_t connections() const;

 private:
  using clock = std::chrono::steady_clock;
  struct traffic {
    std::deque<clock::time_point> arrived;   // in the window that ends now
    std::deque<clock::time_point> answered;  // likewise
    std::size_t requests = 0;
    std::size_t refused = 0;
    std::size_t most_in_a_window = 0;
  };
  struct user {
    nlohmann::json data;  // never changed after construction, so it is read without the lock
    traffic seen;
  };

  void configure();
  void close();
  bool set_up_tls(SSL_CTX* context);
  static void handshake_started(const SSL* connection, int where, int);
  void remember_connection(int socket);
  void forget_connection();

  void answer(const httplib::Request& request, httplib::Response& response);
  nlohmann::json result_of(const httplib::Request& request);
  user* find_user(const httplib::Request& request, bool is_required);
  void admit(traffic& seen);
  nlohmann::json test_result(const httplib::Request& request, std::string_view path);
  void sleep_for(std::chrono::milliseconds time);
  traffic traffic_of(const std::string& token) const;

  const local_nango_options options_;
  const certificate authority_;
  const certificate certificate_;
  const temporary_file ca_file_;
  std::map<std::string, user> users_;
  hosted_routes hosted_{options_.hosted, api_key()};

  mutable std::mutex mutex_;  // guards what follows, up to the next empty line, and user::seen
  std::condition_variable closing_changed_;
  bool closing_ = false;
  std::map<std::thread::id, int> sockets_;  // own duplicates, by the thread that serves the connection
  std::size_t connections_ = 0;
  std::size_t total_requests_ = 0;
  std::atomic<std::size_t> answers_ = 0;

  std::promise<void> started_;
  std::unique_ptr<httplib::SSLServer> server_;
  int listening_socket_ = -1;
  int port_ = -1;
  std::thread thread_;
};

// ---- Details -------------------------------------------------------------------------------------------------------

namespace detail {

// Sample data. Nobody in it exists. Some fields are null or absent, some numbers are strings, one record is all but
// empty: no page of the documentation rules that out.
inline constexpr std::string_view sample_data = R"json({
  "contacts": [
    {
      "id": "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01", "external_id": "0035e00000A1", "first_name": "Rolf",
      "last_name": "Lindgren", "job_title": "Head of Purchasing", "account": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01",
      "adresses": [
        {"street_1": "Hamngatan 7", "street_2": "3rd floor", "city": "Stockholm", "state": null, "zip_code": "111 47",
         "country": "Sweden", "address_type": "work"},
        {"street_1": "Box 12", "city": "Uppsala", "zip_code": "750 02", "country": "Sweden", "address_type": "post"}],
      "email_adresses": [
        {"email": "rolf@example.com", "email_type": "work"},
        {"email": "Rolf.Lindgren@example.org", "email_type": "private"}],
      "phone_numbers": [{"phone_number": "+46 8 555 0100", "phone_number_type": "work"}],
      "last_activity_at": "2022-08-01T09:30:00Z", "external_created_at": "2021-03-14T15:09:26Z",
      "external_modified_at": "2022-07-30T23:59:59.123Z", "raw_external_data": {"Id": "0035e00000A1", "Rating__c": 5}
    },
    {
      "id": "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e02", "external_id": "0035e00000A2", "first_name": "Mina",
      "last_name": "Rolfsen", "job_title": null, "account": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa02", "adresses": [],
      "email_adresses": [{"email": "mina+crm@example.com", "email_type": null}], "phone_numbers": [],
      "last_activity_at": null, "external_created_at": "2021-04-01T00:00:00Z",
      "external_modified_at": "2021-04-01T00:00:00Z", "raw_external_data": {"Id": "0035e00000A2"}
    },
    {
      "id": "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e03", "external_id": "0035e00000A3", "first_name": "Åse",
      "last_name": "O'Bär & Søn", "job_title": "CTO \"ad interim\"", "account": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01",
      "email_adresses": [{"email": "ase@example.org", "email_type": "work"}],
      "phone_numbers": [{"phone_number": "555-0101", "phone_number_type": "mobile"}, {"phone_number": "555-0102"}],
      "raw_external_data": {"Id": "0035e00000A3", "Tags__c": ["vip", "nordic"]}
    },
    {
      "id": "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e04", "external_id": null, "first_name": null, "last_name": "Quill",
      "account": null, "adresses": null, "email_adresses": null, "phone_numbers": null,
      "raw_external_data": {}
    },
    {"id": "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e05", "raw_external_data": {"IsDeleted": false}}
  ],
  "accounts": [
    {
      "id": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01", "external_id": "0015e00000B1", "name": "Birch and Harbour",
      "description": "Timber, by the ton", "industry": "Forestry", "annual_revenue": "10000000",
      "number_of_employees": 250, "website": "https://birch.example.com",
      "contacts": ["0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01", "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e03"],
      "opportunities": [
        {"opportunity_id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc01", "opportunity_stage": "Negotiation",
         "opportunity_closed": false},
        {"opportunity_id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc02", "opportunity_stage": "Won",
         "opportunity_closed": true}],
      "adresses": [
        {"street_1": "Kajen 1", "street_2": null, "city": "Gävle", "state": "X", "zip_code": "803 20",
         "country": "Sweden", "address_type": "billing"}],
      "phone_numbers": [{"phone_number": "+46 26 555 0103", "phone_number_type": "office"}],
      "last_activity_at": "2022-08-02T10:00:00Z", "external_created_at": "2020-01-01T00:00:00Z",
      "external_modified_at": "2022-08-02T10:00:00Z", "raw_external_data": {"Id": "0015e00000B1", "Tier__c": "gold"}
    },
    {
      "id": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa02", "external_id": "0015e00000B2", "name": "Lumen Orchard",
      "description": null, "industry": null, "annual_revenue": 2500000.5, "number_of_employees": "40",
      "website": null, "contacts": ["0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e02"],
      "opportunities": [
        {"opportunity_id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc03", "opportunity_stage": null}],
      "adresses": [], "phone_numbers": null, "raw_external_data": {"Id": "0015e00000B2"}
    },
    {"id": "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa03", "name": "Quiet Harbour", "raw_external_data": {}}
  ],
  "opportunities": [
    {
      "id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc01", "external_id": "0065e00000C1", "name": "Planks for the pier",
      "description": "Two seasons", "stage": "Negotiation", "amount": 10000, "close_date": "2022-10-31T00:00:00Z",
      "probability": "0.78", "expected_revenue": 7800, "expected_revenue_currency": "EUR", "is_won": false,
      "is_closed": false, "contacts": ["0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01"],
      "accounts": ["5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01"], "last_activity_at": "2022-08-02T10:00:00Z",
      "external_created_at": "2022-05-05T05:05:05Z", "external_modified_at": "2022-08-02T10:00:00Z",
      "raw_external_data": {"Id": "0065e00000C1", "NextStep": "call"}
    },
    {
      "id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc02", "external_id": "0065e00000C2", "name": "Pier repair",
      "stage": "Won", "amount": "12500.50", "close_date": "2022-02-28", "probability": 1,
      "expected_revenue": "12500.50", "expected_revenue_currency": "SEK", "is_won": true, "is_closed": true,
      "contacts": ["0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01", "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e03"],
      "accounts": ["5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01"], "raw_external_data": {"Id": "0065e00000C2"}
    },
    {
      "id": "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc03", "external_id": null, "name": "Lamps", "description": null,
      "stage": null, "amount": null, "close_date": null, "probability": 0.25, "expected_revenue": null,
      "expected_revenue_currency": null, "is_won": null, "is_closed": null, "contacts": null,
      "accounts": ["5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa02"], "raw_external_data": {"Id": "0065e00000C3"}
    }
  ]
})json";

inline constexpr std::string_view other_sample_data = R"json({
  "contacts": [
    {
      "id": "77c2f1b0-4e19-4e61-8a35-9c8b52d5dd01", "external_id": "501", "first_name": "Ines", "last_name": "Falk",
      "job_title": "\u001b[2JDirector\u009b31m\u202e",
      "account": "e4f0a9d3-2b8c-4f7e-8d61-7a0b3c9eee01",
      "email_adresses": [{"email": "ines@example.org", "email_type": "work"}], "raw_external_data": {"vid": 501}
    }
  ],
  "accounts": [
    {
      "id": "e4f0a9d3-2b8c-4f7e-8d61-7a0b3c9eee01", "external_id": "901", "name": "Copper Kettle",
      "contacts": ["77c2f1b0-4e19-4e61-8a35-9c8b52d5dd01"], "opportunities": [], "raw_external_data": {"companyId": 901}
    }
  ],
  "opportunities": []
})json";

/// An answer that is not "ok".
struct refusal : std::runtime_error {
  refusal(int with_status, const char* with_type, const std::string& message)
      : std::runtime_error(message), status(with_status), type(with_type) {}
  int status;
  const char* type;
};

inline refusal params_error(const std::string& message) { return {400, "PARAMS_ERROR", message}; }
inline refusal auth_error(const std::string& message) { return {401, "AUTH_ERROR", message}; }

/// httplib's pool of threads, with a word when a connection is accepted and, on its thread, when it is over.
class connection_queue final : public httplib::TaskQueue {
 public:
  connection_queue(std::function<void()> accepted, std::function<void()> over)
      : accepted_(std::move(accepted)), over_(std::move(over)) {}

  // Returns nothing in httplib 0.11.4, a bool in later versions.
  auto enqueue(std::function<void()> serve) -> decltype(std::declval<httplib::TaskQueue&>().enqueue(serve)) override {
    accepted_();
    return threads_.enqueue([this, serve = std::move(serve)] {
      serve();
      over_();
    });
  }
  void shutdown() override { threads_.shutdown(); }

 private:
  std::function<void()> accepted_;
  std::function<void()> over_;
  httplib::ThreadPool threads_{64};  // an open connection keeps its thread, also while it is idle
};

// What httplib's SSLServer hands out to be configured: a reference up to 0.30, an untyped pointer since 0.31.
inline SSL_CTX* as_context(SSL_CTX& context) { return &context; }
inline SSL_CTX* as_context(void* context) { return static_cast<SSL_CTX*>(context); }
// 0.31 to 0.42 have a constructor for either, which a generic lambda cannot choose between.
using by_pointer = std::function<bool(void*)>;
using set_up_context = std::conditional_t<std::is_constructible_v<httplib::SSLServer, by_pointer>, by_pointer,
                                          std::function<bool(SSL_CTX&)>>;

// 0.40 takes what follows a request without a length for its body, unless it was read.
template <class Request> void mark_as_read(const Request& request) {
  if constexpr (requires { request.body_consumed_; }) const_cast<Request&>(request).body_consumed_ = true;
}

/// In lower case, as far as ASCII goes.
inline std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

inline std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

inline bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (is_dash ? text[i] != '-' : std::string_view("0123456789abcdefABCDEF").find(text[i]) == text.npos) return false;
  }
  return true;
}

/// The text of a field in lower case, "" if it is absent or null.
inline std::string lower_field(const nlohmann::json& record, const char* field) {
  const auto found = record.find(field);
  return found != record.end() && found->is_string() ? lower(found->get<std::string>()) : "";
}

inline std::string path_of(const httplib::Request& request) {
  // Not Request::path, which is decoded: an encoded slash must not separate.
  return request.target.substr(0, request.target.find('?'));
}

inline void check_parameters(const httplib::Request& request, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : request.params) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw params_error("unknown query parameter: " + name);
    }
    if (request.params.count(name) != 1) throw params_error("query parameter given more than once: " + name);
  }
}

/// The value of a parameter that has to be there and a number from 0 to `maximum`.
inline std::size_t number_parameter(const httplib::Request& request, std::string_view name, std::size_t maximum) {
  check_parameters(request, {name});
  const std::string text = request.get_param_value(std::string(name).c_str());
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > maximum) {
    throw params_error("wants " + std::string(name) + ", from 0 to " + std::to_string(maximum));
  }
  return number;
}

inline bool wants_raw_data(const httplib::Request& request) {
  if (!request.has_param("include_raw")) return false;
  const std::string value = request.get_param_value("include_raw");
  if (value != "true" && value != "false") throw params_error("include_raw is either true or false");
  return value == "true";
}

/// Whether one of the record's addresses is in the list.
inline bool has_email(const nlohmann::json& record, const std::string& list) {
  const auto addresses = record.find("email_adresses");
  if (addresses == record.end()) return false;
  const std::vector<std::string> wanted = split(lower(list));
  return std::any_of(addresses->begin(), addresses->end(), [&](const nlohmann::json& address) {
    return std::find(wanted.begin(), wanted.end(), lower_field(address, "email")) != wanted.end();
  });
}

inline bool has_account(const nlohmann::json& record, const std::string& list) {
  const std::vector<std::string> wanted = split(lower(list));
  if (!std::all_of(wanted.begin(), wanted.end(), is_uuid)) throw params_error("account wants ids, which are UUIDs");
  return std::find(wanted.begin(), wanted.end(), lower_field(record, "account")) != wanted.end();
}

inline bool has_name(const nlohmann::json& record, const std::string& part) {
  constexpr std::array fields{"first_name", "last_name", "name"};  // no record has both kinds of names
  return std::any_of(fields.begin(), fields.end(), [&](const char* field) {
    return lower_field(record, field).find(lower(part)) != std::string::npos;
  });
}

inline bool matches(const nlohmann::json& record, const httplib::Request& request) {
  bool all = true;  // every filter is looked at, so that a bad one is an error whatever the others say
  for (const auto& [name, value] : request.params) {
    if (name == "email") all = has_email(record, value) && all;
    if (name == "account") all = has_account(record, value) && all;
    if (name == "name") all = has_name(record, value) && all;
  }
  return all;
}

inline nlohmann::json shown(nlohmann::json record, bool with_raw_data) {
  if (!with_raw_data) record.erase("raw_external_data");
  return record;
}

/// The answer to `crm/<rest>`.
inline nlohmann::json crm_result(const nlohmann::json& data, const httplib::Request& request, std::string_view rest) {
  const std::size_t slash = rest.find('/');
  const auto records = data.find(std::string(rest.substr(0, slash)));
  if (records == data.end()) throw params_error("the CRM has contacts, accounts and opportunities");
  if (request.method != "GET") throw params_error("CRM resources can only be read, use GET");
  const bool is_list = slash == rest.npos;
  if (!is_list) {
    check_parameters(request, {"include_raw"});
  } else if (records.key() == "contacts") {
    check_parameters(request, {"email", "account", "name", "include_raw"});
  } else {
    check_parameters(request, {"name", "include_raw"});
  }
  const bool with_raw_data = wants_raw_data(request);
  nlohmann::json found = nlohmann::json::array();
  if (is_list) {
    for (const auto& record : *records) {
      if (matches(record, request)) found.push_back(shown(record, with_raw_data));
    }
    return found;
  }
  const std::string_view id = rest.substr(slash + 1);
  if (!is_uuid(id)) throw params_error("the id is not a UUID");
  for (const auto& record : *records) {
    if (record["id"] == lower(std::string(id))) return shown(record, with_raw_data);
  }
  throw params_error("there is no record with this id in " + records.key());
}

/// What arrived, for clients to compare with what they meant to send. Bytes that are not UTF-8 are replaced.
inline nlohmann::json echo(const httplib::Request& request) {
  nlohmann::json headers = nlohmann::json::object();
  for (const auto& [name, value] : request.headers) {
    // httplib 0.11.4 adds these four.
    if (name == "REMOTE_ADDR" || name == "REMOTE_PORT" || name == "LOCAL_ADDR" || name == "LOCAL_PORT") continue;
    nlohmann::json& header = headers[lower(name)];
    header = header.is_null() ? value : header.get<std::string>() + ", " + value;
  }
  return {{"method", request.method}, {"target", request.target}, {"headers", headers}, {"body", request.body}};
}

}  // namespace detail

// ---- Starting and stopping -----------------------------------------------------------------------------------------

inline local_nango::local_nango(local_nango_options options)
    : options_(std::move(options)),
      authority_(make_authority()),
      certificate_(options_.certificate, authority_),
      ca_file_(authority_.pem()) {
  users_[user_token()].data = nlohmann::json::parse(detail::sample_data);
  users_[other_user_token()].data = nlohmann::json::parse(detail::other_sample_data);
  for (std::size_t i = 0; i < options_.more_users; ++i) {
    users_[numbered_token(i)].data = users_[other_user_token()].data;
  }
  const sigpipe_guard guard;
  server_ = std::make_unique<httplib::SSLServer>(
      detail::set_up_context([this](auto&& context) { return set_up_tls(detail::as_context(context)); }));
  configure();
  port_ = server_->bind_to_any_port("127.0.0.1");
  // httplib 0.11.4 lets only five connections wait, and the next one then tries again only after a second.
  if (port_ <= 0 || ::listen(listening_socket_, 128) != 0) throw std::runtime_error("cannot listen");
  thread_ = std::thread([this] { server_->listen_after_bind(); });
  if (started_.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready) return;
  close();
  throw std::runtime_error("the server does not start");
}

inline local_nango::~local_nango() { close(); }

inline void local_nango::configure() {
  server_->set_socket_options(
      [this](auto socket) { listening_socket_ = static_cast<int>(socket); });  // without httplib's SO_REUSEPORT
  server_->set_tcp_nodelay(true);
  server_->set_keep_alive_max_count(1'000'000'000);
  server_->set_keep_alive_timeout(options_.keep_alive.count());
  server_->new_task_queue = [this] {
    auto queue = std::make_unique<detail::connection_queue>(
        [this] {
          const std::lock_guard lock(mutex_);
          ++connections_;
        },
        [this] { forget_connection(); });
    started_.set_value();
    return queue.release();
  };
  const auto handler = [this](const auto& request, auto& response) { answer(request, response); };
  // A request without a body is answered before routing. That is done by std::regex, which recurses with every
  // character (so 0.53.1 does not route long paths), and 0.11.4 would first wait for a POST without length to end.
  server_->set_pre_routing_handler([handler](const auto& request, auto& response) {
    if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    detail::mark_as_read(request);
    handler(request, response);
    return httplib::Server::HandlerResponse::Handled;
  });
  server_->Get(".*", handler).Post(".*", handler).Put(".*", handler).Patch(".*", handler).Delete(".*", handler);
  server_->set_error_handler([handler](const auto& request, auto& response) {
    if (response.status == 404 && response.body.empty()) handler(request, response);  // nothing was routed
  });
  // httplib 0.53.1 would end the connection with every error, 0.11.4 with none.
  server_->set_post_routing_handler([](const auto& request, auto& response) {
    const bool is_ours = !response.body.empty();
    if (is_ours && request.get_header_value("Connection") != "close") response.headers.erase("Connection");
  });
}

inline void local_nango::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (const auto& connection : sockets_) shut_down(connection.second);
  }
  closing_changed_.notify_all();
  // Ends accept() on Linux. httplib's stop() also closes the socket, whose number may then be somebody else's when
  // the thread comes to call accept(), and 0.11.4's does nothing before the thread has got that far.
  if (listening_socket_ >= 0 && ::shutdown(listening_socket_, shut_both) != 0) server_->stop();
  if (thread_.joinable()) thread_.join();
}

inline bool local_nango::set_up_tls(SSL_CTX* context) {
  SSL_CTX_set_ex_data(context, 0, this);
  SSL_CTX_set_info_callback(context, handshake_started);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_use_certificate(context, certificate_.x509()) == 1 &&
         SSL_CTX_use_PrivateKey(context, certificate_.key()) == 1;
}

// The earliest moment at which a connection's socket can be had, still before the first byte is read.
inline void local_nango::handshake_started(const SSL* connection, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_START) == 0) return;
  auto* self = static_cast<local_nango*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), 0));
  self->remember_connection(SSL_get_fd(connection));
}

inline void local_nango::remember_connection(int socket) {
  const std::lock_guard lock(mutex_);
  const auto [connection, is_new] = sockets_.try_emplace(std::this_thread::get_id(), -1);
  // A duplicate, since httplib closes its own without a word and the number may then be somebody else's.
  if (is_new) connection->second = duplicate_socket(socket);
  if (closing_) shut_down(connection->second);
}

inline void local_nango::forget_connection() {
  const std::lock_guard lock(mutex_);
  const auto connection = sockets_.find(std::this_thread::get_id());
  if (connection == sockets_.end()) return;
  close_socket(connection->second);
  sockets_.erase(connection);
}

// ---- Answering -----------------------------------------------------------------------------------------------------

inline void local_nango::answer(const httplib::Request& request, httplib::Response& response) {
  response.set_header("X-Request-Id", "r-" + std::to_string(++answers_));
  if (detail::path_of(request).rfind("/v1/", 0) != 0) return hosted_.answer(request, response);
  nlohmann::json body;
  try {
    body = {{"status", "ok"}, {"result", result_of(request)}};
    response.status = 200;
  } catch (const detail::refusal& error) {
    body = {{"status", "error"}, {"error_type", error.type}, {"error_msg", error.what()}};
    response.status = error.status;
    if (error.status == 429) response.set_header("Retry-After", "1");
  }
  response.set_content(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "application/json");
}

inline nlohmann::json local_nango::result_of(const httplib::Request& request) {
  {
    const std::lock_guard lock(mutex_);
    ++total_requests_;
  }
  if (!request.has_header("Authorization")) throw detail::auth_error("the Authorization header is missing");
  const std::string authorization = request.get_header_value("Authorization");
  if (authorization.rfind("Bearer ", 0) != 0) throw detail::auth_error("the Authorization header is not a Bearer one");
  if (authorization != "Bearer " + api_key()) throw detail::auth_error("the API key is unknown");

  const std::string path = detail::path_of(request);
  const bool is_crm = path.rfind("/v1/crm/", 0) == 0;
  user* const owner = find_user(request, is_crm);
  if (owner != nullptr) admit(owner->seen);
  if (is_crm) return detail::crm_result(owner->data, request, std::string_view(path).substr(8));
  return test_result(request, path);
}

inline local_nango::user* local_nango::find_user(const httplib::Request& request, bool is_required) {
  const auto found = users_.find(request.get_header_value("X-User-Account"));
  if (found != users_.end()) return &found->second;
  if (!is_required) return nullptr;
  if (!request.has_header("X-User-Account")) throw detail::auth_error("the X-User-Account header is missing");
  throw detail::auth_error("the user token is unknown");
}

inline void local_nango::admit(traffic& seen) {
  const std::lock_guard lock(mutex_);
  const clock::time_point now = options_.now();
  const auto drop_older = [&](std::deque<clock::time_point>& times) {
    while (!times.empty() && now - times.front() >= options_.window) times.pop_front();
  };
  drop_older(seen.arrived);
  drop_older(seen.answered);
  ++seen.requests;
  seen.arrived.push_back(now);
  // The fullest window can always be moved back until it ends with an arrival, so none is missed here.
  seen.most_in_a_window = (std::max)(seen.most_in_a_window, seen.arrived.size());
  if (seen.answered.size() < options_.limit) {
    seen.answered.push_back(now);
    return;
  }
  ++seen.refused;
  throw detail::refusal(429, "RATE_LIMIT_ERROR", "too many requests for this user token");  // no page names a type
}

inline nlohmann::json local_nango::test_result(const httplib::Request& request, std::string_view path) {
  if (path == "/v1/test/echo") return detail::echo(request);
  if (path == "/v1/test/bytes") return std::string(detail::number_parameter(request, "count", 100'000'000), 'x');
  if (path == "/v1/test/processing-error") {
    throw detail::refusal(500, "PROCESSING_ERROR", "this is the error that was asked for");
  }
  if (path != "/v1/test/sleep") throw detail::params_error("there is nothing at this path");
  sleep_for(std::chrono::milliseconds(detail::number_parameter(request, "ms", 3'600'000)));
  return nullptr;
}

inline void local_nango::sleep_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  closing_changed_.wait_for(lock, time, [this] { return closing_; });
}

// ---- Counters ------------------------------------------------------------------------------------------------------

inline local_nango::traffic local_nango::traffic_of(const std::string& token) const {
  const std::lock_guard lock(mutex_);
  const auto found = users_.find(token);
  return found == users_.end() ? traffic{} : found->second.seen;
}

inline std::size_t local_nango::total_requests() const {
  const std::lock_guard lock(mutex_);
  return total_requests_;
}

inline std::size_t local_nango::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}

}  // namespace nango_test
