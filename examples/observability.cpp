// Shows what a client does, as metrics for Prometheus and as structured log lines. Both come from
// client_options::on_attempt, which sees each attempt and never a secret. With --verbose it prints one call as `curl
// -v` does, by a backend around a backend.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <mutex>
#include <ostream>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using seconds = std::chrono::duration<double>;

// True if the path matches the route, in which `:id` stands for any segment.
bool is_of(std::string_view route, std::string_view path) {
  for (;;) {
    const auto wanted = route.substr(0, route.find('/')), segment = path.substr(0, path.find('/'));
    if (wanted != ":id" && wanted != segment) return false;
    const bool route_ends = wanted.size() == route.size(), path_ends = segment.size() == path.size();
    if (route_ends || path_ends) return route_ends && path_ends;
    route.remove_prefix(wanted.size() + 1);
    path.remove_prefix(segment.size() + 1);
  }
}

// Prometheus keeps a time series for each label value that it ever saw. A path has ids in it and perhaps what users
// typed, so it counts as one of the routes that this program calls, or as "other".
std::string_view route_of(std::string_view path) {
  static constexpr std::array<std::string_view, 6> routes{"crm/contacts",      "crm/contacts/:id",
                                                          "crm/accounts",      "crm/accounts/:id",
                                                          "crm/opportunities", "crm/opportunities/:id"};
  if (path.starts_with('/')) path.remove_prefix(1);
  const auto found = std::find_if(routes.begin(), routes.end(), [&](auto route) { return is_of(route, path); });
  return found == routes.end() ? "other" : *found;
}

std::string_view method_of(std::string_view method) {  // a program may send any token as its method
  static constexpr std::array<std::string_view, 6> methods{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
  return std::find(methods.begin(), methods.end(), method) == methods.end() ? "other" : method;
}

std::string_view outcome_of(const nango::attempt& seen) { return seen.outcome ? to_string(*seen.outcome) : "ok"; }

// name="value" in the text format of Prometheus.
std::string label(std::string_view name, std::string_view value) {
  std::string text = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? "\\n" : std::string(1, c);
  }
  return text + '"';
}

// Counts the values up to each bound.
class histogram {
 public:
  void add(seconds value) {
    for (std::size_t i = 0; i < bounds.size(); ++i) counts_[i] += value.count() <= bounds[i] ? 1U : 0U;
    ++count_;
    sum_ += value.count();
  }
  void print(std::ostream& out, const std::string& name, const std::string& labels) const {
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      out << name << "_bucket{" << labels << ",le=\"" << bounds[i] << "\"} " << counts_[i] << '\n';
    }
    out << name << "_bucket{" << labels << ",le=\"+Inf\"} " << count_ << '\n'
        << name << "_sum{" << labels << "} " << sum_ << '\n'
        << name << "_count{" << labels << "} " << count_ << '\n';
  }

 private:
  static constexpr std::array<double, 8> bounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5};
  std::array<std::size_t, bounds.size()> counts_{};
  std::size_t count_ = 0;
  double sum_ = 0;
};

// Many threads may add and print at once.
class metrics {
 public:
  // `app` distinguishes programs that are scraped together.
  explicit metrics(std::string_view app) : app_(label("app", app)) {}

  void add(const nango::attempt& seen) {
    const auto route = app_ + ',' + label("route", route_of(seen.path));
    const auto labels = label("method", method_of(seen.method)) + ',' + label("outcome", outcome_of(seen));
    const std::lock_guard lock(mutex_);
    ++attempts_[route + ',' + labels];
    auto& times = times_[route + ',' + label("outcome", outcome_of(seen))];
    times.elapsed.add(seen.elapsed);
    times.waited.add(seen.waited);
  }
  // The text format of Prometheus, version 0.0.4.
  std::string page() const {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out << std::setprecision(15);  // a sum of many hours must still grow by milliseconds
    const std::lock_guard lock(mutex_);
    out << "# HELP nango_attempts_total Requests sent, by what came of them.\n# TYPE nango_attempts_total counter\n";
    for (const auto& [labels, count] : attempts_) out << "nango_attempts_total{" << labels << "} " << count << '\n';
    print(out, "nango_attempt_seconds", "From the request to its answer.", &histograms::elapsed);
    print(out, "nango_limiter_wait_seconds", "Waiting for the rate limiter.", &histograms::waited);
    return out.str();
  }

 private:
  struct histograms {
    histogram elapsed{}, waited{};
  };
  void print(std::ostream& out, const std::string& name, const char* help, histogram histograms::*which) const {
    out << "# HELP " << name << ' ' << help << "\n# TYPE " << name << " histogram\n";
    for (const auto& [route, times] : times_) (times.*which).print(out, name, route);
  }

