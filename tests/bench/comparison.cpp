// How nango::client, httplib alone and libcurl meet what can go wrong on the wire: the rows of faults.hpp and some
// more, each over TLS.
//
//   meson compile -C build bench_comparison bench_comparison_upstream
//   build/tests/bench/bench_comparison --raw > old.raw            # httplib 0.11.4, libcurl, nango.hpp on 0.11.4
//   build/tests/bench/bench_comparison_upstream --raw > new.raw   # upstream's httplib, nango.hpp on it
//   build/tests/bench/bench_comparison --table old.raw new.raw    # or --all: each row as well
//
// Four minutes on two cores. bench_comparison_upstream is there where NANGO_UPSTREAM_HTTPLIB names the folder of
// upstream's httplib.h; libcurl needs libcurl4-openssl-dev.
//
// The clients have their default settings, and the authority to trust. Beyond that, httplib keeps its connection
// (set_keep_alive) in the rows that make a second call, as the others do by default; nango::client has `timeout` 2 s
// (30 s by default) and max_response_bytes 1 MiB (64 MiB). Each call runs in a process of its own, with 10 s and 200
// MiB to end in. What depends on timing runs ten times or more, and the worst counts:
//
//   right    the answer where it is due, and a sound one to the next call; an error where one is due (of nango::client
//            the very errc; of the others also a status that is not 2xx)
//   errc     of nango::client: another errc
//   refused  an error where an answer is due
//   wrong    an answer where an error is due, or another one
//   twice    a POST that the server saw twice
//   memory   more than 200 MiB, or after 10 s more than 32 MiB
//   hang     no end in 10 s
//   crash    ended by a signal, such as SIGPIPE, or by an exception
//
// HTTP says what is due, whatever a client can do about it. Where HTTP leaves it open, both are right.
//
// Built with -O2: without, upstream's httplib crashes on the status line of 30 KB as well. And upstream's is built
// without zlib here, so that it meets no bomb.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#ifdef COMPARISON_LIBCURL
#include <curl/curl.h>
#endif

#include "certificates.hpp"
#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"

