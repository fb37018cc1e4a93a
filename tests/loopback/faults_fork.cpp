// Default backend and client: the process forks. A child has connections, limits and jitter of its own, and leaves the
// parent's alone. Each child has some seconds to live, so that one that hangs is a failure and no hang of the tests.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "process.hpp"

namespace faults_fork_tests {

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::fault_server;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr unsigned seconds_to_live = nango_test::is_sanitized ? 40 : 10;

// Forks, and runs `act` in the child: what that returns is told to the parent.
class forked {
 public:
  explicit forked(const std::function<std::string()>& act) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      ::alarm(seconds_to_live);
      const auto words = act();
      if (::write(ends[1], words.data(), words.size()) < 0) ::_exit(2);
      ::_exit(0);
    }
    ::close(ends[1]);
    from_it_ = ends[0];
  }
  ~forked() {
    if (child_ >= 0) static_cast<void>(told());
  }
  forked(const forked&) = delete;
  forked& operator=(const forked&) = delete;

  // Waits for the end of the child, and of what it has forked itself. "hung": it did not end in time.
  std::string told() {
    std::string words;
    std::array<char, 512> data{};
    for (ssize_t got = 0; (got = ::read(from_it_, data.data(), data.size())) > 0;) {
      words.append(data.data(), static_cast<std::size_t>(got));
    }
    ::close(from_it_);
    int status = 0;
    ::waitpid(std::exchange(child_, -1), &status, 0);
    if (WIFSIGNALED(status)) words += WTERMSIG(status) == SIGALRM ? " hung" : " was killed";
    return words;
  }

 private:
  pid_t child_ = -1;
  int from_it_ = -1;
};
std::string in_child(const std::function<std::string()>& act) { return forked(act).told(); }

// Empty: the call got its own answer.
template <class Client>
std::string call(const Client& api, const std::string& path, milliseconds timeout = milliseconds(5000)) {
  const auto answer = api.get(path, {}, {.timeout = timeout});
  if (!answer) return path + ": " + std::string(to_string(answer.error().code)) + ", " + answer.error().message;
  return *answer == "/v1/" + path ? std::string() : path + " got the answer of " + answer->dump();
}
std::string call_often(const nango::client& api, const std::string& path, int times) {
  std::string wrong;
  for (int i = 0; i < times && wrong.empty(); ++i) wrong = call(api, path + '-' + std::to_string(i));
  return wrong;
}

nango::client client_of(const fault_server& server) {
  return nango::client({.api_key = "key",
                        .base_url = server.base_url(),
                        .retry = {.max_attempts = 1},
                        .ca_file = server.ca_file(),
                        .allow_plaintext_loopback = true});
}

// Stalls for paths that say so.
act answer_or_stall(std::string_view request) {
  if (request.substr(0, request.find('\r')).find("stall") != request.npos) return {.then = ending::stall};
  return nango_test::answer_soundly(request);
}

// Over TLS, or plain TCP.
struct fixture {
  explicit fixture(bool tls) : server({.tls = tls, .afterwards = answer_or_stall}), api(client_of(server)) {}
  fault_server server;
  nango::client api;
};

}  // namespace

TEST_CASE("a child calls on a connection of its own, and the parent's connection stays the parent's") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    CHECK(in_child([&] { return call(f.api, "child") + call(f.api, "child-again"); }) == "");
    CHECK(call(f.api, "parent") == "");
    CHECK(f.server.connections() == 2);
  }
}

TEST_CASE("a client that has not called yet works in the child as in the parent") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    CHECK(in_child([&] { return call(f.api, "child"); }) == "");
    CHECK(call(f.api, "parent") == "");
    CHECK(f.server.connections() == 2);
  }
}

