// The soak test: 32 threads call for 2,000 users, through a real HAProxy and to a server of faults. Calls are canceled
// at random, clients come and go, a child of this process calls with its copy of them each second, and the server
// behind HAProxy dies and comes back. It ends with one line for each promise, and with status 1 where one was broken
// (77: there is no haproxy). By hand:
//
//   soak [seconds, 60 if not given [seed]]
//
// Both servers are processes of their own (this program again), so that what is measured here is the client's alone.
// They note in shared memory which calls they executed: a note survives the server, and is made before its answer.

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::moment;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::size_t caller_count = 32, user_count = 2000;
// The first callers have few users, so that these are at their limit all the time and wait for permits.
constexpr std::size_t hot_caller_count = 16, hot_user_count = 4;

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

class dice {
 public:
  dice(std::uint64_t seed, std::uint64_t whose) : random_(seed * 1'000'003 + whose) {}
  std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  milliseconds between(int least, int most) {
    return milliseconds(std::uniform_int_distribution<int>(least, most)(random_));
  }

 private:
  std::mt19937_64 random_;
};

// --- What was called, and what came of it ---

enum class outcome : std::uint8_t { none, success, may_have_executed, not_executed };

// All of it is zero at first. Each process writes what is its own.
struct book {
  struct call {
    std::atomic<std::uint8_t> executions;  // the servers'
    std::atomic<bool> is_post;             // the client's, like what follows; otherwise it is a PUT or a GET
    std::atomic<outcome> reported;         // none for a GET
  };
  std::atomic<int> fault_port;  // the fault server's, like the next; set when it serves
  std::array<char, 256> fault_ca_file;
  std::array<call, std::size_t{1} << 25> calls;  // by id; 5,000 a second for 110 minutes
};
static_assert(std::atomic<std::uint8_t>::is_always_lock_free && std::atomic<outcome>::is_always_lock_free);

// The book, in memory that the servers get as their descriptor 3. What nobody wrote to takes no room.
class shared_book {
 public:
  static shared_book make() {
    const int fd = ::memfd_create("soak", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, sizeof(book)) != 0) throw std::runtime_error("no shared memory");
    return shared_book(fd);
  }
  static shared_book inherited() { return shared_book(3); }
  ~shared_book() {
    ::munmap(pages_, sizeof(book));
    ::close(fd_);
  }
  shared_book(const shared_book&) = delete;
  shared_book& operator=(const shared_book&) = delete;

  int fd() const { return fd_; }
  book& operator*() const { return *static_cast<book*>(pages_); }
  book* operator->() const { return static_cast<book*>(pages_); }

 private:
  explicit shared_book(int fd)
      : fd_(fd), pages_(::mmap(nullptr, sizeof(book), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {
    if (pages_ == MAP_FAILED) throw std::runtime_error("no shared memory");
  }
  int fd_;
  void* pages_;
};

void note_execution(book& all, std::string_view method, std::uint64_t id) {
  if (method != "GET" && id < all.calls.size()) ++all.calls[id].executions;
}

// What a sound answer says: whom it is for, and which call it answers by its path and by its body.
nango::json echo(const std::string& user, std::uint64_t id, const std::string& body) {
  const auto sent = nango::json::parse(body, nullptr, false);
  return {{"user", user}, {"id", id}, {"body_id", sent.is_object() ? sent.value("id", nango::json()) : nango::json()}};
}

// --- The sound server ---

void execute(book& all, const httplib::Request& request, httplib::Response& response) {
  const auto id = std::stoull(request.matches[1]);
  dice thrown(id, 0);  // some calls take a while, before it or after, and meet cancels, deadlines and the server's end
  if (thrown.one_in(16)) std::this_thread::sleep_for(thrown.between(1, 60));
  note_execution(all, request.method, id);
  if (thrown.one_in(16)) std::this_thread::sleep_for(thrown.between(1, 60));
  const auto result = echo(request.get_header_value("X-User-Account"), id, request.body);
  response.set_content(nango::json{{"status", "ok"}, {"result", result}}.dump(), "application/json");
}

int serve_soundly(int port) {
  const auto all = shared_book::inherited();
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(128); };  // a connection that is kept has a thread
  server.set_keep_alive_max_count(1'000'000);
  server.set_tcp_nodelay(true);
  server.set_socket_options([](int fd) {
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  const auto handler = [&](const auto& request, auto& response) { execute(*all, request, response); };
  const std::string path = R"(/v1/calls/(\d+))";
  server.Get(path, handler).Post(path, handler).Put(path, handler);
  return server.listen("127.0.0.1", port) ? 0 : 1;
}

// A port that the server can have whenever it comes back: bound here, and thus taken for everybody else.
class reserved_port {
 public:
  reserved_port() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(fd_, generic, size) != 0 || ::getsockname(fd_, generic, &size) != 0) {
      throw std::runtime_error("no loopback port");
    }
    number_ = ntohs(address.sin_port);
  }
  ~reserved_port() { ::close(fd_); }
  reserved_port(const reserved_port&) = delete;
  reserved_port& operator=(const reserved_port&) = delete;
  int number() const { return number_; }

 private:
  int fd_;
  int number_ = 0;
};