namespace {

using nango::errc;
using nango_test::act;
using nango_test::certificate;
using nango_test::certificate_options;
using nango_test::ending;
using nango_test::entrance;
using nango_test::fault;
using nango_test::fault_server;
using nango_test::moment;
using nango_test::temporary_file;
using nango_test::verdict;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds patience{10'000};
constexpr long most_kilobytes = 200 * 1024, most_kilobytes_of_a_hang = 32 * 1024;
// From good to bad; the last three end a process.
constexpr std::array outcomes{"right", "errc", "refused", "wrong", "twice", "memory", "hang", "crash"};
constexpr std::ptrdiff_t first_that_ends_it = 5;
constexpr std::size_t large = std::size_t{8} << 20;  // more than the buffers between client and server take

// --- Clients: each call says in one line how it ended ---------------------------------------------------------------

using call = std::function<std::string(const std::string& method, const std::string& path, const std::string& body)>;

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string told(long status, const std::string& body, bool has_odd_header = false) {
  auto line = "answer " + std::to_string(status) + (has_odd_header ? " with a control character in a header" : "") +
              ", " + std::to_string(body.size()) + " bytes: " + body.substr(0, 60);
  for (char& c : line) c = has_control({&c, 1}) ? '.' : c;
  return line;
}

call with_httplib(const std::string& url, const std::string& ca_file, bool keeps) {
  auto client = std::make_shared<httplib::Client>(url);
  client->set_ca_cert_path(ca_file);
  if (keeps) client->set_keep_alive(true);
  return [client](const std::string& method, const std::string& path, const std::string& body) {
    const auto answer = method == "POST"   ? client->Post(path, body, "application/json")
                        : method == "HEAD" ? client->Head(path)
                                           : client->Get(path);
    if (!answer) return "error " + httplib::to_string(answer.error());
    const auto& all = answer->headers;
    return told(answer->status, answer->body,
                std::any_of(all.begin(), all.end(), [](const auto& field) { return has_control(field.second); }));
  };
}

call with_nango(const std::string& url, const std::string& ca_file, bool) {
  auto client = std::make_shared<nango::client>(nango::client_options{.api_key = "key",
                                                                      .base_url = url + "/v1/",
                                                                      .timeout = milliseconds(2000),
                                                                      .max_response_bytes = std::size_t{1} << 20,
                                                                      .ca_file = ca_file});
  return [client](const std::string& method, const std::string& path, const std::string& body) {
    const auto answer = client->send(method, path, {}, body);
    if (!answer) return "error " + std::string(nango::to_string(answer.error().code)) + ": " + answer.error().message;
    const auto& all = answer->headers;
    return told(answer->status, answer->body,
                std::any_of(all.begin(), all.end(), [](const auto& field) { return has_control(field.value); }));
  };
}

#ifdef COMPARISON_LIBCURL
std::size_t append(char* data, std::size_t, std::size_t size, void* body) {
  static_cast<std::string*>(body)->append(data, size);
  return size;
}

call with_libcurl(const std::string& url, const std::string& ca_file, bool) {
  std::shared_ptr<CURL> handle(curl_easy_init(), curl_easy_cleanup);
  curl_easy_setopt(handle.get(), CURLOPT_CAINFO, ca_file.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, append);
  return [handle, url](const std::string& method, const std::string& path, const std::string& body) {
    CURL* curl = handle.get();
    std::string received;
    curl_easy_setopt(curl, CURLOPT_URL, (url + path).c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
    curl_easy_setopt(curl, method == "HEAD" ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1L);
    if (method == "POST") {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    }
    const auto code = curl_easy_perform(curl);
    if (code != CURLE_OK) return std::string("error ") + curl_easy_strerror(code);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    bool has_odd_header = false;
    for (curl_header* at = nullptr; (at = curl_easy_nextheader(curl, CURLH_HEADER, -1, at)) != nullptr;) {
      has_odd_header = has_odd_header || has_control(at->value);
    }
    return told(status, received, has_odd_header);
  };
}
#endif

struct contender {
  std::string name;
  call (*make)(const std::string& url, const std::string& ca_file, bool keeps);
};

const std::vector<contender>& contenders() {
  static const std::vector<contender> all{
      {"httplib " CPPHTTPLIB_VERSION, with_httplib},
#ifdef COMPARISON_LIBCURL
      {"libcurl " + std::string(curl_version_info(CURLVERSION_NOW)->version), with_libcurl},
#endif
      {"nango.hpp on " CPPHTTPLIB_VERSION, with_nango},
  };
  return all;
}
bool is_ours(const std::string& client) { return client.starts_with("nango.hpp"); }

// --- Trials: what each of them meets --------------------------------------------------------------------------------

struct trial {
  std::string group, name;
  std::deque<act> script{};
  bool connected = false;          // the first act answers a call before this one
  std::optional<errc> error = {};  // of ours; none: the answer is due
  bool either = false;             // HTTP allows the answer as well as an error
  int status = 200;                // of the answer
  std::string body{};              // of the answer
  std::string method = "GET";
  std::size_t size = 0;  // of the request's body
  entrance door = entrance::open;
  std::function<void(SSL_CTX*)> configure{};
  std::shared_ptr<const temporary_file> ca_file{};  // null: the server's
};

errc code_of(verdict end) {
  switch (end) {
    case verdict::malformed: return errc::malformed_response;
    case verdict::too_large: return errc::response_too_large;
    case verdict::late: return errc::timed_out;
    default: return errc::connection_failed;
  }
}

std::string group_of(const fault& row) {
  if (row.door != entrance::open || row.script.front().at == moment::accept) return "connection";
  if (row.script.front().at == moment::handshake) return "handshake";
  if (row.script.front().then == ending::flood || row.name.find("bomb") != std::string::npos) return "floods and bombs";
  if (row.end == verdict::late) return "stalls and drips";
  if (row.end == verdict::broken) return "breaks";
  return row.name.find("chunk") != std::string::npos ? "malformed chunks" : "malformed heads";
}

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* each) { return name == each; });
}

// faults.hpp says what is due from ours; this says where HTTP leaves it open.
void say_what_is_due(trial& t, const fault& row) {
  if (row.end != verdict::answer) t.error = code_of(row.end);
  t.status = row.status;
  t.body = row.body;
  // Not decoded, it is an answer.
  if (is_one_of(t.name, {"an encoding that was not asked for", "an encoding after none", "truncated gzip",
                         "a gzip bomb of 1 GiB"})) {
    const auto& sent = row.script.front().bytes;
    t.body = sent.substr(sent.find("\r\n\r\n") + 4);
    t.either = true;
  }
  // RFC 9112, 2.2, 5, 6.3 and 7.1; 9110, 5.5 and 8.6. What is large may be too large for some.
  if (is_one_of(t.name, {"chunks and a length",
                         "a length and chunks",
                         "the same length twice",
                         "a CR in a header",
                         "a NUL in a header",
                         "a folded header",
                         "a folded transfer coding",
                         "a space before the first header",
                         "a header's line that ends in LF",
                         "a head in lines that end in LF",
                         "a head that ends in LF",
                         "a space before a colon",
                         "a space in a header's name",
                         "a header's name that is no token",
                         "a header without a name",
                         "a header without a colon",
                         "1,001 headers",
                         "a head over 64 KiB",
                         "chunks 2/{}|0||",
                         "chunks 2|{}/0||"})) {
    t.body = "{}";
    t.either = true;
  }
}

