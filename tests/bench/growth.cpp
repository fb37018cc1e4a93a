// How the cost of a call grows: with the size of its answer, with the users of a client, and with its threads.
//
//   meson compile -C build bench_growth
//   build/tests/bench/bench_growth > tests/bench/growth.tsv                         # takes about 3 minutes
//   gnuplot -e "table='tests/bench/growth.tsv'" tests/bench/growth.plot > tests/bench/growth.svg
//
// bench_growth body, users or threads measures one part. Whatever is compared takes turns in one run. A figure is that
// of the better quarter of its rounds, since whatever else runs on a machine makes none faster. Without nginx and
// HAProxy what they answer is skipped: "-" stands there.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "canned.hpp"
#include "manual_clock.hpp"
#include "nango.hpp"
#include "tokens.hpp"
#include "wire_servers.hpp"

// --- Memory ---------------------------------------------------------------------------------------------------------

namespace {

/// What this thread has allocated and not yet freed since counting began, and the most of it.
struct heap {
  bool counting = false;
  long live = 0, peak = 0;
  void add(void* memory, long sign) {
    if (counting) peak = (std::max)(peak, live += sign * static_cast<long>(::malloc_usable_size(memory)));
  }
};
thread_local heap counted;

}  // namespace

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  counted.add(memory, 1);
  return memory;
}
void operator delete(void* memory) noexcept {
  counted.add(memory, -1);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

using nango::json;
using nango_bench::place;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Of the heap, all threads, with what malloc adds to each block.
double bytes_in_use() {
  const auto now = ::mallinfo2();
  return static_cast<double>(now.uordblks + now.hblkhd);
}

// --- What all parts need --------------------------------------------------------------------------------------------

const std::string key = "7f3c2a9e5b8d4c6f9a1e0b2d3c4f5a6b";

/// Out of reach, and so short that a user has few recent calls, as one at 100 a second has.
constexpr nango::rate lifted{.requests = 1'000'000, .per = 10ms};

double seconds_since(steady_clock::time_point began) {
  return std::chrono::duration<double>(steady_clock::now() - began).count();
}

/// What only a quarter of the rounds betters.
double usual_time(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[(times.size() - 1) / 4];
}
double usual_rate(std::vector<double> rates) {
  std::sort(rates.begin(), rates.end(), std::greater<>());
  return rates[(rates.size() - 1) / 4];
}

/// One part's table: a name and its columns, then a line for each size.
void begin_table(const char* name, const std::vector<const char*>& columns) {
  std::printf("# %s\n#", name);
  for (const auto* column : columns) std::printf("%s%s", column == columns.front() ? " " : "\t", column);
  std::printf("\n");
}
void show_line(const std::vector<std::optional<double>>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const char* space = i + 1 < values.size() ? "\t" : "\n";
    values[i] ? std::printf("%.6g%s", *values[i], space) : std::printf("-%s", space);
  }
  std::fflush(stdout);
}
void end_table() { std::printf("\n\n"); }

nango::client client_of(const place& at) {
  return nango::client({.api_key = key,
                        .base_url = "https://127.0.0.1:" + std::to_string(at.port) + "/v1/",
                        .rate = lifted,
                        .ca_file = at.ca_file});
}

/// A GET by hand, on a connection of its own that is kept.
class raw_client {
 public:
  explicit raw_client(const place& at) : client_(std::make_shared<httplib::SSLClient>("127.0.0.1", at.port)) {
    client_->set_ca_cert_path(at.ca_file);
    client_->set_keep_alive(true);
    client_->set_tcp_nodelay(true);
  }
  json get(const std::string& path, const std::string& user) const {
    const auto answer = client_->Get("/v1/" + path, {{"Authorization", "Bearer " + key}, {"X-User-Account", user}});
    if (!answer || answer->status != 200) throw std::runtime_error("httplib: no answer");
    return json::parse(answer->body);
  }

 private:
  std::shared_ptr<httplib::SSLClient> client_;
};

/// A server, or nothing where it cannot run.
template <class Server> std::unique_ptr<Server> started(const nango_bench::identities& who, const char* name) {
  try {
    return std::make_unique<Server>(who);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "skipped: what %s answers (%s)\n", name, e.what());
    return nullptr;
  }
}

// --- The size of the answer -----------------------------------------------------------------------------------------

/// Hands over the body that lies there.
struct handing_backend {
  std::shared_ptr<std::string> next;
  nango::result<nango::http_response> send(const nango::http_request&) {
    return nango::http_response{.status = 200, .body = std::move(*next)};
  }
};