// --- The fault server ---

std::string refusal(const std::string& status, const std::string& type, const std::string& fields = {}) {
  const auto body = nango::json{{"status", "error"}, {"error_type", type}, {"error_msg", "by lot"}}.dump();
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Draws what becomes of a connection and of a request. Its members may be called from many threads at once.
class fates {
 public:
  fates(book& all, std::uint64_t seed) : all_(all), seed_(seed) {
    for (const auto& row : nango_test::all_faults()) {
      const bool is_of_a_request = row.script.size() == 1 && row.script[0].at == moment::request;
      if (is_of_a_request && row.status == 200) bad_.push_back(row.script[0]);  // a 204 would be a success
    }
  }

  act of_connection() {
    auto thrown = throw_dice();
    constexpr std::array early{moment::accept, moment::handshake};
    constexpr std::array ends{ending::break_off, ending::reset, ending::stall};
    if (!thrown.one_in(8)) return {};
    return {.at = early[thrown.below(early.size())], .then = ends[thrown.below(ends.size())]};
  }

  act of_request(std::string_view request) {
    auto thrown = throw_dice();
    // The API says of these that it did not act, and here it is true.
    if (thrown.one_in(40)) return {.bytes = refusal("400 Bad Request", "PARAMS_ERROR")};
    if (thrown.one_in(40)) return {.bytes = refusal("401 Unauthorized", "AUTH_ERROR")};
    if (thrown.one_in(40)) return {.bytes = refusal("429 Too Many Requests", "RATE_ERROR", "Retry-After: 0\r\n")};
    const auto answer = nango_test::sound_answer(executed(request).dump());
    if (thrown.one_in(20)) return {.bytes = refusal("500 Internal Server Error", "PROCESSING_ERROR")};
    if (thrown.one_in(20)) return {.bytes = answer, .then = ending::close};
    if (thrown.one_in(20)) return {.bytes = answer + nango_test::sound_answer(echo("nobody", 0, "").dump())};
    if (thrown.one_in(3)) return bad_[thrown.below(bad_.size())];
    return {.bytes = answer};
  }

 private:
  dice throw_dice() { return {seed_, number_++}; }

  static std::string between(std::string_view text, std::string_view before, std::string_view after) {
    const auto begin = text.find(before) + before.size();
    return std::string(text.substr(begin, text.find(after, begin) - begin));
  }
  nango::json executed(std::string_view request) {
    const auto id = std::stoull(between(request, "/v1/calls/", " "));
    note_execution(all_, request.substr(0, request.find(' ')), id);
    const auto body = request.substr(request.find("\r\n\r\n") + 4);
    return echo(between(request, "X-User-Account: ", "\r\n"), id, std::string(body));
  }

  book& all_;
  std::uint64_t seed_;
  std::atomic<std::uint64_t> number_ = 0;
  std::vector<act> bad_{};
};

int serve_faults(std::uint64_t seed) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
  const auto all = shared_book::inherited();
  fates drawn(*all, seed);
  const nango_test::fault_server server({.afterwards = [&](auto request) { return drawn.of_request(request); },
                                         .on_connection = [&] { return drawn.of_connection(); },
                                         .remembers = false});
  std::strncpy(all->fault_ca_file.data(), server.ca_file().c_str(), all->fault_ca_file.size() - 1);
  all->fault_port = server.port();
  int got = 0;
  sigwait(&end, &got);
  return 0;
}

std::vector<std::string> this_program(const std::string& role, std::uint64_t argument) {
  return {"/proc/self/exe", role, std::to_string(argument)};
}

// --- What is promised ---

enum promise {
  ends,
  right_caller,
  no_429,
  truth,
  forks,
  descriptors,
  threads,
  memory,
  servers,
  variety,
  promise_count
};

