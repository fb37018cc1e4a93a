// What a call costs on the wire, beside the same by hand: httplib alone (one kept connection) with json::parse, and
// libcurl (one easy handle) with json::parse. The servers are HAProxy and nginx, over TLS on loopback.
//
//   meson compile -C build bench_wire bench_wire_upstream
//   build/tests/bench/bench_wire [part...]                        # all of them take about 2 minutes
//
// The parts "calls", "executed" and "held" count instead of measuring time: system calls (by strace), instructions (by
// valgrind), threads and descriptors. Whatever is compared takes turns in one run, so that a busy machine slows all
// alike. A ratio is the median over the rounds of what this client took over what the other took in the same round; the
// interval is the bootstrap's 95 %. A line is: figure, goal, value, interval, remarks, with tabs between them; table.py
// shows them all.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <latch>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#ifdef WIRE_LIBCURL
#include <curl/curl.h>
#endif

#include "child.hpp"
#include "nango.hpp"
#include "wire_servers.hpp"

namespace {

using nango::json;
using nango_bench::place;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point began) {
  return std::chrono::duration<double>(steady_clock::now() - began).count();
}

// --- Figures --------------------------------------------------------------------------------------------------------

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct estimate {
  double value, low, high;
};

/// The median, and where it lies in 95 of 100 samples that are drawn anew from the values.
estimate estimated(const std::vector<double>& values) {
  std::minstd_rand random(1);
  std::uniform_int_distribution<std::size_t> any(0, values.size() - 1);
  std::vector<double> medians(2000), sample(values.size());
  for (auto& one : medians) {
    for (auto& value : sample) value = values[any(random)];
    one = median(sample);
  }
  std::sort(medians.begin(), medians.end());
  return {median(values), medians[medians.size() / 40], medians[medians.size() - 1 - medians.size() / 40]};
}

std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& others) {
  std::vector<double> result;
  for (std::size_t i = 0; i < ours.size(); ++i) result.push_back(ours[i] / others[i]);
  return result;
}

std::string rounded(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", value);
  return text.data();
}

void show(const std::string& figure, const std::string& goal, const std::vector<double>& values,
          const std::string& remarks) {
  const auto e = estimated(values);
  std::printf("%s\t%s\t%.3f\t%.3f to %.3f\t%s\n", figure.c_str(), goal.c_str(), e.value, e.low, e.high,
              remarks.c_str());
  std::fflush(stdout);
}

// --- Clients --------------------------------------------------------------------------------------------------------

const std::string key = "7f3c2a9e5b8d4c6f9a1e0b2d3c4f5a6b", token = "6b693b41-bf22-42e6-aa31-b75cd41749ab";

/// A GET of the path below /v1/ or, with a body, a POST; returns what was parsed. Of one thread.
using caller = std::function<json(const std::string& path, const json* body)>;

nango::client_options options_for(const place& at) {
  return {.api_key = key,
          .base_url = "https://127.0.0.1:" + std::to_string(at.port) + "/v1/",
          .rate = {.requests = 1'000'000},
          .ca_file = at.ca_file};
}

caller by_nango(const nango::client& api) {
  return [api](const std::string& path, const json* body) {
    return (body != nullptr ? api.post(path, *body) : api.get(path)).value();
  };
}
caller with_token(const place& at) {
  return [api = nango::client(options_for(at)).user(token), source = nango::cancel_source()](
             const std::string& path, const json*) { return api.get(path, {}, {.cancel = source.token()}).value(); };
}
caller with_nango(const place& at) { return by_nango(nango::client(options_for(at)).user(token)); }

