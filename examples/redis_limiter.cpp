// Some threads that call for some seconds, as fast as they may. Start it several times, also on several machines: Redis
// keeps all of them to one limit. redis_limiter.hpp is the limiter.

#include <charconv>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"
#include "redis_limiter.hpp"

namespace {

struct arguments {
  int threads = 4, seconds = 6, share = 20;
  redis_limiter_options limiter{};
};

int number(const std::string& name, std::string_view text, int most) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_good = problem == std::errc() && end == text.data() + text.size() && value >= 1 && value <= most;
  if (!is_good) throw std::invalid_argument(name + " wants a number from 1 to " + std::to_string(most));
  return value;
}

// Throws std::invalid_argument.
arguments read(int argc, char** argv) {
  arguments wanted;
  auto& limiter = wanted.limiter;
  const std::map<std::string, std::pair<int*, int>> numbers{{"--threads", {&wanted.threads, 1000}},
                                                            {"--seconds", {&wanted.seconds, 3600}},
                                                            {"--share", {&wanted.share, 1000}}};
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (const auto found = numbers.find(name); found != numbers.end()) {
      *found->second.first = number(name, value, found->second.second);
    } else if (name == "--when-down") {
      if (value != "refuse" && value != "local") throw std::invalid_argument(name + " wants refuse or local");
      limiter.down = value == "local" ? when_down::use_local : when_down::refuse;
    } else {
      throw std::invalid_argument(name + " is unknown");
    }
  }
  limiter.share.requests = static_cast<std::size_t>(wanted.share);
  if (const auto redis = nango::env("NANGO_REDIS"); !redis.empty()) {
    limiter.host = redis.substr(0, redis.rfind(':'));
    limiter.port = number("NANGO_REDIS's port", redis.substr(redis.rfind(':') + 1), 65'535);
  }
  limiter.password = nango::env("NANGO_REDIS_PASSWORD");
  return wanted;
}

// Calls until the time is over, and prints the outcomes. Returns 0 if some calls succeeded.
template <class Client> int call_on(const Client& user, const arguments& wanted) {
  std::mutex mutex;
  std::map<std::string, int> outcomes;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(wanted.seconds);
  const auto one_thread = [&] {
    while (std::chrono::steady_clock::now() < end) {
      const auto contacts = user.get("crm/contacts");
      const std::string outcome(contacts ? "ok" : to_string(contacts.error().code));
      {
        const std::lock_guard lock(mutex);
        if (outcomes[outcome]++ == 0 && !contacts) std::cerr << contacts.error() << '\n';  // the first of its kind
      }
      if (!contacts) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  };
  std::vector<std::thread> threads(static_cast<std::size_t>(wanted.threads));
  for (auto& thread : threads) thread = std::thread(one_thread);
  for (auto& thread : threads) thread.join();
  std::cout << "calls:";
  for (const auto& [outcome, count] : outcomes) std::cout << ' ' << outcome << '=' << count;
  std::cout << std::endl;
  return outcomes["ok"] > 0 ? 0 : 1;
}

// With NANGO_API_KEY and NANGO_USER_TOKEN it calls the real API (or NANGO_BASE_URL), else a local server of it.
int run(const arguments& wanted) {
  nango::client_options options{.api_key = nango::env("NANGO_API_KEY"),
                                .user_token = nango::env("NANGO_USER_TOKEN"),
                                .ca_file = nango::env("NANGO_CA_FILE")};
  std::optional<nango_test::local_nango> server;
  if (options.api_key.empty()) {
    server.emplace();
    options.api_key = server->api_key();
    options.user_token = server->user_token();
    options.base_url = server->base_url();
    options.ca_file = server->ca_file();
  } else if (const auto base_url = nango::env("NANGO_BASE_URL"); !base_url.empty()) {
    options.base_url = base_url;
  }
  if (options.user_token.empty()) throw std::invalid_argument("NANGO_USER_TOKEN is not set: whose contacts?");
  std::cout << "calling " << options.base_url << ", limited by the Redis at " << wanted.limiter.host << ':'
            << wanted.limiter.port << std::endl;
  const nango::httplib_backend backend(options);
  const redis_limiter limiter(wanted.limiter);
  return call_on(nango::basic_client<nango::httplib_backend, redis_limiter>(options, backend, limiter), wanted);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(read(argc, argv));
  } catch (const std::invalid_argument& e) {
    std::cerr << "redis_limiter: " << e.what() << "\n"
              << "usage: redis_limiter [--threads N] [--seconds N] [--when-down refuse|local] [--share N]\n"
                 "NANGO_REDIS: host:port (127.0.0.1:6379); start one there: redis-server --port 6379 --save ''\n";
    return 2;
  } catch (const nango::exception& e) {
    std::cerr << e.error() << '\n';
    return 1;
  }
}