  const std::string app_;
  mutable std::mutex mutex_{};
  std::map<std::string, std::size_t> attempts_{};  // by their labels
  std::map<std::string, histograms> times_{};      // by app, route and outcome
};

// [log line]
// The server's name for this request, which a support ticket should contain.
std::string request_id(const nango::attempt& seen) {
  for (const auto& [name, value] : seen.headers) {
    if (name == "X-Request-Id") return value;  // this server's spelling
  }
  return "";
}

// One line of JSON for each attempt. An attempt holds no key, no query and no body. The user token is personal data, so
// the line has only a hash of it.
std::string log_line(const nango::attempt& seen) {
  nango::json line{{"method", std::string(seen.method)},
                   {"path", std::string(seen.path)},
                   {"attempt", seen.number},
                   {"status", seen.http_status},
                   {"outcome", std::string(outcome_of(seen))},
                   {"caller", std::hash<std::string_view>()(seen.limit_key)},
                   {"request_id", request_id(seen)},
                   {"waited_ms", std::chrono::round<std::chrono::milliseconds>(seen.waited).count()},
                   {"elapsed_ms", std::chrono::round<std::chrono::milliseconds>(seen.elapsed).count()}};
  if (seen.retry_in) line["retry_in_ms"] = seen.retry_in->count();
  return line.dump(-1, ' ', false, nango::json::error_handler_t::replace);
}
// [end]

// [traceparent]
// The header that joins a call to a trace (W3C Trace Context): version, trace, span, sampled.
nango::header traceparent() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::ostringstream text;
  text << std::hex << std::setfill('0') << "00";
  text << '-' << std::setw(16) << random() << std::setw(16) << random() << '-' << std::setw(16) << random() << "-01";
  return {"traceparent", text.str()};
}
// [end]

// A backend around a backend. It prints each request and its answer, and hides the key, the user token and cookies.
template <nango::http_backend Backend> class verbose {
 public:
  verbose(Backend inner, std::ostream& out) : inner_(std::move(inner)), out_(&out) {}

  nango::result<nango::http_response> send(const nango::http_request& request) {
    std::ostringstream text;
    text << "> " << request.method << ' ' << request.url << '\n';
    print(text, "> ", request.headers);
    if (!request.body.empty()) text << request.body << '\n';
    auto answer = inner_.send(request);
    if (answer) {
      text << "< HTTP " << answer->status << '\n';
      print(text, "< ", answer->headers);
      text << answer->body << '\n';
    } else {
      text << "* " << answer.error() << '\n';
    }
    *out_ << text.str();  // in one piece, because many threads may write
    return answer;
  }

 private:
  static void print(std::ostream& out, const char* arrow, std::span<const nango::header> fields) {
    static constexpr std::array<std::string_view, 4> hidden{"Authorization", "X-User-Account", "Cookie", "Set-Cookie"};
    for (const auto& [name, value] : fields) {
      const bool hides = std::find(hidden.begin(), hidden.end(), name) != hidden.end();
      out << arrow << name << ": " << (hides ? "***" : value) << '\n';
    }
    out << arrow << '\n';
  }

  Backend inner_;
  std::ostream* out_;
};

void show_one_call(const nango_test::local_nango& server) {
  const nango::client_options options{
      .api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()};
  // [verbose client]
  const nango::basic_client<verbose<nango::httplib_backend>> api(options, {nango::httplib_backend(options), std::cout});
  const auto contact = nango::crm::get_contact(api.user(server.user_token()), "rolf");
  // [end]
  if (!contact) std::cout << contact.error() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  const nango_test::local_nango server;
  if (argc == 2 && argv[1] == std::string_view("--verbose")) return show_one_call(server), 0;
  metrics seen_by_prometheus(R"(the "nightly" import)");
  std::mutex log_mutex;
  // [on_attempt]
  nango::client_options options{
      .api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()};
  options.on_attempt = [&](const nango::attempt& seen) {  // on the calling threads, concurrently
    seen_by_prometheus.add(seen);
    const auto line = log_line(seen) + '\n';
    const std::lock_guard lock(log_mutex);
    std::clog << line;
  };
  // [end]
  options.retry.base_delay = std::chrono::milliseconds(20);
  const nango::client api(options);

  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto user = api.user(server.user_token());
      for (const auto& contact : nango::crm::list_contacts(user).value_or(std::vector<nango::crm::contact>())) {
        static_cast<void>(nango::crm::get_contact(user, contact.id, false, {.headers = {traceparent()}}));
      }
      static_cast<void>(user.get(nango::path("crm", "contacts", "rolf")));  // as a user may have typed it
      static_cast<void>(user.get("crm/colours"));
      static_cast<void>(user.get("test/processing-error"));
      static_cast<void>(api.user("nobody").get("crm/accounts"));
    });
  }
  for (auto& thread : threads) thread.join();
  std::cout << seen_by_prometheus.page();
  return 0;
}