caller with_httplib(const place& at, const httplib::Headers& more = {}) {
  auto client = std::make_shared<httplib::SSLClient>("127.0.0.1", at.port);
  if (!at.ca_file.empty()) client->set_ca_cert_path(at.ca_file);
  client->set_keep_alive(true);
  client->set_tcp_nodelay(true);
  return [client, more](const std::string& path, const json* body) {
    httplib::Headers headers{{"Authorization", "Bearer " + key}, {"X-User-Account", token}};
    for (const auto& field : more) headers.insert(field);
    const auto answer = body != nullptr ? client->Post("/v1/" + path, headers, body->dump(), "application/json")
                                        : client->Get("/v1/" + path, headers);
    if (!answer || answer->status != 200) throw std::runtime_error("httplib: no answer");
    return json::parse(answer->body);
  };
}

#ifdef WIRE_LIBCURL
std::size_t append(char* data, std::size_t, std::size_t size, void* body) {
  static_cast<std::string*>(body)->append(data, size);
  return size;
}
caller with_libcurl(const place& at) {
  const std::shared_ptr<CURL> curl(curl_easy_init(), curl_easy_cleanup);
  const std::shared_ptr<curl_slist> headers(
      curl_slist_append(curl_slist_append(nullptr, ("Authorization: Bearer " + key).c_str()),
                        ("X-User-Account: " + token).c_str()),
      curl_slist_free_all);
  curl_easy_setopt(curl.get(), CURLOPT_CAINFO, at.ca_file.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  const auto base = "https://127.0.0.1:" + std::to_string(at.port) + "/v1/";
  return [curl, headers, base](const std::string& path, const json*) {
    std::string body;
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl.get(), CURLOPT_URL, (base + path).c_str());
    if (curl_easy_perform(curl.get()) != CURLE_OK) throw std::runtime_error("libcurl: no answer");
    return json::parse(body);
  };
}
#endif

// --- One thread -----------------------------------------------------------------------------------------------------

/// For each round and each of them, the median time of some calls in a row, in microseconds.
std::vector<std::vector<double>> taking_turns(const std::vector<std::function<void()>>& all, int rounds, int calls) {
  std::vector<std::vector<double>> times(all.size());
  for (int round = -1; round < rounds; ++round) {
    for (std::size_t turn = 0; turn < all.size(); ++turn) {
      const auto who = (turn + static_cast<std::size_t>(round + 1)) % all.size();
      std::vector<double> each;
      for (int i = 0; i < calls; ++i) {
        const auto began = steady_clock::now();
        all[who]();
        each.push_back(seconds_since(began) * 1e6);
      }
      if (round >= 0) times[who].push_back(median(each));
    }
  }
  return times;
}

std::string medians_of(const std::vector<double>& ours, const std::vector<double>& others) {
  return rounded(median(ours)) + " and " + rounded(median(others)) + " us";
}

void get(const place& at) {
  std::vector<std::function<void()>> all;
  for (const auto& call : {
           with_nango(at),
           with_httplib(at),
#ifdef WIRE_LIBCURL
           with_libcurl(at),
#endif
       }) {
    all.emplace_back([call] { call("crm/contacts", nullptr); });
  }
  const auto times = taking_turns(all, 400, 15);
  const bool is_packaged = CPPHTTPLIB_VERSION == std::string_view("0.11.4");
  show("GET / raw httplib", is_packaged ? "<= 1.00" : "<= 0.80", ratios(times[0], times[1]),
       medians_of(times[0], times[1]));
#ifdef WIRE_LIBCURL
  const auto raw = median(ratios(times[1], times[2]));
  const auto most = is_packaged ? (std::min)(1.0, 1.03 * raw) : 1.03 * raw;
  show("GET / libcurl", "<= " + rounded(most), ratios(times[0], times[2]),
       medians_of(times[0], times[2]) + "; raw httplib / libcurl is " + rounded(raw));
#else
  std::printf("GET / libcurl\t\t\t\tskipped: built without libcurl\n");
#endif
}

/// A body that has so many bytes as text.
json body_of(std::size_t bytes) {
  json body{{"note", ""}};
  body["note"] = std::string(bytes - body.dump().size(), 'x');
  return body;
}