constexpr std::array<const char*, promise_count> promises{
    "each call ends in time, with an answer or with an error that fits",
    "no answer comes to the wrong caller",
    "the gateway answers 429 to nobody",
    "success was executed, what cannot have been was not, and no POST was twice",
    "a child that was forked amid calls makes its own, as the parent would",
    "descriptors are flat",
    "threads are flat",
    "memory is flat",
    "HAProxy and the fault server never stopped",
    "all that is to be survived was met",
};

// What was broken of them. Thread-safe.
class verdicts {
 public:
  void broken(promise which, const std::string& how) {
    const std::lock_guard lock(mutex_);
    if (++times_[which] <= 5) say("BROKEN: " + std::string(promises[which]) + ": " + how);
  }
  void check(promise which, bool kept, const std::string& how) {
    if (!kept) broken(which, how);
  }
  bool print() const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < promise_count; ++i) {
      const bool is_kept = times_[i] == 0, is_known = i != memory || !nango_test::is_sanitized;
      const auto how = is_kept ? std::string() : " (" + std::to_string(times_[i]) + " times)";
      const std::string mark = !is_kept ? "  FAILED  " : is_known ? "  ok      " : "  unknown ";
      say(mark + promises[i] + how);
    }
    return std::count(times_.begin(), times_.end(), 0U) == promise_count;
  }

 private:
  mutable std::mutex mutex_{};
  std::array<std::size_t, promise_count> times_{};
};

// What this process holds. Shared memory is left out: it is the book.
struct holdings {
  std::size_t descriptors = nango_test::open_descriptors(), threads = nango_test::threads();
  std::size_t resident = resident_bytes(), allocated = allocated_bytes();

  std::string text() const {
    return std::to_string(threads) + " threads, " + std::to_string(descriptors) + " descriptors, " +
           std::to_string(resident >> 10) + " KiB, " + std::to_string(allocated >> 10) + " KiB of it allocated";
  }

 private:
  static std::size_t resident_bytes() {
    std::size_t size = 0, resident = 0, shared = 0;
    std::ifstream("/proc/self/statm") >> size >> resident >> shared;
    return (resident - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
  static std::size_t allocated_bytes() {
    const auto all = ::mallinfo2();
    return all.uordblks + all.hblkhd;
  }
};

// --- The gateway and all behind it ---

struct no_haproxy : std::runtime_error {
  using runtime_error::runtime_error;
};

class scene {
 public:
  explicit scene(std::uint64_t seed) : faults_(this_program("faults", seed), {}, all.fd()) {
    start_server();
    const auto asks = [this] { return all->fault_port != 0 && refusals().has_value(); };
    if (nango_test::comes_true([&] { return asks() || !haproxy_.running(); }) && asks()) return;
    const auto status = haproxy_.status();
    if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 127) throw no_haproxy("skipped: no haproxy");
    throw std::runtime_error("no answer from haproxy: " + haproxy_.output());
  }

  bool server_runs() const { return server_.has_value(); }
  void start_server() {
    const auto port = static_cast<std::uint64_t>(port_.number());
    server_.emplace(this_program("sound", port), std::vector<std::string>{}, all.fd());
  }
  void stop_server() { server_.reset(); }
  bool others_run() { return haproxy_.running() && faults_.running(); }
  /// Nothing is executed after this.
  void stop() {
    haproxy_.stop();
    stop_server();
    faults_.stop();
  }

  nango::client_options gateway_options() const {
    auto options = common_options(socket_.port());
    options.ca_file = ca_file_.path();
    return options;
  }
  nango::client_options fault_options() const {
    auto options = common_options(all->fault_port);
    options.ca_file = all->fault_ca_file.data();
    options.max_response_bytes = std::size_t{1} << 20;
    return options;
  }
  /// As HAProxy counts them.
  nango::result<std::size_t> refusals() const {
    auto options = gateway_options();
    options.timeout = seconds(5);
    return nango::client(options).get<std::size_t>("refused");
  }

  shared_book all = shared_book::make();

 private:
  static nango::client_options common_options(int port) {
    return {.api_key = "soak-api-key", .base_url = "https://127.0.0.1:" + std::to_string(port) + "/v1/"};
  }
  nango_test::certificate authority_ = nango_test::make_authority();
  nango_test::certificate certificate_{{}, authority_};
  nango_test::temporary_file ca_file_{authority_.pem()};
  nango_test::temporary_file certificate_file_{certificate_.pem() + certificate_.key_pem()};
  nango_test::loopback_socket socket_{};
  reserved_port port_{};
  nango_test::child haproxy_{
      {"haproxy", "-db", "-f", GATEWAY_CONFIGURATION},
      {"GATEWAY_CERTIFICATE=" + certificate_file_.path(), "SERVER_PORT=" + std::to_string(port_.number())},
      socket_.fd()};
  nango_test::child faults_;
  std::optional<nango_test::child> server_{};
};

// --- The callers ---

// What came of the calls, whoever made them. Thread-safe.
struct counts {
  std::atomic<std::uint64_t> calls = 0, successes = 0, waits = 0, cancels = 0, clients = 0, restarts = 0;
  std::atomic<std::uint64_t> children = 0, stuck_children = 0;
  std::array<std::atomic<std::uint64_t>, 128> errors{};  // by code