std::deque<act> script_of(const fault& row) {
  auto script = row.script;
  for (auto& each : script) {
    // Small records would take too long to fill a memory.
    while (each.then == ending::flood && each.rest.size() < 16 * 1024) each.rest += each.rest;
    // What is wrong is the answer alone: the server waits for the next request.
    if (row.end == verdict::malformed && each.then == ending::stall) each.then = ending::keep;
  }
  if (row.connected) script.push_front({.bytes = nango_test::sound_answer("0")});
  return script;
}

void add_faults(std::vector<trial>& all) {
  for (const auto& row : nango_test::all_faults()) {
    trial t{.group = group_of(row), .name = row.name, .script = script_of(row), .connected = row.connected};
    say_what_is_due(t, row);
    if (!t.error) t.group = "odd but sound";
    if (!row.method.empty()) t.method = row.method;
    t.door = row.door;
    all.push_back(std::move(t));
  }
}

void add_certificates(std::vector<trial>& all) {
  const auto authority = std::make_shared<const certificate>(nango_test::make_authority());
  const auto stranger = std::make_shared<const certificate>(nango_test::make_authority("Somebody else"));
  const auto ca_file = std::make_shared<const temporary_file>(authority->pem());
  const auto row = [&](std::string name, const certificate_options& options, const auto& issuer, int version = 0) {
    const auto shown = std::make_shared<const certificate>(options, *issuer);
    all.push_back({.group = "certificates",
                   .name = std::move(name),
                   .error = errc::tls_failed,
                   .configure =
                       [shown, version](SSL_CTX* context) {
                         SSL_CTX_use_certificate(context, shown->x509());
                         SSL_CTX_use_PrivateKey(context, shown->key());
                         if (version == 0) return;
                         SSL_CTX_set_security_level(context, 0);  // or OpenSSL does not speak TLS 1.1 at all
                         SSL_CTX_set_min_proto_version(context, version);
                         SSL_CTX_set_max_proto_version(context, version);
                       },
                   .ca_file = ca_file});
  };
  row("expired", {.not_before = -std::chrono::hours(2), .not_after = -std::chrono::hours(1)}, authority);
  row("of an unknown authority", {}, stranger);
  row("of another host", {.common_name = "other.test", .dns = {"other.test"}, .ip = {}}, authority);
  row("of another host, with the right CN", {.common_name = "127.0.0.1", .dns = {"other.test"}, .ip = {}}, authority);
  row("with the right CN and no SAN", {.common_name = "127.0.0.1", .dns = {}, .ip = {}}, authority);
  row("TLS 1.1", {}, authority, TLS1_1_VERSION);
}

void add_posts(std::vector<trial>& all) {
  const auto add = [&](std::string name, std::deque<act> script, std::size_t size = 10) {
    script.push_front({.bytes = nango_test::sound_answer("0")});
    all.push_back({.group = "POST on a closing connection",
                   .name = "POST, " + std::move(name),
                   .script = std::move(script),
                   .connected = true,
                   .error = errc::connection_failed,
                   .method = "POST",
                   .size = size});
  };
  for (const auto& row : nango_test::all_faults()) {
    if (row.end != verdict::broken || row.connected || row.before_the_request(true)) continue;
    // With so small a request it is a matter of microseconds whether the client still sends (where it does, 0.11.4
    // crashes and 0.53.1 sends twice, now and then): see the 8 MiB below.
    if (row.script.front().at == moment::head) continue;
    add(row.name, script_of(row));
  }
  for (const auto& [then, how] :
       {std::pair(ending::close, "closed"), {ending::break_off, "broken off"}, {ending::reset, "reset"}}) {
    add(std::string(how) + " while 8 MiB are sent", {{.at = moment::head, .then = then}}, large);
    if (then == ending::reset) continue;
    add(std::string("the idle connection was ") + how, {});
    auto& idle = all.back();
    idle.error.reset();
    idle.body = "{\"status\":\"ok\",\"result\":\"/v1/fault\"}";
    idle.script = {{.bytes = nango_test::sound_answer("0"), .then = then}};
  }
}