void post(const std::string& size, std::size_t bytes, const place& at, int rounds) {
  const auto body = body_of(bytes);
  std::vector<std::function<void()>> all;
  for (const auto& call : {with_nango(at), with_httplib(at)}) {
    all.emplace_back([call, &body] { call("crm/contacts", &body); });
  }
  const auto times = taking_turns(all, rounds, 10);
  show("POST of " + size + " / raw httplib", "<= 1.03", ratios(times[0], times[1]), medians_of(times[0], times[1]));
}

// --- Many threads ---------------------------------------------------------------------------------------------------

/// Calls in a second, of threads that each do what make(i) gives for as long as `span`.
double throughput(int threads, milliseconds span, const std::function<std::function<void()>(int)>& make) {
  std::vector<std::function<void()>> calls;
  for (int i = 0; i < threads; ++i) calls.push_back(make(i));
  std::atomic<long> done{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> all;
  const auto began = steady_clock::now();
  for (const auto& call : calls) {
    all.emplace_back([&] {
      while (!stop) {
        call();
        ++done;
      }
    });
  }
  std::this_thread::sleep_for(span);
  const auto result = static_cast<double>(done) / seconds_since(began);
  stop = true;
  for (auto& thread : all) thread.join();
  return result;
}

constexpr int many = 16;

/// What a thread does with a caller.
std::function<void()> calling(caller call, std::string path) {
  return [call = std::move(call), path = std::move(path)] { call(path, nullptr); };
}

void slow_server(const place& at) {
  const auto api = nango::client(options_for(at)).user(token);
  std::vector<caller> raw;
  for (int i = 0; i < many; ++i) raw.push_back(with_httplib(at));
  const auto shared = [&](int) { return calling(by_nango(api), "slow"); };
  const auto each_its_own = [&](int i) { return calling(raw[static_cast<std::size_t>(i)], "slow"); };
  constexpr milliseconds span(800);
  throughput(many, milliseconds(200), shared);  // connects
  throughput(many, milliseconds(200), each_its_own);
  std::vector<double> one, all, raw_one, raw_all;
  for (int round = 0; round < 7; ++round) {
    one.push_back(many * throughput(1, span, shared));
    all.push_back(throughput(many, span, shared));
    raw_one.push_back(many * throughput(1, span, each_its_own));
    raw_all.push_back(throughput(many, span, each_its_own));
  }
  show("16 threads, a server that takes 20 ms: calls / 16 x one thread's", ">= 0.95", ratios(all, one),
       "raw httplib, a client for each thread: " + rounded(median(ratios(raw_all, raw_one))));
}

void many_users(const place& at) {
  const nango::client api(options_for(at));
  std::vector<caller> users, raw;
  for (int i = 0; i < 1000; ++i) users.push_back(by_nango(api.user("user-" + std::to_string(i))));
  for (int i = 0; i < many; ++i) raw.push_back(with_httplib(at));
  const auto shared = [&](int i) {
    return [&users, next = static_cast<std::size_t>(i)]() mutable {
      users[next]("crm/contacts", nullptr);
      next = (next + many) % users.size();
    };
  };
  const auto each_its_own = [&](int i) { return calling(raw[static_cast<std::size_t>(i)], "crm/contacts"); };
  constexpr milliseconds span(300);
  std::vector<double> ours, others;
  for (int round = -1; round < 31; ++round) {
    const auto our = [&] { ours.push_back(throughput(many, span, shared)); };
    const auto other = [&] { others.push_back(throughput(many, span, each_its_own)); };
    round % 2 == 0 ? (our(), other()) : (other(), our());
    if (round < 0) ours.clear(), others.clear();
  }
  show("1,000 users, 16 threads: calls / 16 raw httplib clients", ">= 1.00", ratios(ours, others),
       rounded(median(ours)) + " and " + rounded(median(others)) + " a second");
}

// --- In processes of their own --------------------------------------------------------------------------------------

/// What this program prints when it is called so, by itself or by a tool that runs programs.
std::string output_of(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {},
                      std::vector<std::string> tool = {}) {
  tool.push_back(std::filesystem::read_symlink("/proc/self/exe"));
  tool.insert(tool.end(), arguments.begin(), arguments.end());
  nango_test::child process(tool, environment);
  if (process.wait(std::chrono::seconds(120)) != 0) throw std::runtime_error("failed: " + process.output());
  return process.output();
}
std::vector<double> in_a_process(const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& environment = {}) {
  std::istringstream output(output_of(arguments, environment));
  return {std::istream_iterator<double>(output), {}};
}

/// Kilobytes at most, until now.
double peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6));
  }
  throw std::runtime_error("no VmHWM");
}