TEST_CASE("parent and children call at the same time, and each gets its own answers") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    std::array<int, 2> gate{};  // no fork while the server's threads shake hands with an earlier child
    REQUIRE(::pipe2(gate.data(), O_CLOEXEC) == 0);
    std::vector<std::unique_ptr<forked>> children;
    for (int i = 0; i < 3; ++i) {
      const auto name = "child-" + std::to_string(i);
      children.push_back(std::make_unique<forked>([&] {
        char ignored = 0;
        ::close(gate[1]);
        return ::read(gate[0], &ignored, 1) < 0 ? "no gate" : call_often(f.api, name, 30);
      }));
    }
    ::close(gate[1]);
    ::close(gate[0]);
    CHECK(call_often(f.api, "parent", 60) == "");
    for (auto& child : children) CHECK(child->told() == "");
    CHECK(f.server.connections() == 4);
  }
}

TEST_CASE("a child that never calls destroys its copy at once, and the parent's connection does not notice") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fault_server server(nango_test::fault_server_options{.tls = tls});
    auto api = std::optional<nango::client>(client_of(server));
    REQUIRE(call(*api, "first") == "");
    const auto words = in_child([&] {
      const auto began = steady_clock::now();
      api.reset();
      return steady_clock::now() - began < std::chrono::seconds(2) ? "" : "late";
    });
    CHECK(words == "");
    CHECK(call(*api, "parent") == "");
    CHECK(server.connections() == 1);
  }
}

TEST_CASE("a child that calls and destroys its copy leaves the parent's connection alone") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fault_server server(nango_test::fault_server_options{.tls = tls});
    auto api = std::optional<nango::client>(client_of(server));
    REQUIRE(call(*api, "first") == "");
    const auto words = in_child([&] {
      auto wrong = call(*api, "child");
      api.reset();
      return wrong;
    });
    CHECK(words == "");
    CHECK(call(*api, "parent") == "");
    CHECK(server.connections() == 2);
  }
}

TEST_CASE("a child ends by exit(), as it does when main returns, with a client that lives as long as the program") {
  static std::optional<nango::client> kept;
  for (const bool tls : {true, false}) {
    for (const bool calls : {false, true}) {
      CAPTURE(tls);
      CAPTURE(calls);
      fault_server server(nango_test::fault_server_options{.tls = tls});
      kept.emplace(client_of(server));
      REQUIRE(call(*kept, "first") == "");
      const auto words = in_child([&] {
        if (const auto wrong = calls ? call(*kept, "child") : ""; !wrong.empty()) return wrong;
#ifdef __SANITIZE_ADDRESS__  // which would look for leaks among what the parent's other threads hold
        kept.reset();
        ::_exit(0);
#endif
        std::exit(0);
      });
      CHECK(words == "");
      CHECK(call(*kept, "parent") == "");
      CHECK(server.connections() == (calls ? 2 : 1));
      kept.reset();
    }
  }
}

TEST_CASE("deadlines hold in a child") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    const auto words = in_child([&]() -> std::string {
      const auto began = steady_clock::now();
      const auto late = f.api.get("stall", {}, {.timeout = milliseconds(300)});
      if (late || late.error().code != errc::timed_out) return "no timeout";
      if (steady_clock::now() - began > std::chrono::seconds(4)) return "late";
      return call(f.api, "child");
    });
    CHECK(words == "");
    CHECK(call(f.api, "parent") == "");
  }
}

#ifndef __SANITIZE_THREAD__  // which ends a child that starts a thread
TEST_CASE("a call in a child is canceled") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    forked child([&]() -> std::string {
      const nango::cancel_source source;
      std::thread other([&] {
        char word = 0;
        if (::read(ends[0], &word, 1) == 1) source.cancel();
      });
      const auto canceled = f.api.get("stall", {}, {.timeout = std::chrono::seconds(8), .cancel = source.token()});
      other.join();
      if (canceled || canceled.error().code != errc::canceled) return "not canceled";
      return call(f.api, "child");
    });
    CHECK(nango_test::comes_true([&] { return f.server.started() == 2; }));
    CHECK(::write(ends[1], "c", 1) == 1);  // cancel
    CHECK(child.told() == "");
    for (const int end : ends) ::close(end);
    CHECK(call(f.api, "parent") == "");
  }
}
#endif