  std::uint64_t of(errc code) const { return errors[static_cast<std::size_t>(code)]; }
  std::string text() const {
    auto line = std::to_string(calls) + " calls, " + std::to_string(successes) + " answered";
    for (std::size_t code = 0; code < errors.size(); ++code) {
      if (errors[code] == 0) continue;
      line += ", " + std::to_string(errors[code]) + ' ' + std::string(nango::to_string(static_cast<errc>(code)));
    }
    return line;
  }
};

// One call: what is wanted of it, and when it began.
struct call {
  bool to_faults = false;
  std::string user{}, method{};
  std::uint64_t id = 0;
  std::size_t padding = 0;  // of the body
  milliseconds timeout{};
  nango::cancel_source source{};
  steady_clock::time_point began = steady_clock::now();

  std::string text() const { return method + " of id " + std::to_string(id) + (to_faults ? " (faults)" : ""); }
};

// Where others find the call that a caller is at, to cancel it.
class cancel_slot {
 public:
  void set(std::optional<nango::cancel_source> source) {
    const std::lock_guard lock(mutex_);
    source_ = std::move(source);
  }
  bool cancel() {
    const std::lock_guard lock(mutex_);
    if (source_) source_->cancel();
    return source_.has_value();
  }

 private:
  std::mutex mutex_{};
  std::optional<nango::cancel_source> source_{};
};

// --- Children ---

// How a child ends.
enum class child_end { well, wrong_answer, wrong_error, late, no_answer, thrown, stuck, stuck_in_openssl };

// In a child that has not ended: whose lock it waits for. OpenSSL and the C library do not promise that a fork amid
// calls leaves theirs free.
void tell_where(int) {
  std::array<void*, 64> frames{};
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 1; i < count; ++i) {  // from the inside, without this function
    Dl_info found{};
    if (::dladdr(frames[static_cast<std::size_t>(i)], &found) == 0 || found.dli_fname == nullptr) continue;
    const std::string_view file(found.dli_fname);
    if (file.find("/libc.so") != file.npos) continue;
    const bool is_openssl = file.find("/libcrypto.so") != file.npos || file.find("/libssl.so") != file.npos;
    ::_exit(static_cast<int>(is_openssl ? child_end::stuck_in_openssl : child_end::stuck));
  }
  ::_exit(static_cast<int>(child_end::stuck));
}

class callers {
 public:
  callers(scene& around, verdicts& found, std::uint64_t seed)
      : scene_(around), found_(found), seed_(seed), chance_(seed, ~std::uint64_t{0}) {}

  /// For as long as given. Afterwards the clients that lived all that time are gone too.
  struct measured {
    holdings living, after;  // before these clients' end, and after it
  };
  measured run_for(milliseconds duration);

  const counts& seen() const { return seen_; }
  std::uint64_t ids() const { return next_id_; }

 private:
  struct clients {
    nango::client gateway, faults;
  };

  nango::client make_client(bool to_faults);
  void run(const clients& lasting, std::size_t number);
  call draw(dice& thrown, std::size_t number, bool to_faults);
  void make(const nango::client& api, const call& wanted, cancel_slot& slot);
  static nango::result<nango::json> send(const nango::client& api, const call& wanted);
  void note(const call& wanted, const nango::result<nango::json>& answer, steady_clock::duration took);
  void write_down(const call& wanted, const nango::result<nango::json>& answer) const;
  void check_answer(const call& wanted, const nango::json& answer);
  void check_error(const call& wanted, const nango::error& failure, steady_clock::duration took);

  void disturb_until(steady_clock::time_point end, const clients& lasting);
  static constexpr std::uint64_t calls_of_child = 10;
  void fork_one(const clients& lasting);
  child_end call_as_child(const clients& lasting, std::uint64_t first_id) const;
  void await_children(steady_clock::time_point end);
  milliseconds change_server();
  void report() const;
  holdings settled(std::size_t more_descriptors) const;

