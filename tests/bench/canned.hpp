// Calls over a backend that has its answer ready: all of a call is there but the wire. What instructions.cpp and
// allocations.cpp have in common.
#ifndef NANGO_TESTS_CANNED_HPP
#define NANGO_TESTS_CANNED_HPP

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "nango.hpp"

namespace nango_bench {

/// Two contacts.
inline constexpr std::string_view canned_envelope =
    R"({"status":"ok","result":[{"id":"5f0c6d1e-93b4-4d0b-8a51-2f6f0f0f7c11","name":"Rolf Hansen","first_name":"Rolf",)"
    R"("last_name":"Hansen","emails":[{"address":"rolf.hansen@example.com","type":"work"}],"company":"Fjord Shipping",)"
    R"("created_at":1672531200,"score":0.75,"archived":false},{"id":"b21f0c7a-6f0e-4b52-9a53-7f30c4f1d2aa","name":)"
    R"("Ingrid Berg","first_name":"Ingrid","last_name":"Berg","emails":[{"address":"ingrid.berg@example.com","type":)"
    R"("work"}],"company":"Berg Consulting Ltd","created_at":1675209600,"score":12.5,"archived":false}]})";
static_assert(canned_envelope.size() == 535);

struct canned_backend {
  std::string body{canned_envelope};
  nango::result<nango::http_response> send(const nango::http_request&) {
    return nango::http_response{.status = 200, .body = body};
  }
};

/// Goes 10 ms with each reading, so that a call finds the same recent ones in the limiter wherever it is measured; and
/// reads the true clock all the same, for its cost.
struct counted_clock {
  using time_point = std::chrono::steady_clock::time_point;
  static time_point now() noexcept {
    static_cast<void>(std::chrono::steady_clock::now());
    return time = time + std::chrono::milliseconds(10);
  }
  static bool wait_until(std::condition_variable&, std::unique_lock<std::mutex>&, time_point t) {
    time = (std::max)(time, t);
    return false;
  }
  static inline time_point time{std::chrono::hours(1)};
};

using canned_client = nango::basic_client<canned_backend, nango::basic_sliding_window<counted_clock>>;

inline void expect(bool succeeded) {
  if (!succeeded) std::abort();
}

/// Calls part(name, f) for each kind of call, and for what it is compared with.
template <class Part> void each_part(const Part& part) {
  const std::string text(canned_envelope);
  const nango::json body{{"name", "Rolf Hansen"}, {"email", "rolf.hansen@example.com"}, {"tags", {"new", "imported"}}};
  constexpr std::string_view token = "6b693b41-bf22-42e6-aa31-b75cd41749ab";
  const canned_client api({.api_key = "7f3c2a9e5b8d4c6f9a1e0b2d3c4f5a6b"}, canned_backend());
  const auto user = api.user(token);
  canned_backend backend;

  part("parse", [&] { expect(nango::json::parse(text).is_object()); });
  part("dump", [&] { expect(!body.dump().empty()); });
  part("backend", [&] { expect(backend.send({}).has_value()); });
  part("get", [&] { expect(api.get("crm/contacts").has_value()); });
  part("get, user", [&] { expect(user.get("crm/contacts").has_value()); });
  part("get, user made each time", [&] { expect(api.user(token).get("crm/contacts").has_value()); });
  part("get, user, query", [&] { expect(user.get("crm/contacts", {{"name", "Rolf"}, {"limit", 50}}).has_value()); });
  part("post", [&] { expect(api.post("crm/contacts", body).has_value()); });
  part("post, user", [&] { expect(user.post("crm/contacts", body).has_value()); });
  part("send, user", [&] { expect(user.send("GET", "crm/contacts").has_value()); });
}

}  // namespace nango_bench

#endif