std::vector<trial> all_trials() {
  std::vector<trial> all;
  add_faults(all);
  add_certificates(all);
  add_posts(all);
  return all;
}

// --- One trial in a process of its own ------------------------------------------------------------------------------

// comparison --one <number of the client> <url> <ca_file> <method> <size of its body> <connected> <next call>
int run_one(char** arguments) {
  ::signal(SIGPIPE, SIG_DFL);
  const rlimit memory{rlim_t{1} << 30, rlim_t{1} << 30};
  ::setrlimit(RLIMIT_AS, &memory);
  const auto& client = contenders().at(std::stoul(arguments[0]));
  const bool connected = *arguments[5] == '1', has_next = *arguments[6] == '1';
  const auto send = client.make(arguments[1], arguments[2], connected || has_next);
  const auto say = [](const std::string& line) { std::printf("%s\n", line.c_str()), std::fflush(stdout); };
  const auto rest = [] { std::this_thread::sleep_for(milliseconds(300)); };  // the server may close
  const std::string prefix = is_ours(client.name) ? "" : "/v1/";
  if (connected) say(send("GET", prefix + "first", {}));
  if (connected && has_next) rest();
  say(send(arguments[3], prefix + "fault", std::string(std::stoul(arguments[4]), 'x')));
  if (has_next) rest(), say(send("GET", prefix + "next", {}));
  return 0;
}

// This program once more, with other arguments.
class child {
 public:
  explicit child(const std::vector<std::string>& arguments);
  ~child() { ::close(output_); }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  /// Waits for its end, or ends it. The word for how it ended before it was through with its calls; else empty.
  std::string await();
  /// What it said so far.
  std::vector<std::string> lines() const;
  long peak_kilobytes() const { return peak_kilobytes_; }

 private:
  void look_at_memory();
  bool read_for(milliseconds time);

  int output_ = -1;
  pid_t id_ = -1;
  long peak_kilobytes_ = 0;
  std::string text_{};
};

child::child(const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  output_ = ends[0];
  std::vector<char*> raw;
  for (const auto& each : arguments) raw.push_back(const_cast<char*>(each.c_str()));
  raw.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);  // terminate()'s last words
  const int failure = ::posix_spawn(&id_, "/proc/self/exe", &actions, nullptr, raw.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failure != 0) throw std::runtime_error("no child");
}

// (ru_maxrss would begin with the parent's.)
void child::look_at_memory() {
  std::ifstream status("/proc/" + std::to_string(id_) + "/status");
  for (std::string word; status >> word;) {
    if (word == "VmHWM:" && status >> peak_kilobytes_) return;
  }
}

// False: there is no more.
bool child::read_for(milliseconds time) {
  pollfd entry{output_, POLLIN, 0};
  if (::poll(&entry, 1, static_cast<int>(time.count())) == 0) return true;
  std::array<char, 4096> data{};
  const auto got = ::read(output_, data.data(), data.size());
  if (got > 0) text_.append(data.data(), static_cast<std::size_t>(got));
  return got > 0;
}

std::string child::await() {
  const auto until = steady_clock::now() + patience;
  std::string ended_by;
  while (ended_by.empty() && read_for(milliseconds(10))) {
    look_at_memory();
    if (steady_clock::now() > until) ended_by = peak_kilobytes_ > most_kilobytes_of_a_hang ? "memory" : "hang";
    if (peak_kilobytes_ > most_kilobytes) ended_by = "memory";
  }
  if (!ended_by.empty()) ::kill(id_, SIGKILL);
  int status = 0;
  ::waitpid(id_, &status, 0);
  if (ended_by.empty() && status != 0) ended_by = "crash";
  if (ended_by == "crash" && WIFSIGNALED(status)) text_ += "signal " + std::to_string(WTERMSIG(status)) + '\n';
  return ended_by;
}

std::vector<std::string> child::lines() const {
  std::vector<std::string> all;
  std::istringstream text(text_);
  for (std::string line; std::getline(text, line);) all.push_back(line);
  return all;
}

std::string body_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