caller with(const std::string& who, const place& at) {
  if (who == "nango") return with_nango(at);
  if (who == "nango, token") return with_token(at);
  if (who == "json::parse") {
    return [](const std::string&, const json*) { return json::parse(nango_bench::canned_envelope); };
  }
  if (who == "httplib") return with_httplib(at);
  return with_httplib(at, {{"Accept-Encoding", "identity"}});
}

/// In the process: a large list over a connection that is there. Seconds, and kilobytes at the peak.
void report_list(const std::string& who, const place& at, const std::string& path) {
  const auto call = with(who, at);
  call("ready", nullptr);
  const auto began = steady_clock::now();
  const auto list = call(path, nullptr);
  std::printf("%.6f %.0f %zu\n", seconds_since(began), peak_memory(), list.size());
}

/// In the process: the first call of all, and the first of a second thread while the first thread is in another.
void report_cold(const std::string& who, const place& at) {
  auto began = steady_clock::now();
  const auto call = with(who, at);
  call("crm/contacts", nullptr);
  const auto first = seconds_since(began);
  std::thread other([&] { call("slow", nullptr); });
  std::this_thread::sleep_for(milliseconds(5));
  double second = 0;
  std::thread([&] {
    began = steady_clock::now();
    const auto own = who == "nango" ? call : with(who, at);  // httplib's is for one thread at a time
    own("crm/contacts", nullptr);
    second = seconds_since(began);
  }).join();
  other.join();
  std::printf("%.6f %.6f\n", first, second);
}

struct pair_of_runs {
  std::vector<double> ours, others;
  void add(double our, double other) {
    ours.push_back(our);
    others.push_back(other);
  }
};

void list(const place& at) {
  pair_of_runs time, memory;
  for (int round = 0; round < 15; ++round) {
    const auto run = [&](const char* who) {
      return in_a_process({"--list", who, std::to_string(at.port), at.ca_file, "list"});
    };
    const auto our = run("nango"), other = run("httplib");
    time.add(our[0], other[0]);
    memory.add(our[1], other[1]);
  }
  show("a list of 10 MB: time / raw httplib", "<= 1.03", ratios(time.ours, time.others),
       rounded(median(time.ours)) + " and " + rounded(median(time.others)) + " s");
  show("a list of 10 MB: peak memory / raw httplib", "<= 1.05", ratios(memory.ours, memory.others),
       rounded(median(memory.ours)) + " and " + rounded(median(memory.others)) + " kB");
}

void limited(const place& at) {
  pair_of_runs time;
  for (int round = 0; round < 3; ++round) {
    const auto run = [&](const char* who) {
      return in_a_process({"--list", who, std::to_string(at.port), at.ca_file, "limited"});
    };
    time.add(run("nango")[0], run("httplib, uncompressed")[0]);
  }
  show("a list of 10 MB at 5 MB/s / raw httplib, uncompressed", "<= 0.3", ratios(time.ours, time.others),
       rounded(median(time.ours)) + " and " + rounded(median(time.others)) + " s");
}

