// A service for thousands of end users with one API key: 16 threads share one client, which keeps each user within the
// API's limit and each call within its deadline. Ctrl-C cancels the calls in flight.
//
//   many_users [users] [calls for each]      # default: 2000 and 3, against a local server of the API that this starts

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using std::chrono::steady_clock;

// [interrupted]
nango::cancel_source interrupted;  // exists before the handler is set
void on_interrupt(int) {
  interrupted.cancel();          // is async-signal-safe
  std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C kills
}
// [end]

struct totals {
  std::atomic<std::size_t> done = 0, records = 0, requests = 0, waited_ms = 0;
  std::mutex mutex{};
  std::map<std::string, std::size_t> errors{};  // by code; guarded by the mutex
};

// [many users]
// Threads share the client. Each call uses a handle of its user, which is cheap to make.
void work(const nango::client& api, const std::vector<std::string>& tokens, std::size_t calls, std::size_t& next,
          std::mutex& next_mutex, const nango::cancel_token& cancel, totals& sum) {
  for (;;) {
    std::size_t turn = 0;
    {
      const std::lock_guard lock(next_mutex);
      if (next == tokens.size() * calls || cancel.canceled()) return;
      turn = next++;
    }
    const auto contacts = nango::crm::list_contacts(api.user(tokens[turn % tokens.size()]), {}, {.cancel = cancel});
    ++sum.done;
    if (contacts) {
      sum.records += contacts->size();
    } else {
      const std::lock_guard lock(sum.mutex);
      ++sum.errors[std::string(to_string(contacts.error().code))];
    }
  }
}
// [end]

void show_progress(const totals& sum, std::size_t all, steady_clock::time_point began) {
  const std::chrono::duration<double> spent = steady_clock::now() - began;
  const auto done = sum.done.load();
  std::cerr << '\r' << done << " of " << all << " calls, "
            << static_cast<long>(static_cast<double>(done) / spent.count()) << " a second   " << std::flush;
}

std::size_t number(int argc, char** argv, int at, std::size_t usual) {
  std::size_t value = 0;
  const std::string_view text = at < argc ? argv[at] : "";
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = failure == std::errc() && end == text.data() + text.size() && value >= 1 && value <= 1'000'000;
  return at >= argc ? usual : good ? value : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto users = number(argc, argv, 1, 2'000), calls = number(argc, argv, 2, 3);
  if (users == 0 || calls == 0 || argc > 3) {
    std::cerr << "usage: many_users [users] [calls for each], each from 1 to 1000000\n";
    return 2;
  }
  const nango_test::local_nango server({.more_users = users});
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < users; ++i) tokens.push_back(server.numbered_token(i));

  totals sum;
  nango::client_options options{
      .api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()};
  options.on_attempt = [&sum](const nango::attempt& seen) {  // from many threads at once
    ++sum.requests;
    sum.waited_ms += static_cast<std::size_t>(std::chrono::round<std::chrono::milliseconds>(seen.waited).count());
  };
  const nango::client api(options);

  std::signal(SIGINT, on_interrupt);

  const auto cancel = interrupted.token();
  std::size_t next = 0;
  std::mutex next_mutex;
  std::vector<std::thread> threads;
  const auto began = steady_clock::now();
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] { work(api, tokens, calls, next, next_mutex, cancel, sum); });
  }
  const bool on_terminal = ::isatty(STDERR_FILENO) == 1;
  const auto all = users * calls;
  for (int look = 0; sum.done < all && !cancel.canceled(); ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (on_terminal && look % 10 == 0) show_progress(sum, all, began);
  }
  for (auto& thread : threads) thread.join();
  if (on_terminal) std::cerr << "\r\x1b[K";

  const std::chrono::duration<double> spent = steady_clock::now() - began;
  std::cout << sum.done << " calls for " << users << " users in " << spent.count()
            << " s: " << static_cast<long>(static_cast<double>(sum.done) / spent.count()) << " a second\n"
            << sum.requests << " requests, " << sum.records << " records, " << sum.waited_ms
            << " ms of waiting for turns\n";
  for (const auto& [code, count] : sum.errors) std::cout << count << " x " << code << '\n';
  if (cancel.canceled()) std::cout << "interrupted\n";
  return cancel.canceled() ? 130 : sum.errors.empty() ? 0 : 1;
}
