// A complete backend over libcurl, for programs that use libcurl anyway: copy this file. Checks, limits, retries,
// secrets and the size of an answer are handled above the backend. A backend owes verified TLS, the deadline,
// cancellation, a single sending, and the truth about what may have been executed.
//
// It differs from the default backend (tests/curl_backend.cpp has the list):
// - libcurl sends a GET, HEAD, PUT or DELETE again on a new connection when an idle one turns out closed. Other methods
//   get a new connection each.
// - A body that ends with the connection counts as whole, even without TLS's close_notify.
// - A connection that breaks in the handshake is tls_failed; bad chunks are connection_failed.
// - Some heads that are no sound HTTP are accepted.
#ifndef NANGO_EXAMPLES_CURL_BACKEND_HPP
#define NANGO_EXAMPLES_CURL_BACKEND_HPP

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"

/// Safe to use from many threads: each request takes its own handle, with that handle's idle connection.
class curl_backend {
 public:
  explicit curl_backend(const nango::client_options& options) : shared_(std::make_shared<state>()) {
    static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(initialized);
    shared_->ca_file = options.ca_file;
    shared_->proxy = options.proxy;
    shared_->connect_timeout = options.connect_timeout;
  }

  nango::result<nango::http_response> send(const nango::http_request& request) {
    if (request.cancel.canceled()) return unsent(nango::errc::canceled, "canceled before it was sent");
    if (clock::now() >= request.deadline)
      return unsent(nango::errc::timed_out, "the deadline passed before it was sent");
    auto line = shared_->take();
    if (!line.easy || !line.multi) return unsent(nango::errc::connection_failed, "libcurl gives no handle");
    exchange one{.request = request};
    const headers fields = set_up(line.easy.get(), one);
    curl_multi_add_handle(line.multi.get(), line.easy.get());
    const auto code = perform(line.multi.get(), request);
    curl_multi_remove_handle(line.multi.get(), line.easy.get());
    if (code != CURLE_OK) return failure(line.easy.get(), code, one);
    long status = 0;
    curl_easy_getinfo(line.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    one.answer.status = static_cast<int>(status);
    if (!one.head_ended) return broken(nango::errc::connection_failed, status, "it broke in the head of the answer");
    if (!one.is_http_1 || status > 599) return broken(nango::errc::malformed_response, status, "no sound status line");
    shared_->give_back(std::move(line));  // after a failure the connection is not used again
    return std::move(one.answer);
  }

 private:
  using clock = std::chrono::steady_clock;
  struct free_easy {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  };
  struct free_multi {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  struct free_list {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  using headers = std::unique_ptr<curl_slist, free_list>;

  // An easy handle, and the connections that its transfers left open.
  struct handle {
    std::unique_ptr<CURLM, free_multi> multi{curl_multi_init()};  // declared first, so that it outlives its easy handle
    std::unique_ptr<CURL, free_easy> easy{curl_easy_init()};
  };
  struct state {
    std::string ca_file{}, proxy{};
    std::chrono::milliseconds connect_timeout{};
    std::mutex mutex{};
    std::vector<handle> idle{};  // the last used at the back

    handle take() {
      const std::lock_guard lock(mutex);
      if (idle.empty()) return {};
      auto last = std::move(idle.back());
      idle.pop_back();
      return last;
    }
    void give_back(handle line) {
      const std::lock_guard lock(mutex);
      if (idle.size() < 64) idle.push_back(std::move(line));
    }
  };
  struct exchange {
    const nango::http_request& request;
    nango::http_response answer{};
    bool is_http_1 = false, head_ended = false;  // libcurl accepts other versions, and heads that break off
    bool too_large = false;
  };

  static nango::error unsent(nango::errc code, std::string message) {
    return {.code = code, .message = std::move(message), .may_have_executed = false};
  }

  static nango::error broken(nango::errc code, long status, const char* message) {
    return {.code = code, .http_status = static_cast<int>(status), .message = message};
  }

  headers set_up(CURL* easy, exchange& one) const {
    const auto& request = one.request;
    headers list;
    const auto add = [&](const std::string& line) { list.reset(curl_slist_append(list.release(), line.c_str())); };
    bool asks_for_encoding = false;
    for (const auto& [name, value] : request.headers) {
      add(value.empty() ? name + ';' : name + ": " + value);  // `name:` would remove it
      asks_for_encoding |= name.size() == 15 && curl_strequal(name.c_str(), "Accept-Encoding") != 0;
    }
    if (!asks_for_encoding) add("Accept-Encoding: identity");
    add("Expect:");  // otherwise a large body waits up to a second
    const std::string method(request.method);
    const bool idempotent = method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";

    curl_easy_reset(easy);  // keeps the connections
    curl_easy_setopt(easy, CURLOPT_URL, std::string(request.url).c_str());
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, shared_->proxy.c_str());  // "": none, whatever the environment says
    if (!shared_->ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, shared_->ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, idempotent ? 0L : 1L);  // otherwise libcurl may send it twice
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, to_ms(shared_->connect_timeout));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, to_ms(request.deadline - clock::now()));
    if (method == "HEAD") curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (!request.body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    }
    if (method != "HEAD") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list.get());
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &one);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &one);
    return list;
  }

  static long to_ms(std::chrono::nanoseconds d) {  // 0 would mean no limit
    using std::chrono::milliseconds;
    return static_cast<long>(
        std::clamp<milliseconds>(std::chrono::ceil<milliseconds>(d), milliseconds(1), std::chrono::hours(24)).count());
  }

  // Checks the token every 50 ms, because libcurl may call its progress callback only once a second.
  static CURLcode perform(CURLM* multi, const nango::http_request& request) {
    for (int running = 1; running != 0;) {
      if (curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_FAILED_INIT;
      if (running == 0) break;
      if (request.cancel.canceled()) return CURLE_ABORTED_BY_CALLBACK;
      curl_multi_poll(multi, nullptr, 0, 50, nullptr);
    }
    int left = 0;
    const auto* message = curl_multi_info_read(multi, &left);
    return message != nullptr ? message->data.result : CURLE_FAILED_INIT;
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* to) {
    auto& one = *static_cast<exchange*>(to);
    auto& fields = one.answer.headers;
    std::string_view line(data, size);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    const auto colon = line.find(':');
    one.head_ended = one.head_ended || line.empty();
    if (line.starts_with("HTTP/")) {
      one.is_http_1 = line.starts_with("HTTP/1.0 ") || line.starts_with("HTTP/1.1 ");
      one.head_ended = false;
      fields.clear();  // the previous head was an interim answer
      return size;
    }
    if (colon == std::string_view::npos) return size;
    auto value = line.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    fields.push_back({std::string(line.substr(0, colon)), std::string(value)});
    return size;
  }
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* to) {
    auto& one = *static_cast<exchange*>(to);
    one.too_large = size > one.request.max_response_bytes - one.answer.body.size();
    if (one.too_large) return 0;
    one.answer.body.append(data, size);
    return size;
  }

  static nango::error failure(CURL* easy, CURLcode code, const exchange& one) {
    curl_off_t before_sending = 0;  // time until the handshake ended; 0 if it did not
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &before_sending);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    // libcurl's clock may be some milliseconds early. A timeout before the deadline is the connect timeout.
    const bool late = before_sending > 0 || clock::now() + std::chrono::milliseconds(20) >= one.request.deadline;
    return {.code = one.too_large ? nango::errc::response_too_large : errc_of(code, late),
            .http_status = static_cast<int>(status),
            .message = std::string("libcurl: ") + curl_easy_strerror(code),
            .may_have_executed = before_sending > 0};
  }
  static nango::errc errc_of(CURLcode code, bool late) {
    switch (code) {
      case CURLE_ABORTED_BY_CALLBACK: return nango::errc::canceled;
      case CURLE_OPERATION_TIMEDOUT: return late ? nango::errc::timed_out : nango::errc::connection_failed;
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CIPHER:
      case CURLE_SSL_ISSUER_ERROR: return nango::errc::tls_failed;
      case CURLE_WEIRD_SERVER_REPLY:
      case CURLE_UNSUPPORTED_PROTOCOL:  // HTTP/0.9 or 3.0
      case CURLE_BAD_CONTENT_ENCODING:
      case CURLE_HTTP2: return nango::errc::malformed_response;
      case CURLE_OUT_OF_MEMORY: return nango::errc::response_too_large;  // a head of more than 100 KB
      default: return nango::errc::connection_failed;
    }
  }

  std::shared_ptr<state> shared_;
};

#endif
