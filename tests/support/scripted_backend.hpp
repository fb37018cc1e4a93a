// A backend that answers from a script and remembers what it was asked.
#ifndef NANGO_TESTS_SCRIPTED_BACKEND_HPP
#define NANGO_TESTS_SCRIPTED_BACKEND_HPP

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nango.hpp"

namespace nango_test {

/// One request as the backend got it.
struct seen_request {
  std::string method{}, url{}, body{};
  nango::headers headers{};
  std::chrono::steady_clock::time_point deadline{};
  std::size_t max_response_bytes = 0;

  /// The value of a header; "" where there is none. `count` tells how often it is there.
  std::string header(std::string_view name) const {
    for (const auto& field : headers) {
      if (field.name == name) return field.value;
    }
    return "";
  }
  std::size_t count(std::string_view name) const {
    std::size_t found = 0;
    for (const auto& field : headers) found += field.name == name ? 1U : 0U;
    return found;
  }
};

/// Copies share the script, so a test keeps one and hands one to the client. Thread-safe.
class scripted_backend {
 public:
  using step = std::function<nango::result<nango::http_response>(const nango::http_request&)>;

  scripted_backend& answer(int status, std::string body, nango::headers headers = {}) {
    return then([=](const nango::http_request&) -> nango::result<nango::http_response> {
      return nango::http_response{.status = status, .headers = headers, .body = body};
    });
  }
  scripted_backend& ok(const nango::json& result = nullptr) {
    return answer(200, nango::json{{"status", "ok"}, {"result", result}}.dump());
  }
  scripted_backend& fail(nango::error e) {
    return then([=](const nango::http_request&) -> nango::result<nango::http_response> { return e; });
  }
  scripted_backend& then(step next) {
    const std::lock_guard lock(script_->mutex);
    script_->steps.push_back(std::move(next));
    return *this;
  }
  /// What to do when the script has come to its end; without it, the test fails with a message that says so.
  scripted_backend& always(step next) {
    const std::lock_guard lock(script_->mutex);
    script_->last = std::move(next);
    return *this;
  }

  nango::result<nango::http_response> send(const nango::http_request& request) {
    step next;
    {
      const std::lock_guard lock(script_->mutex);
      script_->seen.push_back({std::string(request.method),
                               std::string(request.url),
                               std::string(request.body),
                               {request.headers.begin(), request.headers.end()},
                               request.deadline,
                               request.max_response_bytes});
      next = script_->last;
      if (!script_->steps.empty()) {
        next = std::move(script_->steps.front());
        script_->steps.pop_front();
      }
    }
    if (next) return next(request);
    return nango::error{.code = nango::errc::api_error, .message = "the script has no answer left"};
  }

  std::vector<seen_request> requests() const {
    const std::lock_guard lock(script_->mutex);
    return script_->seen;
  }
  std::size_t calls() const { return requests().size(); }
  seen_request last() const { return requests().back(); }

 private:
  struct script {
    std::mutex mutex{};
    std::deque<step> steps{};
    step last{};
    std::vector<seen_request> seen{};
  };
  std::shared_ptr<script> script_ = std::make_shared<script>();
};

/// A client over a script, without a limit and with waits that take no real time unless the types say otherwise.
inline nango::client_options test_options() {
  return {.api_key = "secret-test-key-0123456789", .base_url = "https://api.example.com/v1/"};
}

}  // namespace nango_test

#endif