std::string judge(const trial& t, bool ours, const std::vector<std::string>& lines) {
  const std::string& line = lines.at(0);
  const bool expected = line == told(t.status, t.body);
  if (line.starts_with("error ")) {
    if (!t.error && !t.either) return "refused";
    const bool right = !ours || !t.error || line.starts_with("error " + std::string(nango::to_string(*t.error)));
    return right ? "right" : "errc";
  }
  if (t.error && !t.either) return ours || line.starts_with("answer 2") ? "wrong" : "right";
  if (!expected) return "wrong";
  if (t.error) return "right";
  static const auto next = told(200, body_of(nango_test::sound_answer("\"/v1/next\"")));
  return lines.at(1) == next ? "right" : lines.at(1).starts_with("error ") ? "refused" : "wrong";
}

// Outcome, tab, what it said.
std::string meet_once(const trial& t, std::size_t client) {
  auto script = t.script;
  for (int i = 0; i < 7 && t.error && !script.empty(); ++i) script.push_back(script.back());  // for whoever tries again
  fault_server server({.script = std::move(script), .configure = t.configure, .door = t.door});
  const auto flag = [](bool set) { return std::string(set ? "1" : "0"); };
  child one({"comparison", "--one", std::to_string(client), "https://127.0.0.1:" + std::to_string(server.port()),
             t.ca_file ? t.ca_file->path() : server.ca_file(), t.method, std::to_string(t.size), flag(t.connected),
             flag(!t.error)});
  auto outcome = one.await();
  auto lines = one.lines();
  if (t.connected) {
    if (lines.empty() || !lines.front().starts_with("answer 200")) throw std::runtime_error(t.name + ": no first one");
    lines.erase(lines.begin());
  }
  const int others = (t.connected ? 1 : 0) + (!t.error && lines.size() == 2 ? 1 : 0);  // the first, the next
  const int seen = server.started() - others;
  if (outcome.empty() && t.method == "POST" && seen > 1) outcome = "twice";
  if (outcome.empty()) outcome = judge(t, is_ours(contenders()[client].name), lines);
  outcome += "\tseen " + std::to_string(seen) + ", " + std::to_string(one.peak_kilobytes() / 1024) + " MiB";
  for (const auto& line : lines) outcome += "; " + line;
  return outcome;
}

// What ends by chance of timing is tried again and again: the worst counts.
std::string meet(const trial& t, std::size_t client) {
  const bool by_chance = t.method == "POST" || t.error == errc::connection_failed;
  std::string worst;
  std::ptrdiff_t rank = -1;
  for (int i = !by_chance ? 1 : t.size == large ? 40 : 10; i > 0; --i) {
    const auto line = meet_once(t, client);
    const auto found = std::find(outcomes.begin(), outcomes.end(), line.substr(0, line.find('\t'))) - outcomes.begin();
    if (found > rank) worst = line, rank = found;
    if (rank >= first_that_ends_it) break;
  }
  return worst;
}

void print_raw() {
  const auto trials = all_trials();
  const auto total = trials.size() * contenders().size();
  std::vector<std::string> ended(total);
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> workers;
  for (int i = 0; i < 6; ++i) {
    workers.emplace_back([&] {
      for (std::size_t job; (job = next++) < total;) {
        ended[job] = meet(trials[job % trials.size()], job / trials.size());
      }
    });
  }
  for (auto& worker : workers) worker.join();
  for (std::size_t job = 0; job < total; ++job) {
    const auto& t = trials[job % trials.size()];
    std::printf("%s\t%s\t%s\t%s\n", contenders()[job / trials.size()].name.c_str(), t.group.c_str(), t.name.c_str(),
                ended[job].c_str());
  }
}

// --- The table ------------------------------------------------------------------------------------------------------

struct table {
  struct row {
    std::string group, name;
    std::map<std::string, std::string> outcomes{};  // by the client's name
  };
  const std::vector<std::string> groups{
      "connection",      "handshake",        "stalls and drips", "breaks",       "odd but sound",
      "malformed heads", "malformed chunks", "floods and bombs", "certificates", "POST on a closing connection"};
  std::vector<std::string> clients{};
  std::vector<row> rows{};

  void read(const char* file);
  int count(const std::string& client, const std::string& outcome, const std::string& group = {}) const {
    return static_cast<int>(std::count_if(rows.begin(), rows.end(), [&](const row& each) {
      return (group.empty() || each.group == group) && each.outcomes.at(client) == outcome;
    }));
  }
};

