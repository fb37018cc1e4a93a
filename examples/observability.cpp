// What a client does, as Prometheus reads it and as structured log lines: both from client_options::on_attempt, which
// is told of each attempt, and never of a secret.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <map>
#include <mutex>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using seconds = std::chrono::duration<double>;

// A path without what makes each of them another, so that there are few: "crm/contacts/:id".
std::string route_of(std::string_view path) {
  std::string route;
  while (!path.empty()) {
    const auto segment = path.substr(0, path.find('/'));
    const bool is_word = segment.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string_view::npos;
    if (!segment.empty()) (route += route.empty() ? "" : "/") += is_word ? std::string(segment) : ":id";
    path.remove_prefix(segment.size() < path.size() ? segment.size() + 1 : path.size());
  }
  return route;
}

std::string_view outcome_of(const nango::attempt& seen) { return seen.outcome ? to_string(*seen.outcome) : "ok"; }

// How many values were at most so large.
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

// May be told and printed by many threads at once.
class metrics {
 public:
  void add(const nango::attempt& seen) {
    const auto route = route_of(seen.path);
    const std::lock_guard lock(mutex_);
    ++attempts_[{std::string(seen.method), route, std::string(outcome_of(seen))}];
    auto& times = times_[route];
    times.first.add(seen.elapsed);
    times.second.add(seen.waited);
  }
  // The text format of Prometheus. Labels need no escapes: routes and methods have none of the characters that would.
  std::string page() const {
    std::ostringstream out;
    const std::lock_guard lock(mutex_);
    out << "# HELP nango_attempts_total Requests sent, by what came of them.\n# TYPE nango_attempts_total counter\n";
    for (const auto& [labels, count] : attempts_) {
      const auto& [method, route, outcome] = labels;
      out << "nango_attempts_total{method=\"" << method << "\",route=\"" << route << "\",outcome=\"" << outcome
          << "\"} " << count << '\n';
    }
    print(out, "nango_attempt_seconds", "From the request to its answer.", &histograms::first);
    print(out, "nango_limiter_wait_seconds", "Waiting for the rate limiter.", &histograms::second);
    return out.str();
  }

 private:
  using histograms = std::pair<histogram, histogram>;
  void print(std::ostream& out, const std::string& name, const char* help, histogram histograms::*which) const {
    out << "# HELP " << name << ' ' << help << "\n# TYPE " << name << " histogram\n";
    for (const auto& [route, times] : times_) (times.*which).print(out, name, "route=\"" + route + '"');
  }

  mutable std::mutex mutex_{};
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> attempts_{};
  std::map<std::string, histograms> times_{};
};

// [log line]
// One line of JSON for each attempt. What it is told has no key, no token, no query, no body.
std::string log_line(const nango::attempt& seen) {
  nango::json line{{"method", std::string(seen.method)},
                   {"path", std::string(seen.path)},
                   {"attempt", seen.number},
                   {"status", seen.http_status},
                   {"outcome", std::string(outcome_of(seen))},
                   {"waited_ms", std::chrono::round<std::chrono::milliseconds>(seen.waited).count()},
                   {"elapsed_ms", std::chrono::round<std::chrono::milliseconds>(seen.elapsed).count()}};
  if (seen.retry_in) line["retry_in_ms"] = seen.retry_in->count();
  return line.dump(-1, ' ', false, nango::json::error_handler_t::replace);
}
// [end]

}  // namespace

int main() {
  const nango_test::local_nango server;
  metrics seen_by_prometheus;
  std::mutex log_mutex;
  // [on_attempt]
  nango::client_options options{
      .api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()};
  options.on_attempt = [&](const nango::attempt& seen) {  // on the calling thread, from many at once
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
        static_cast<void>(nango::crm::get_contact(user, contact.id));
      }
      static_cast<void>(user.get("test/processing-error"));
      static_cast<void>(api.user("nobody").get("crm/accounts"));
    });
  }
  for (auto& thread : threads) thread.join();
  std::cout << seen_by_prometheus.page();
  return 0;
}
