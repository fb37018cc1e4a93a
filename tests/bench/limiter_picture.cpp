// Draws what a server sees: the requests of one user in the second that ends at each moment, with this header's
// limiter, with a token bucket of the same rate, and with none. Writes limiter.svg to standard output, and the figures
// to standard error; fails when this header's limiter let too many through.
//
// 16 threads call a local HTTPS server as fast as they are let. Between two moments the network stands still: what is
// sent then arrives when it goes on.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "buckets.hpp"
#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using namespace std::chrono_literals;
using nango_bench::time_point;
using seconds = std::chrono::duration<double>;

constexpr std::size_t limit = 100;
constexpr auto run_time = 7s;
constexpr auto stall_begins = 3'400ms, stall_ends = 3'800ms;

// --- Measuring ---

struct measured {
  std::string name{}, color{};
  std::vector<double> arrivals{};  // in seconds after the first
};

// A way to the server on which, once, nothing moves for a while.
struct network {
  nango::httplib_backend inner;
  time_point start;

  nango::result<nango::http_response> send(const nango::http_request& request) {
    if (const auto now = nango::steady_clock::now(); now >= start + stall_begins && now < start + stall_ends) {
      std::this_thread::sleep_until(start + stall_ends);
    }
    return inner.send(request);
  }
};

template <class Limiter> measured measure(std::string name, std::string color, Limiter limiter) {
  std::vector<time_point> seen;
  const auto on_arrival = [&] { return seen.emplace_back(nango::steady_clock::now()); };
  nango_test::local_nango server({.limit = static_cast<std::size_t>(-1), .now = on_arrival});
  const nango::client_options options{.api_key = server.api_key(),
                                      .user_token = server.user_token(),
                                      .base_url = server.base_url(),
                                      .ca_file = server.ca_file()};
  const auto start = nango::steady_clock::now();
  const nango::basic_client<network, Limiter> api(options, network{nango::httplib_backend(options), start},
                                                  std::move(limiter));
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      while (nango::steady_clock::now() < start + run_time) static_cast<void>(api.get("crm/contacts"));
    });
  }
  for (auto& thread : threads) thread.join();
  measured result{std::move(name), std::move(color), {}};
  for (const auto t : seen) result.arrivals.push_back(seconds(t - seen.front()).count());
  return result;
}

// In the second that ends at `t`.
std::size_t count_at(const measured& m, double t) {
  const auto after = [&](double moment) { return std::upper_bound(m.arrivals.begin(), m.arrivals.end(), moment); };
  return static_cast<std::size_t>(after(t) - after(t - 1));
}
std::size_t most(const measured& m) {
  std::size_t result = 0;
  for (const auto t : m.arrivals) result = (std::max)(result, count_at(m, t));
  return result;
}

// --- Drawing ---

constexpr double left = 60, right = 840, top = 60, bottom = 360, highest = 250;
constexpr double last = seconds(run_time).count();

double x_of(double t) { return left + (right - left) * t / last; }
double y_of(double count) { return bottom - (bottom - top) * (std::min)(count, highest) / highest; }

std::string text(double x, double y, std::string_view what, std::string_view more = "") {
  std::ostringstream out;
  out << "<text x=\"" << x << "\" y=\"" << y << "\" " << more << '>' << what << "</text>\n";
  return out.str();
}
std::string line(double x1, double y1, double x2, double y2, std::string_view how) {
  std::ostringstream out;
  out << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2 << "\" " << how << "/>\n";
  return out.str();
}

void draw_axes(std::ostream& out) {
  for (int count = 0; count <= static_cast<int>(highest); count += 50) {
    out << line(left, y_of(count), right, y_of(count), "stroke=\"#ddd\"")
        << text(left - 8, y_of(count) + 4, std::to_string(count), "text-anchor=\"end\"");
  }
  for (int t = 0; t <= static_cast<int>(last); ++t) {
    out << text(x_of(t), bottom + 18, std::to_string(t) + " s", "text-anchor=\"middle\"");
  }
  const double from = x_of(seconds(stall_begins).count()), to = x_of(seconds(stall_ends).count());
  out << "<rect x=\"" << from << "\" y=\"" << top << "\" width=\"" << to - from << "\" height=\"" << bottom - top
      << "\" fill=\"#eee\"/>\n"
      << text((from + to) / 2, top + 14, "the network", "text-anchor=\"middle\" fill=\"#777\"")
      << text((from + to) / 2, top + 28, "stands still", "text-anchor=\"middle\" fill=\"#777\"")
      << line(left, y_of(limit), right, y_of(limit), "stroke=\"#c00\" stroke-dasharray=\"6 4\"")
      << text(right + 6, y_of(limit) + 4, "limit", "fill=\"#c00\"");
}

void draw(std::ostream& out, const measured& m, double legend_x) {
  out << "<polyline fill=\"none\" stroke=\"" << m.color << "\" stroke-width=\"2\" points=\"";
  for (double t = 0; t <= last; t += 0.01) out << x_of(t) << ',' << y_of(static_cast<double>(count_at(m, t))) << ' ';
  const auto name = m.name + ": at most " + std::to_string(most(m));
  out << "\"/>\n"
      << line(legend_x, 42, legend_x + 24, 42, "stroke-width=\"3\" stroke=\"" + m.color + '"')
      << text(legend_x + 30, 46, name);
}

void draw_all(std::ostream& out, const std::vector<measured>& all) {
  out << std::fixed << std::setprecision(1)
      << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 890 390\" font-family=\"sans-serif\" "
         "font-size=\"13\">\n<rect width=\"890\" height=\"390\" fill=\"#fff\"/>\n"
      << text(left, 22, "Requests of one user in the second before each moment, as the server saw them",
              "font-size=\"15\" font-weight=\"bold\"");
  draw_axes(out);
  double legend_x = left;
  for (const auto& m : all) draw(out, m, std::exchange(legend_x, legend_x + 265));
  out << "</svg>\n";
}

}  // namespace

int main() {
  const nango::rate rate{.requests = limit};
  const std::vector<measured> all{measure("no limiter", "#999", nango::unlimited()),
                                  measure("token bucket", "#e08a00", nango_bench::token_bucket(rate)),
                                  measure("nango.hpp", "#0a6", nango::sliding_window(rate))};
  for (const auto& m : all) {
    std::cerr << m.name << ": " << m.arrivals.size() << " requests, at most " << most(m) << " in a second\n";
  }
  draw_all(std::cout, all);
  return most(all.back()) <= limit ? 0 : 1;
}