/// Trusts what the system trusts and the test's authority, as a program with default options loads it.
void cold(const place& at) {
  std::string all;
  for (const auto& name : {std::string("/etc/ssl/certs/ca-certificates.crt"), at.ca_file}) {
    std::ifstream file(name);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  const nango_test::temporary_file trusted(all);
  pair_of_runs first, second;
  for (int round = 0; round < 25; ++round) {
    const auto run = [&](const char* who) {
      return in_a_process({"--cold", who, std::to_string(at.port), ""}, {"SSL_CERT_FILE=" + trusted.path()});
    };
    const auto our = run("nango"), other = run("httplib");
    first.add(our[0] * 1e6, other[0] * 1e6);
    second.add(our[1] * 1e6, other[1] * 1e6);
  }
  show("cold start: first call / raw httplib's", "<= 1.05", ratios(first.ours, first.others),
       medians_of(first.ours, first.others));
  show("cold start: second thread's first call / the first's", "<= 0.5", ratios(second.ours, first.ours),
       medians_of(second.ours, first.ours) + "; raw httplib's second " + rounded(median(second.others)) + " us");
}

// --- Counts ---------------------------------------------------------------------------------------------------------

/// In the process: so many small calls in a row.
void make_calls(const std::string& who, const place& at, int count) {
  const auto call = with(who, at);
  for (int i = 0; i < count; ++i) call("crm/contacts", nullptr);
}

bool is_installed(const char* tool) {
  nango_test::child process({tool, "--version"});
  return process.wait(std::chrono::seconds(20)) == 0;
}

/// How much one call adds to what counted(arguments of this program) says, with the process warm.
double of_a_call(const std::string& who, const place& at,
                 const std::function<double(const std::vector<std::string>&)>& counted) {
  constexpr int few = 50, more = 550;
  const auto with_calls = [&](int count) {
    return counted({"--calls", who, std::to_string(at.port), at.ca_file, std::to_string(count)});
  };
  return (with_calls(more) - with_calls(few)) / (more - few);
}

void show_count(const std::string& figure, const std::string& goal, double value, const std::string& remarks) {
  std::printf("%s\t%s\t%.1f\t\t%s\n", figure.c_str(), goal.c_str(), value, remarks.c_str());
  std::fflush(stdout);
}

std::string last_line_with(const std::string& word, const std::string& file) {
  std::ifstream lines(file);
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(word) != std::string::npos) found = line;
  }
  return found;
}

void system_calls(const place& at) {
  if (!is_installed("strace")) {
    std::printf("system calls of a call\t\t\t\tskipped: no strace\n");
    return;
  }
  const auto counted = [](const std::vector<std::string>& arguments) {
    const nango_test::temporary_file summary("");
    output_of(arguments, {}, {"strace", "-f", "-c", "-o", summary.path()});
    std::istringstream total(last_line_with("total", summary.path()));
    double share = 0, seconds = 0, each = 0, calls = 0;
    total >> share >> seconds >> each >> calls;
    return calls;
  };
  const auto raw = "raw httplib: " + rounded(of_a_call("httplib", at, counted));
  show_count("system calls of a call", "<= 7", of_a_call("nango", at, counted), raw);
  show_count("system calls of a call with a cancel token", "<= 7", of_a_call("nango, token", at, counted), raw);
}

/// What callgrind counted: all of it, and OpenSSL's part.
struct instruction_count {
  double all = 0, of_openssl = 0;
};
instruction_count instructions_in(const std::string& counts) {
  nango_test::child annotate({"callgrind_annotate", "--auto=no", "--threshold=100", counts});
  if (annotate.wait(std::chrono::seconds(60)) != 0) throw std::runtime_error("failed: " + annotate.output());
  instruction_count found;
  std::istringstream lines(annotate.output());
  for (std::string line; std::getline(lines, line);) {  // "1,234 (5.67%)  file:function [object]"
    auto number = line.substr(0, line.find('('));
    std::erase_if(number, [](char c) { return c == ',' || c == ' '; });
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos) continue;
    const bool is_total = line.find("PROGRAM TOTALS") != std::string::npos;
    const bool is_openssl = line.find("/libssl.") != std::string::npos || line.find("/libcrypto.") != std::string::npos;
    if (is_total) found.all = std::stod(number);
    if (is_openssl) found.of_openssl += std::stod(number);
  }
  return found;
}