/// What is measured: run(), each time after prepare().
struct subject {
  std::function<void()> prepare;
  std::function<json()> run;
  double body = 0;  // so much of its memory is the answer's body
};

double time_of(const subject& s) {
  s.prepare();
  const auto began = steady_clock::now();
  s.run();
  return seconds_since(began);
}

double peak_above_body(const subject& s) {
  s.prepare();
  counted = {.counting = true};
  const auto value = s.run();
  counted.counting = false;  // nlohmann/json takes memory to destroy a value, too
  return static_cast<double>(counted.peak) - s.body;
}

/// Each one's time, in microseconds: in turns of `calls`, for some seconds and four rounds at least.
std::vector<double> times_of(const std::vector<subject>& all, int calls) {
  std::vector<std::vector<double>> times(all.size());
  const auto began = steady_clock::now();
  for (std::size_t round = 0; round < 4 || seconds_since(began) < 3; ++round) {
    for (std::size_t turn = 0; turn < all.size(); ++turn) {
      const auto who = (turn + round) % all.size();
      for (int i = 0; i < calls; ++i) times[who].push_back(time_of(all[who]) * 1e6);
    }
  }
  std::vector<double> usual;
  for (const auto& each : times) usual.push_back(usual_time(each));
  return usual;
}

void grow_body(const nango_bench::identities& who) {
  const auto server = started<nango_bench::large_answers>(who, "nginx");
  begin_table("body", {"bytes", "json::parse us", "nango.hpp us", "for_each us", "typed list us", "httplib over TLS us",
                       "nango.hpp over TLS us", "json::parse bytes", "nango.hpp bytes", "for_each bytes",
                       "typed list bytes", "httplib over TLS bytes", "nango.hpp over TLS bytes"});
  const auto next = std::make_shared<std::string>();
  const auto user = nango_bench::make_tokens(1)[0];
  const auto canned = nango::basic_client<handing_backend>({.api_key = key, .rate = lifted}, {next}).user(user);
  for (std::size_t bytes = 1'000; bytes <= 65'536'000; bytes *= 4) {
    const auto text = nango_bench::list_of(bytes);
    const auto size = static_cast<double>(text.size());
    const auto hand_over = [&] { *next = text; };
    const auto each = [&] { return json(canned.for_each("crm/contacts", [](json&&) {}).value()); };
    const auto typed = [&] { return json(nango::crm::list_contacts(canned).value().size()); };
    std::vector<subject> all{{[] {}, [&] { return json::parse(text); }},
                             {hand_over, [&] { return canned.get("crm/contacts").value(); }},
                             {hand_over, each},
                             {hand_over, typed}};
    if (server) {
      server->add("list", text);
      const raw_client raw(server->at);
      const auto api = client_of(server->at).user(user);
      all.push_back({[] {}, [=] { return raw.get("files/list", user); }, size});
      all.push_back({[] {}, [=] { return api.get("files/list").value(); }, size});
    }
    std::vector<std::optional<double>> line{size};
    for (const auto time : times_of(all, bytes < 1'000'000 ? 15 : 1)) line.emplace_back(time);
    line.resize(7);
    for (const auto& each_of : all) line.emplace_back(peak_above_body(each_of));
    line.resize(13);
    show_line(line);
  }
  end_table();
}

// --- Users ----------------------------------------------------------------------------------------------------------

using nango_test::manual_clock;
using window = nango::basic_sliding_window<manual_clock>;
using users_client = nango::basic_client<nango_bench::canned_backend, window>;

/// `count` calls of these users in turn, each user two a second; the time of a call, in microseconds.
double call_in_turn(const users_client& api, const std::string* users, std::size_t active, std::size_t count) {
  const auto pause = nanoseconds(500ms) / static_cast<long>(active);
  std::vector<double> times;
  for (std::size_t i = 0, user = 0; i < count;) {
    const auto began = steady_clock::now();
    for (const auto end = i + 1000; i < end; ++i, user = (user + 1) % active) {
      nango_bench::expect(api.user(users[user]).get("crm/contacts").has_value());
      manual_clock::advance(pause);
    }
    times.push_back(seconds_since(began) * 1e3);
  }
  return usual_time(times);
}