  scene& scene_;
  verdicts& found_;
  const std::uint64_t seed_;
  dice chance_;
  const holdings at_first_{};
  const steady_clock::time_point began_ = steady_clock::now();
  // HAProxy estimates from two fixed seconds what came in the last one. After a pause in a steady stream the estimate
  // is up to a quarter more than what came in any second. So those who may send 100 in a second keep to 75 here.
  nango::sliding_window gateway_limit_{{.requests = 75}};
  nango::sliding_window fault_limit_{{}};
  counts seen_{};
  std::atomic<std::uint64_t> next_id_ = 1, next_dice_ = 0;
  std::atomic<bool> over_ = false;
  std::array<cancel_slot, caller_count> slots_{};
  std::vector<pid_t> children_{};
};

nango::client callers::make_client(bool to_faults) {
  ++seen_.clients;
  auto options = to_faults ? scene_.fault_options() : scene_.gateway_options();
  if (to_faults) return {options, nango::httplib_backend(options), fault_limit_};
  options.on_attempt = [this](const nango::attempt& seen) {
    if (seen.waited > milliseconds(1)) ++seen_.waits;
    found_.check(no_429, seen.http_status != 429, std::string(seen.path));
  };
  return {options, nango::httplib_backend(options), gateway_limit_};
}

void callers::run(const clients& lasting, std::size_t number) {
  dice thrown(seed_, next_dice_++);
  while (!over_ && next_id_ < scene_.all->calls.size() - 1000) {
    const bool to_faults = number >= hot_caller_count && thrown.one_in(6);
    const auto& lasts = to_faults ? lasting.faults : lasting.gateway;
    const auto api = thrown.one_in(20) ? make_client(to_faults) : lasts;
    for (auto left = 1 + thrown.below(4); left > 0; --left) {
      make(api, draw(thrown, number, to_faults), slots_[number]);
    }
  }
}