void table::read(const char* file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error(std::string("cannot read ") + file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream cells(line);
    std::string client, group, name, outcome;
    for (auto* cell : {&client, &group, &name, &outcome}) std::getline(cells, *cell, '\t');
    if (std::find(clients.begin(), clients.end(), client) == clients.end()) clients.push_back(client);
    auto at = std::find_if(rows.begin(), rows.end(), [&](const row& each) { return each.name == name; });
    if (at == rows.end()) at = rows.insert(at, {group, name});
    at->outcomes[client] = outcome;
  }
  const auto rank = [](const std::string& name) { return std::array{is_ours(name), name.starts_with("libcurl")}; };
  std::stable_sort(clients.begin(), clients.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  const auto place = [&](const row& each) { return std::find(groups.begin(), groups.end(), each.group); };
  std::stable_sort(rows.begin(), rows.end(), [&](const row& a, const row& b) { return place(a) < place(b); });
}

void print_line(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const auto& cell : cells) line += (cell.empty() ? "" : " ") + cell + " |";
  std::puts(line.c_str());
}
void print_head(std::vector<std::string> cells, const std::vector<std::string>& more, const char* alignment) {
  cells.insert(cells.end(), more.begin(), more.end());
  print_line(cells);
  std::string rule = "|---|";
  for (std::size_t i = 1; i < cells.size(); ++i) rule += alignment;
  std::puts(rule.c_str());
}

void print_summary(const table& all) {
  print_head({"of " + std::to_string(all.rows.size())}, {outcomes.begin(), outcomes.end()}, "---:|");
  for (const auto& client : all.clients) {
    std::vector<std::string> cells{client};
    for (const auto* outcome : outcomes) {
      const bool asked = is_ours(client) || std::string_view(outcome) != "errc";
      cells.push_back(asked ? std::to_string(all.count(client, outcome)) : "-");
    }
    print_line(cells);
  }
}

void print_groups(const table& all) {
  print_head({""}, all.clients, "---|");
  for (const auto& group : all.groups) {
    const auto size =
        std::count_if(all.rows.begin(), all.rows.end(), [&](const auto& row) { return row.group == group; });
    std::vector<std::string> cells{group + " (" + std::to_string(size) + ")"};
    for (const auto& client : all.clients) {
      std::string cell;
      for (const auto* outcome : outcomes) {
        const int n = outcome == outcomes[0] ? 0 : all.count(client, outcome, group);
        if (n != 0) cell += (cell.empty() ? "" : ", ") + std::to_string(n) + ' ' + outcome;
      }
      cells.push_back(cell.empty() ? "right" : cell);
    }
    print_line(cells);
  }
}

void print_rows(const table& all) {
  print_head({"group", "row"}, all.clients, "---|");
  for (const auto& row : all.rows) {
    std::string name;
    for (const char c : row.name) name += c == '|' ? "\\|" : std::string(1, c);
    std::vector<std::string> cells{row.group, name};
    for (const auto& client : all.clients) cells.push_back(row.outcomes.at(client));
    print_line(cells);
  }
}

void print_left(const table& all) {
  for (const auto& client : all.clients) {
    if (!is_ours(client)) continue;
    std::string line = "Not right with " + client + ':';
    const char* before = " ";
    for (const auto& row : all.rows) {
      if (row.outcomes.at(client) == "right") continue;
      line += std::exchange(before, "; ") + row.name + " (" + row.outcomes.at(client) + ')';
    }
    for (std::size_t end; line.size() > 120 && (end = line.rfind(' ', 120)) != std::string::npos;
         line.erase(0, end + 1)) {
      std::puts(line.substr(0, end).c_str());
    }
    std::puts((line + (*before == ' ' ? " nothing.\n" : ".\n")).c_str());
  }
}

int print_table(char** files, bool each_row) {
  table all;
  for (; *files != nullptr; ++files) all.read(*files);
  print_summary(all);
  std::puts("");
  print_groups(all);
  std::puts("");
  if (std::none_of(all.clients.begin(), all.clients.end(), [](auto& name) { return name.starts_with("libcurl"); })) {
    std::puts("libcurl is left out: it was not there when this was built.\n");
  }
  print_left(all);
  if (each_row) print_rows(all);
  return 0;
}

}  // namespace

int main(int count, char** arguments) try {
  const std::string_view what = count > 1 ? arguments[1] : "";
  if (what == "--one" && count == 9) return run_one(arguments + 2);
  if (what == "--raw") return print_raw(), 0;
  if (count > 2 && (what == "--table" || what == "--all")) return print_table(arguments + 2, what == "--all");
  std::fprintf(stderr, "comparison --raw | --table <raw>... | --all <raw>...\n");
  return 2;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