/// All users call for a second, then for long only the last 10,000 of them.
void grow_users() {
  constexpr std::size_t most = 1'000'000, most_active = 10'000;
  begin_table("users", {"seen", "active in the end", "all active us", "in the end us", "all active bytes",
                        "in the end bytes", "remembered in the end"});
  const auto users = nango_bench::make_tokens(most);
  for (std::size_t seen = 1; seen <= most; seen *= 10) {
    manual_clock::reset();
    const auto before = bytes_in_use();
    const window limiter;
    const users_client api({.api_key = key}, {}, limiter);
    call_in_turn(api, users.data(), seen, seen);
    const auto all_time = call_in_turn(api, users.data(), seen, (std::max)(seen, std::size_t{100'000}));
    const auto all_bytes = bytes_in_use() - before;
    const auto active = (std::min)(seen, most_active);
    const auto* last = users.data() + (seen - active);
    manual_clock::advance(1min);
    call_in_turn(api, last, active, seen);
    const auto time = call_in_turn(api, last, active, (std::max)(seen / 2, std::size_t{100'000}));
    show_line({static_cast<double>(seen), static_cast<double>(active), all_time, time, all_bytes,
               bytes_in_use() - before, static_cast<double>(limiter.size())});
  }
  end_table();
}

// --- Threads --------------------------------------------------------------------------------------------------------

struct flow {
  std::vector<double> calls{};  // a second
  double bytes = 0;             // kept after them
};

/// Threads that each do for a while what make(i) gives: what they do in `span`, once they are at it.
template <class Make>
void measure(flow& into, std::size_t threads, nanoseconds warm_up, nanoseconds span, const Make& make) {
  const auto before = bytes_in_use();
  std::vector<std::function<void()>> calls;
  for (std::size_t i = 0; i < threads; ++i) calls.push_back(make(i));
  std::atomic<long> done{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> all;
  for (const auto& call : calls) {
    all.emplace_back([&] {
      while (!stop) {
        call();
        ++done;
      }
    });
  }
  std::this_thread::sleep_for(warm_up);
  const auto first = done.load();
  const auto began = steady_clock::now();
  std::this_thread::sleep_for(span);
  into.calls.push_back(static_cast<double>(done - first) / seconds_since(began));
  stop = true;
  for (auto& thread : all) thread.join();
  into.bytes = bytes_in_use() - before;
}

void grow_threads(const nango_bench::identities& who) {
  const auto server = started<nango_bench::small_answers>(who, "HAProxy");
  begin_table("threads", {"threads", "json::parse calls/s", "nango.hpp calls/s", "httplib, 20 ms calls/s",
                          "nango.hpp, 20 ms calls/s", "httplib, 20 ms bytes", "nango.hpp, 20 ms bytes"});
  constexpr std::size_t most = 64;
  const auto users = nango_bench::make_tokens(most);
  const std::string text(nango_bench::canned_envelope);
  for (std::size_t threads = 1; threads <= most; threads *= 2) {
    flow parse, canned, raw_slow, slow;
    for (int round = 0; round < 7; ++round) {
      measure(parse, threads, 50ms, 250ms,
              [&](std::size_t) { return [&] { nango_bench::expect(json::parse(text).is_object()); }; });
      const nango::basic_client<nango_bench::canned_backend> api({.api_key = key, .rate = lifted}, {});
      measure(canned, threads, 50ms, 250ms, [&](std::size_t i) {
        return [user = api.user(users[i])] { nango_bench::expect(user.get("crm/contacts").has_value()); };
      });
    }
    for (int round = 0; server && round < 3; ++round) {
      measure(raw_slow, threads, 500ms, 1s, [&](std::size_t i) {
        return
            [raw = raw_client(server->at), user = users[i]] { nango_bench::expect(raw.get("slow", user).is_object()); };
      });
      std::optional<nango::client> api;
      measure(slow, threads, 500ms, 1s, [&](std::size_t i) {
        if (!api) api = client_of(server->at);
        return [user = api->user(users[i])] { nango_bench::expect(user.get("slow").has_value()); };
      });
    }
    std::vector<std::optional<double>> shown{static_cast<double>(threads), usual_rate(parse.calls),
                                             usual_rate(canned.calls)};
    if (server)
      shown.insert(shown.end(), {usual_rate(raw_slow.calls), usual_rate(slow.calls), raw_slow.bytes, slow.bytes});
    shown.resize(7);
    show_line(shown);
  }
  end_table();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  const nango_bench::identities who;
  if (wanted.empty() || wanted == "body") grow_body(who);
  if (wanted.empty() || wanted == "users") grow_users();
  if (wanted.empty() || wanted == "threads") grow_threads(who);
}