TEST_CASE("a call that another thread has under way at the fork ends in the parent, and is nothing to the child") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    std::atomic<bool> under_way = false;
    std::latch may_answer(1);
    fault_server server({.tls = tls, .afterwards = [&](std::string_view request) {
                           if (request.starts_with("GET /v1/slow ")) {
                             under_way = true;
                             may_answer.wait();
                           }
                           return nango_test::answer_soundly(request);
                         }});
    auto api = std::optional<nango::client>(client_of(server));
    REQUIRE(call(*api, "first") == "");
    std::string slow;
    std::thread other([&, copy = *api] { slow = call(copy, "slow", std::chrono::seconds(30)); });
    CHECK(nango_test::comes_true([&] { return under_way.load(); }));
    CHECK(in_child([&] {
            const auto wrong = call(*api, "child");
            api.reset();
            return wrong;
          }) == "");
    may_answer.count_down();
    other.join();
    CHECK(slow == "");
    CHECK(call(*api, "parent") == "");
    CHECK(server.connections() == 2);
  }
}

TEST_CASE("a child of a child has connections of its own, too") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    const auto words = in_child([&] {
      auto wrong = call(f.api, "child");
      forked grandchild([&] { return call(f.api, "grandchild"); });
      wrong += call(f.api, "child-meanwhile");
      return wrong + grandchild.told() + call(f.api, "child-again");
    });
    CHECK(words == "");
    CHECK(call(f.api, "parent") == "");
    CHECK(f.server.connections() == 3);
  }
}

TEST_CASE("a daemon, which forks twice and lets its parent go, calls on") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    fixture f(tls);
    REQUIRE(call(f.api, "first") == "");
    const auto words = in_child([&] {
      ::setsid();
      if (::fork() != 0) ::_exit(0);
      ::alarm(seconds_to_live);
      return call(f.api, "daemon") + call(f.api, "daemon-again");
    });
    CHECK(words == "");
    CHECK(call(f.api, "parent") == "");
    CHECK(f.server.connections() == 2);
  }
}

// ---- Our own locks: another thread may hold one at the fork ----

TEST_CASE("a child can call whatever other threads did with the client's connections at the fork") {
  if (nango_test::is_sanitized) {
    MESSAGE("skipped: a sanitizer's own lock may be held at the fork");
    return;
  }
  fixture f(false);  // over TLS it may be one of OpenSSL's: the server's threads shake hands in this process
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, copy = f.api] {
      while (!done) static_cast<void>(copy.get("busy"));
    });
  }
  std::string words;
  for (int i = 0; i < 20 && words.empty(); ++i) words = in_child([&] { return call(f.api, "child"); });
  done = true;
  for (auto& thread : threads) thread.join();
  CHECK(words == "");
  CHECK(call(f.api, "parent") == "");
}

namespace {

// Tells when somebody waits for the limiter, who keeps its lock until it may be let go.
struct watched_clock {
  static steady_clock::time_point now() { return steady_clock::now(); }
  static bool wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock,
                         steady_clock::time_point t) {
    is_waiting = true;
    may_let_go.wait(false);
    return nango::steady_clock::wait_until(wake, lock, t);
  }
  static inline std::atomic<bool> is_waiting{false}, may_let_go{true};
};
using watched_client = nango::basic_client<nango::any_backend, nango::basic_sliding_window<watched_clock>>;

nango::http_response an_answer() { return {.status = 200, .body = R"({"status":"ok","result":"/v1/child"})"}; }

}  // namespace

TEST_CASE("a child can call although another thread held the limiter's lock at the fork") {
  const watched_client api(
      {.api_key = "key", .rate = {.requests = 1, .per = milliseconds(400)}, .limit_key = "all"},
      [](const nango::http_request&) -> nango::result<nango::http_response> { return an_answer(); });
  REQUIRE(api.get("first"));
  watched_clock::is_waiting = watched_clock::may_let_go = false;
  std::thread other([&] { CHECK(api.get("second")); });
  CHECK(nango_test::comes_true([] { return watched_clock::is_waiting.load(); }));
  CHECK(in_child([&] { return call(api, "child"); }) == "");
  watched_clock::may_let_go = true;
  watched_clock::may_let_go.notify_all();
  other.join();
  CHECK(api.get("third"));
}