void instructions(const place& at) {
  if (!is_installed("valgrind")) {
    std::printf("instructions of a call\t\t\t\tskipped: no valgrind\n");
    return;
  }
  const auto counted = [](const std::vector<std::string>& arguments) {
    const nango_test::temporary_file counts("");
    output_of(arguments, {}, {"valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + counts.path()});
    const auto found = instructions_in(counts.path());
    return found.all - found.of_openssl;
  };
  const auto parse = of_a_call("json::parse", at, counted);
  const auto raw = of_a_call("httplib", at, counted) - parse, ours = of_a_call("nango", at, counted) - parse;
  show_count("instructions of a call above json::parse, without OpenSSL's", "<= 40000", ours,
             "raw httplib: " + rounded(raw));
}

/// In the process: what some threads' calls leave with a client: threads, and descriptors for each connection.
void report_held(const std::string& who, const place& at) {
  const auto entries = [](const char* folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
  const auto threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
  std::vector<caller> callers;
  for (int i = 0; i < many; ++i) callers.push_back(i == 0 || who != "nango" ? with(who, at) : callers[0]);
  std::latch together(many);
  std::vector<std::thread> all;
  for (const auto& call : callers) {
    all.emplace_back([&] {
      call("slow", nullptr);
      together.arrive_and_wait();  // so that each has a connection
      call("slow", nullptr);
    });
  }
  for (auto& thread : all) thread.join();
  std::this_thread::sleep_for(milliseconds(50));  // until they are gone from Linux's list too
  std::printf("%td %.3f\n", entries("/proc/self/task") - threads,
              static_cast<double>(entries("/proc/self/fd") - descriptors) / many);
}

void held(const place& at) {
  const auto run = [&](const char* who) { return in_a_process({"--held", who, std::to_string(at.port), at.ca_file}); };
  const auto ours = run("nango"), raw = run("httplib");
  show_count("threads that a client starts", "<= 0", ours[0], "raw httplib: " + rounded(raw[0]));
  show_count("descriptors for each connection", "<= 1", ours[1], "raw httplib: " + rounded(raw[1]));
}

// --- The parts ------------------------------------------------------------------------------------------------------

void run(const std::vector<std::string>& wanted) {
  const nango_bench::identities who;
  const nango_bench::small_answers small(who);
  std::optional<nango_bench::large_answers> nginx;  // begun when it is needed
  const auto large = [&]() -> const place& { return (nginx ? *nginx : nginx.emplace(who)).at; };
  const std::vector<std::pair<std::string, std::function<void()>>> parts{
      {"get", [&] { get(small.at); }},
      {"post",
       [&] {
         post("100 bytes", 100, small.at, 400);
         post("2 KiB", 2 << 10, small.at, 400);
         post("1 MiB", 1 << 20, large(), 60);
       }},
      {"slow", [&] { slow_server(small.at); }},
      {"users", [&] { many_users(small.at); }},
      {"list", [&] { list(large()); }},
      {"cold", [&] { cold(small.at); }},
      {"limited", [&] { limited(large()); }},
      {"calls", [&] { system_calls(small.at); }},
      {"executed", [&] { instructions(small.at); }},
      {"held", [&] { held(small.at); }},
  };
  for (const auto& [name, part] : parts) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end()) part();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto what = arguments.empty() ? std::string() : arguments[0];
  if (what == "--list") {
    report_list(arguments.at(1), {std::stoi(arguments.at(2)), arguments.at(3)}, arguments.at(4));
  } else if (what == "--cold") {
    report_cold(arguments.at(1), {std::stoi(arguments.at(2)), arguments.at(3)});
  } else if (what == "--calls") {
    make_calls(arguments.at(1), {std::stoi(arguments.at(2)), arguments.at(3)}, std::stoi(arguments.at(4)));
  } else if (what == "--held") {
    report_held(arguments.at(1), {std::stoi(arguments.at(2)), arguments.at(3)});
  } else {
    run(arguments);
  }
}