call callers::draw(dice& thrown, std::size_t number, bool to_faults) {
  const bool is_hot = number < hot_caller_count;
  const auto user = is_hot ? number % hot_user_count : hot_user_count + thrown.below(user_count - hot_user_count);
  constexpr std::array methods{"GET", "POST", "PUT", "GET", "POST"};
  call wanted{.to_faults = to_faults,
              .user = "user-" + std::to_string(user),
              .method = methods[thrown.below(methods.size())],
              .id = next_id_++,
              .padding = thrown.below(thrown.one_in(20) ? 100'000 : 200),
              .timeout = seconds(10)};
  if (thrown.one_in(4)) wanted.timeout = thrown.between(1, 60);
  if (to_faults) wanted.timeout = thrown.between(20, 500);
  return wanted;
}

void callers::make(const nango::client& api, const call& wanted, cancel_slot& slot) {
  slot.set(wanted.source);
  const auto answer = send(api, wanted);
  const auto took = steady_clock::now() - wanted.began;
  slot.set({});
  note(wanted, answer, took);
}

nango::result<nango::json> callers::send(const nango::client& api, const call& wanted) {
  const auto handle = api.user(wanted.user);
  const auto path = "calls/" + std::to_string(wanted.id);
  const nango::call_options options{.timeout = wanted.timeout, .cancel = wanted.source.token()};
  if (wanted.method == "GET") return handle.get(path, {}, options);
  const nango::json body{{"id", wanted.id}, {"padding", std::string(wanted.padding, 'x')}};
  return wanted.method == "POST" ? handle.post(path, body, options) : handle.put(path, body, options);
}

constexpr seconds most_late(nango_test::is_sanitized ? 20 : 3);  // on a busy machine

nango::json expected_answer(const call& wanted) {
  const auto body_id = wanted.method == "GET" ? nango::json() : nango::json(wanted.id);
  return {{"user", wanted.user}, {"id", wanted.id}, {"body_id", body_id}};
}

void callers::note(const call& wanted, const nango::result<nango::json>& answer, steady_clock::duration took) {
  found_.check(ends, took < wanted.timeout + most_late, wanted.text() + " was late");
  ++seen_.calls;
  if (answer) {
    check_answer(wanted, *answer);
  } else {
    check_error(wanted, answer.error(), took);
  }
  write_down(wanted, answer);
}

void callers::write_down(const call& wanted, const nango::result<nango::json>& answer) const {
  if (wanted.method == "GET") return;
  auto& noted = scene_.all->calls[wanted.id];
  noted.is_post = wanted.method == "POST";
  const bool is_unknown = !answer && answer.error().may_have_executed;
  noted.reported = answer ? outcome::success : is_unknown ? outcome::may_have_executed : outcome::not_executed;
}

void callers::check_answer(const call& wanted, const nango::json& answer) {
  ++seen_.successes;
  found_.check(right_caller, answer == expected_answer(wanted),
               wanted.text() + " for " + wanted.user + " got " + answer.dump());
}

// Whether what the error says is true, and can come of the way the call went.
bool fits(const call& wanted, const nango::error& failure, steady_clock::duration took) {
  const auto status = failure.http_status;
  switch (failure.code) {
    case errc::canceled: return wanted.source.token().canceled();
    case errc::timed_out: return took >= wanted.timeout;
    case errc::connection_failed: return true;
    case errc::rate_limited: return wanted.to_faults || status == 0;  // by our own limiter
    case errc::unexpected_status: return wanted.to_faults || (status >= 502 && status <= 504);
    case errc::invalid_argument:
    case errc::decode_error: return false;
    default: return wanted.to_faults;
  }
}

void callers::check_error(const call& wanted, const nango::error& failure, steady_clock::duration took) {
  ++seen_.errors[static_cast<std::size_t>(failure.code)];
  const auto milliseconds_taken = std::chrono::duration_cast<milliseconds>(took).count();
  if (fits(wanted, failure, took) && !failure.message.empty()) return;
  std::ostringstream text;
  text << wanted.text() << " after " << milliseconds_taken << " of " << wanted.timeout.count() << " ms: " << failure;
  found_.broken(ends, text.str());
}

// --- What happens around the callers ---

// Returns when to change it again.
milliseconds callers::change_server() {
  if (!scene_.server_runs()) {
    scene_.start_server();
    return chance_.between(1000, 5000);
  }
  scene_.stop_server();
  ++seen_.restarts;
  return chance_.between(0, 400);
}

// The child has users of its own, as each process counts by itself what it sends.
child_end callers::call_as_child(const clients& lasting, std::uint64_t first_id) const {
  auto end = child_end::no_answer;
  for (auto id = first_id; id < first_id + calls_of_child; ++id) {
    std::this_thread::sleep_for(milliseconds(100));  // so that they outlast a pause of the server
    dice thrown(seed_, id);
    const bool to_faults = thrown.one_in(4);
    call wanted{.to_faults = to_faults,
                .user = "child-" + std::to_string(first_id),
                .method = thrown.one_in(2) ? "GET" : "POST",
                .id = id,
                .padding = thrown.below(200),
                .timeout = to_faults ? milliseconds(500) : milliseconds(5000)};
    const auto answer = send(to_faults ? lasting.faults : lasting.gateway, wanted);
    const auto took = steady_clock::now() - wanted.began;
    write_down(wanted, answer);
    if (took > wanted.timeout + most_late) return child_end::late;
    if (answer && *answer != expected_answer(wanted)) return child_end::wrong_answer;
    if (!answer && !fits(wanted, answer.error(), took)) return child_end::wrong_error;
    if (answer) end = child_end::well;
  }
  return end;
}

void callers::fork_one(const clients& lasting) {
  const auto first_id = next_id_.fetch_add(calls_of_child);
  const auto pid = ::fork();
  if (pid == 0) {
    ::signal(SIGALRM, tell_where);
    ::alarm(nango_test::is_sanitized ? 600 : 60);
    auto end = child_end::thrown;
    try {
      end = call_as_child(lasting, first_id);
    } catch (const std::exception&) {
    }
    ::_exit(static_cast<int>(end));
  }
  found_.check(forks, pid > 0, "no fork");
  if (pid <= 0) return;
  ++seen_.children;
  children_.push_back(pid);
}

// Until `end` at the latest, and not at all where that is past.
void callers::await_children(steady_clock::time_point end) {
  constexpr std::array names{
      "a wrong answer", "an error that does not fit", "a late call", "no answer at all", "an exception", "it hangs"};
  do {
    std::erase_if(children_, [&](pid_t pid) {
      int status = 0;
      if (::waitpid(pid, &status, WNOHANG) != pid) return false;
      const auto how = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      if (how == static_cast<int>(child_end::stuck_in_openssl)) ++seen_.stuck_children;
      if (how == static_cast<int>(child_end::well) || how == static_cast<int>(child_end::stuck_in_openssl)) return true;
      const bool is_named = how > 0 && static_cast<std::size_t>(how) <= names.size();
      found_.broken(forks, is_named ? names[static_cast<std::size_t>(how) - 1] : "status " + std::to_string(status));
      return true;
    });
    if (!children_.empty() && steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(20));
  } while (!children_.empty() && steady_clock::now() < end);
}

void callers::disturb_until(steady_clock::time_point end, const clients& lasting) {
  void* frame = nullptr;
  ::backtrace(&frame, 1);  // loads what it needs, for the children
  auto now = steady_clock::now();
  auto next_change = now + seconds(1), next_report = now + seconds(10), next_child = now;
  for (; now < end; now = steady_clock::now()) {
    std::this_thread::sleep_for(milliseconds(8));
    if (slots_[chance_.below(slots_.size())].cancel()) ++seen_.cancels;
    if (now >= next_change) next_change = now + change_server();
    if (now >= next_child) {
      next_child = now + seconds(1);
      fork_one(lasting);
    }
    await_children({});
    if (now < next_report) continue;
    next_report += seconds(10);
    report();
  }
  if (!scene_.server_runs()) scene_.start_server();
}

void callers::report() const {
  const holdings now;
  const auto since = std::chrono::duration_cast<seconds>(steady_clock::now() - began_).count();
  say(std::to_string(since) + " s: " + now.text() + "; " + seen_.text());
}

// What is held once it is no more than at first and what is allowed above it, or does not get there.
holdings callers::settled(std::size_t more_descriptors) const {
  nango_test::comes_true([&] {
    const holdings now;
    return now.descriptors <= at_first_.descriptors + more_descriptors && now.threads <= at_first_.threads;
  });
  ::malloc_trim(0);  // or what was freed counts as well
  return {};
}

callers::measured callers::run_for(milliseconds duration) {
  // Two clients live on: each has no more connections than callers, of a descriptor each.
  constexpr std::size_t most_descriptors = 2 * caller_count;
  std::optional<holdings> living;
  {
    const clients lasting{make_client(false), make_client(true)};
    std::vector<std::thread> all;
    over_ = false;
    for (std::size_t i = 0; i < caller_count; ++i) all.emplace_back([&, i] { run(lasting, i); });
    disturb_until(steady_clock::now() + duration, lasting);
    over_ = true;
    for (auto& thread : all) thread.join();
    await_children(steady_clock::now() + seconds(nango_test::is_sanitized ? 700 : 70));
    found_.check(forks, children_.empty(), "some do not end");
    living = settled(most_descriptors);
    found_.check(descriptors, living->descriptors <= at_first_.descriptors + most_descriptors,
                 std::to_string(living->descriptors) + " with two clients that are idle");
    found_.check(threads, living->threads <= at_first_.threads,
                 std::to_string(living->threads) + " with two clients that are idle");
  }
  const auto after = settled(0);
  found_.check(descriptors, after.descriptors == at_first_.descriptors, after.text());
  found_.check(threads, after.threads == at_first_.threads, after.text());
  return {*living, after};
}

// --- The end ---

// What the servers executed, and what the client said of it.
struct sums {
  std::uint64_t executed = 0, successes = 0, unknown_ran = 0, unknown_did_not = 0, not_executed = 0;
};

// Of one PUT or POST. Only a PUT may be executed again.
bool is_true(const book::call& one) {
  const int times = one.executions;
  if (one.is_post && times > 1) return false;
  switch (one.reported) {
    case outcome::success: return times >= 1;
    case outcome::may_have_executed: return true;
    default: return times == 0;
  }
}

sums add_up(const book& all, std::uint64_t ids, verdicts& found) {
  constexpr std::array names{"nothing", "success", "may_have_executed", "not executed"};
  sums posts;
  for (std::uint64_t id = 0; id < ids; ++id) {
    const auto& one = all.calls[id];
    const outcome reported = one.reported;
    if (!is_true(one)) {
      found.broken(truth, std::string(one.is_post ? "POST" : "PUT") + " of id " + std::to_string(id) + ": executed " +
                              std::to_string(one.executions) + " times, reported " +
                              names[static_cast<std::size_t>(reported)]);
    }
    if (!one.is_post) continue;
    posts.executed += one.executions;
    if (reported == outcome::success) ++posts.successes;
    if (reported == outcome::may_have_executed) ++(one.executions != 0 ? posts.unknown_ran : posts.unknown_did_not);
    if (reported == outcome::not_executed) ++posts.not_executed;
  }
  return posts;
}

std::uint64_t executions(const book& all, std::uint64_t ids) {
  std::uint64_t sum = 0;
  for (std::uint64_t id = 0; id < ids; ++id) sum += all.calls[id].executions;
  return sum;
}

// Until nothing is under way in HAProxy and in the servers, where the last callers left it.
void drain(const book& all, std::uint64_t ids) {
  for (auto before = executions(all, ids) + 1; before != executions(all, ids);) {
    before = executions(all, ids);
    std::this_thread::sleep_for(milliseconds(500));  // more than an execution takes
  }
}

// `room`: by how much what is allocated may differ. What is resident says less: glibc keeps threads' stacks and what is
// freed between other things, which is 15 to 35 MiB, and settles late where the warm-up is short or the machine busy.
void check_memory(const holdings& before, const holdings& after, std::size_t room, const std::string& when,
                  verdicts& found) {
  const auto text = when + ": " + before.text() + " after the warm-up; " + after.text() + " at the end";
  say(text);
  if (nango_test::is_sanitized) return;  // which keeps what is freed
  constexpr std::size_t resident_room = std::size_t{16} << 20;
  found.check(memory, after.allocated <= before.allocated + room, text);
  found.check(memory, after.resident <= before.resident + resident_room, text);
}

void check_variety(const counts& seen, verdicts& found) {
  const auto check = [&](bool met, const std::string& what) { found.check(variety, met, "too little: " + what); };
  for (const auto code :
       {errc::params_error, errc::processing_error, errc::auth_error, errc::rate_limited, errc::unexpected_status,
        errc::malformed_response, errc::response_too_large, errc::connection_failed, errc::timed_out, errc::canceled}) {
    check(seen.of(code) > 0, std::string(nango::to_string(code)));
  }
  check(seen.restarts > 0, "restarts");
  check(seen.children > 0, "children");
  check(seen.waits > 0, "waits in the limiter");
  check(seen.successes > seen.calls / 4, "answers");
}

void print(const counts& seen, const sums& posts) {
  const auto row = [](const char* name, std::uint64_t count) {
    std::printf("  %-40s %10ju\n", name, std::uintmax_t{count});
  };
  row("calls", seen.calls);
  row("answered", seen.successes);
  for (std::size_t code = 0; code < seen.errors.size(); ++code) {
    if (seen.errors[code] != 0) row(std::string(to_string(static_cast<errc>(code))).c_str(), seen.errors[code]);
  }
  row("attempts that waited in the limiter", seen.waits);
  row("cancels", seen.cancels);
  row("clients", seen.clients);
  row("restarts of the server", seen.restarts);
  row("children", seen.children);
  row("  that hung on a lock of OpenSSL's", seen.stuck_children);
  row("POSTs executed", posts.executed);
  row("  answered", posts.successes);
  row("  may_have_executed, and did", posts.unknown_ran);
  row("POSTs not executed: may_have_executed", posts.unknown_did_not);
  row("  certainly not", posts.not_executed);
}

// Returns whether every promise was kept.
bool soak(seconds duration, std::uint64_t seed) {
  verdicts found;
  scene around(seed);
  std::thread([] {}).join();  // a sanitizer begins a thread of its own with the program's first
  callers all(around, found, seed);
  const auto warm = all.run_for(duration / 4), end = all.run_for(duration - duration / 4);
  // An idle connection takes 64 KiB, and there may be as many as callers, for each of two clients. What remains without
  // clients is the limiters' (who called last is remembered for a while), and differed by 20 KiB at most.
  check_memory(warm.living, end.living, 2 * caller_count * (std::size_t{64} << 10), "with two idle clients", found);
  check_memory(warm.after, end.after, std::size_t{128} << 10, "with none", found);
  drain(*around.all, all.ids());
  const auto refused = around.refusals();
  found.check(no_429, refused && *refused == 0, refused ? std::to_string(*refused) + " times" : "nobody knows");
  found.check(servers, around.others_run(), "one of them ended");
  around.stop();
  print(all.seen(), add_up(*around.all, all.ids(), found));
  check_variety(all.seen(), found);
  return found.print();
}

}  // namespace

int main(int count, char** arguments) {
  const auto number = [&](int i, std::uint64_t otherwise) { return count > i ? std::stoull(arguments[i]) : otherwise; };
  const std::string_view first = count > 1 ? arguments[1] : "";
  if (first == "sound") return serve_soundly(static_cast<int>(number(2, 0)));
  if (first == "faults") return serve_faults(number(2, 0));
  const char* const path = std::getenv("PATH");
  ::setenv("PATH", (std::string(path != nullptr ? path : "/bin") + ":/usr/sbin:/usr/local/sbin").c_str(), 1);
  const auto duration = number(1, 60), seed = number(2, std::random_device()());
  try {
    say(std::to_string(duration) + " s, seed " + std::to_string(seed));
    return soak(seconds(duration), seed) ? 0 : 1;
  } catch (const no_haproxy& none) {
    say(none.what());
    return 77;
  } catch (const std::exception& failure) {
    say(failure.what());
    return 1;
  }
}