TEST_CASE("a child can call whatever other threads did with the limiter at the fork") {
  if (nango_test::is_sanitized) {
    MESSAGE("skipped: a sanitizer's own lock may be held at the fork");
    return;
  }
  const nango::basic_client<nango::any_backend> api(
      {.api_key = "key", .rate = {.requests = 1'000'000}, .limit_key = "all"},
      [](const nango::http_request&) -> nango::result<nango::http_response> { return an_answer(); });
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, copy = api] {
      while (!done) static_cast<void>(copy.get("busy"));
    });
  }
  std::string words;
  for (int i = 0; i < 50 && words.empty(); ++i) words = in_child([&] { return call(api, "child"); });
  done = true;
  for (auto& thread : threads) thread.join();
  CHECK(words == "");
}

// ---- Limits and jitter ----

TEST_CASE("the limiter starts empty in a child, and counts in each process by itself") {
  const nango::basic_client<nango::any_backend> api(
      {.api_key = "key", .rate = {.requests = 2, .per = std::chrono::minutes(5)}, .limit_key = "all"},
      [](const nango::http_request&) -> nango::result<nango::http_response> { return an_answer(); });
  const auto is_refused = [&] {
    const auto more = api.get("more");
    return !more && more.error().code == errc::rate_limited && more.error().attempts == 0;
  };
  for (int i = 0; i < 2; ++i) REQUIRE(api.get("parent"));
  REQUIRE(is_refused());
  const auto words = in_child([&]() -> std::string {
    for (int i = 0; i < 2; ++i) {
      if (const auto wrong = call(api, "child"); !wrong.empty()) return wrong;
    }
    return is_refused() ? "" : "a third was let through";
  });
  CHECK(words == "");
  CHECK(is_refused());
}

TEST_CASE("a turn that the parent waits for is the parent's: the child does not wait behind it") {
  const watched_client api(
      {.api_key = "key", .rate = {.requests = 1, .per = milliseconds(1500)}, .limit_key = "all"},
      [](const nango::http_request&) -> nango::result<nango::http_response> { return an_answer(); });
  REQUIRE(api.get("first"));
  watched_clock::is_waiting = false;
  std::thread other([&] { CHECK(api.get("second")); });
  CHECK(nango_test::comes_true([] { return watched_clock::is_waiting.load(); }));
  const auto words = in_child([&] { return call(api, "child", milliseconds(500)); });
  other.join();
  CHECK(words == "");
}

TEST_CASE("parent and children draw their own jitter") {
  const nango::cancel_source source;
  std::string delay;
  const nango::basic_client<nango::any_backend> api(
      {.api_key = "key",
       .timeout = std::chrono::minutes(10),
       .retry = {.max_attempts = 2, .base_delay = std::chrono::minutes(5), .max_delay = std::chrono::minutes(5)},
       .on_attempt =
           [&](const nango::attempt& seen) {
             if (!seen.retry_in) return;
             delay = std::to_string(seen.retry_in->count());
             source.cancel();  // so that nobody waits for it
           }},
      [](const nango::http_request&) -> nango::result<nango::http_response> {
        return nango::error{.code = errc::connection_failed, .message = "refused", .may_have_executed = false};
      });
  const auto first_delay = [&] {
    const auto failed = api.get("x", {}, {.cancel = source.token()});
    return failed ? std::string("an answer") : delay;
  };
  std::set<std::string> delays;
  // The first call of this thread may be what seeds its jitter; a token of its own keeps that call from canceling all.
  {
    const nango::basic_client<nango::any_backend> warm(
        {.api_key = "key", .retry = {.max_attempts = 2, .base_delay = milliseconds(1), .max_delay = milliseconds(1)}},
        [](const nango::http_request&) -> nango::result<nango::http_response> {
          return nango::error{.code = errc::connection_failed, .message = "refused", .may_have_executed = false};
        });
    static_cast<void>(warm.get("x"));
  }
  for (int i = 0; i < 2; ++i) delays.insert(in_child(first_delay));
  delays.insert(first_delay());
  CHECK(delays.size() == 3);
  CHECK(delays.count("") == 0);
}

}  // namespace faults_fork_tests
