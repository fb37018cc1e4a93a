// Default backend: a peer that is gone without a word is found out long before the deadline, and one that is slow is
// waited for.

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fault_server.hpp"
#include "nango.hpp"
#include "two_networks.hpp"

namespace faults_silence_tests {

namespace {

using nango::errc;
using nango_test::act;
using nango_test::ending;
using nango_test::fault_server;
using nango_test::fault_server_options;
using nango_test::moment;
using nango_test::two_networks;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// What the observer saw of an attempt.
struct attempt {
  std::optional<errc> outcome{};
  milliseconds elapsed{};
};

// A server behind a cable, and a client that has a connection to it. Where this is not permitted there is none.
class scene {
 public:
  static std::unique_ptr<scene> make(std::vector<act> script = {}) {
    try {
      return std::unique_ptr<scene>(new scene(std::move(script)));
    } catch (const std::runtime_error& none) {
      MESSAGE("skipped: ", none.what());
      return nullptr;
    }
  }

  struct outcome {
    nango::result<nango::http_response> answer;
    milliseconds took;
  };
  outcome send(const char* method, const std::string& body = {}) {
    std::optional<outcome> seen;
    net.here.inside([&] {
      const auto began = steady_clock::now();
      auto answer = api->send(method, "x", {}, body, "text/plain");
      seen.emplace(outcome{std::move(answer), std::chrono::duration_cast<milliseconds>(steady_clock::now() - began)});
    });
    return std::move(*seen);
  }

  two_networks net{};
  std::function<void()> after_first_attempt{};
  std::vector<attempt> attempts{};
  std::optional<fault_server> server{};
  std::optional<nango::client> api{};

 private:
  explicit scene(std::vector<act> script) {
    script.insert(script.begin(), {.bytes = nango_test::sound_answer("0")});
    fault_server_options options{.script = {script.begin(), script.end()}, .address = net.server_address()};
    net.there.inside([&] { server.emplace(options); });
    nango::client_options wanted{.api_key = "key",
                                 .base_url = server->base_url(),
                                 .timeout = seconds(40),
                                 .retry = {.max_attempts = 2},
                                 .ca_file = server->ca_file()};
    wanted.on_attempt = [this](const nango::attempt& seen) {
      attempts.push_back({seen.outcome, std::chrono::duration_cast<milliseconds>(seen.elapsed)});
      if (attempts.size() == 1 && after_first_attempt) after_first_attempt();
    };
    api.emplace(wanted);
    const auto first = send("GET").answer;
    if (!first) throw std::runtime_error("no call through the cable: " + first.error().message);
    attempts.clear();
  }
};

// The ways to fall silent, and back.
struct silence {
  const char* name;
  bool (*begin)(const two_networks&);
  bool (*end)(const two_networks&);
};
const std::vector<silence> silences{
    {"the peer's end is pulled", [](const two_networks& net) { return net.pull(net.there); },
     [](const two_networks& net) { return net.plug(net.there); }},
    {"our end is pulled", [](const two_networks& net) { return net.pull(net.here); },
     [](const two_networks& net) { return net.plug(net.here); }},
    {"nothing comes back", [](const two_networks& net) { return net.deafen(); },
     [](const two_networks& net) { return net.undeafen(); }},
};

}  // namespace

TEST_CASE("a kept connection that died in silence costs a GET one attempt of some seconds, not the call") {
  for (const auto& how : silences) {
    CAPTURE(std::string(how.name));
    const auto on = scene::make();
    if (!on) return;
    REQUIRE(how.begin(on->net));
    on->after_first_attempt = [&] { static_cast<void>(how.end(on->net)); };
    const auto [answer, took] = on->send("GET");
    CHECK_MESSAGE(answer, answer.error());
    CHECK(took < seconds(20));
    REQUIRE(on->attempts.size() == 2);
    CHECK(on->attempts[0].outcome == errc::connection_failed);
    CHECK(on->attempts[0].elapsed >= seconds(4));
    CHECK(on->attempts[0].elapsed < seconds(13));
    CHECK_FALSE(on->attempts[1].outcome);
    CHECK(on->server->connections() == 2);
  }
}

TEST_CASE("a POST on a connection that died in silence is told as soon, and is not sent again") {
  const auto on = scene::make();
  if (!on) return;
  REQUIRE(on->net.pull(on->net.there));
  const auto [answer, took] = on->send("POST", "body");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::connection_failed);
  CHECK(answer.error().may_have_executed);
  CHECK(answer.error().attempts == 1);
  CHECK(took < seconds(13));
}

TEST_CASE("a peer that falls silent within a large request is found out") {
  const auto on = scene::make({{.at = moment::head, .pause = seconds(60)}});
  if (!on) return;
  on->after_first_attempt = [&] { static_cast<void>(on->net.undeafen()); };
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(300));  // the window is closed by now
    static_cast<void>(on->net.deafen());
  });
  const auto [answer, took] = on->send("POST", std::string(8'000'000, 'x'));
  other.join();
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::connection_failed);
  CHECK(answer.error().may_have_executed);
  CHECK(took < seconds(25));
}

TEST_CASE("a peer that falls silent within its answer is found out, though nothing of ours is unacknowledged") {
  const std::string half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{";
  const auto on = scene::make({{.bytes = half, .then = ending::stall}});
  if (!on) return;
  on->after_first_attempt = [&] { static_cast<void>(on->net.plug(on->net.there)); };
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(500));
    static_cast<void>(on->net.pull(on->net.there));
  });
  const auto [answer, took] = on->send("GET");
  other.join();
  CHECK_MESSAGE(answer, answer.error());
  REQUIRE(on->attempts.size() == 2);
  CHECK(on->attempts[0].outcome == errc::connection_failed);
  CHECK(on->attempts[0].elapsed < seconds(25));
}

TEST_CASE("an unreachable address ends at once, or at connect_timeout") {
  const auto on = scene::make();
  if (!on) return;
  std::optional<nango::result<nango::json>> answer;
  const auto began = steady_clock::now();
  on->net.here.inside([&] {
    const nango::client api({.api_key = "key",
                             .base_url = "https://10.97.0.9:4443/",
                             .retry = {.max_attempts = 1},
                             .ca_file = on->server->ca_file()});
    answer = api.get("x");
  });
  REQUIRE_FALSE(*answer);
  CHECK(answer->error().code == errc::connection_failed);
  CHECK_FALSE(answer->error().may_have_executed);
  CHECK(answer->error().message.find("10.97.0.9") != std::string::npos);
  CHECK(answer->error().message.find("unreachable") != std::string::npos);  // the neighbour was asked for, for 3 s
  CHECK(steady_clock::now() - began < seconds(9));
}

// --- Slow is not silent ---

namespace {

// One call that the server takes its time for, over the cable.
void check_waited_for(const act& slow, const char* method, std::size_t body_size, seconds idle = seconds(0)) {
  const auto on = scene::make({slow});
  if (!on) return;
  std::this_thread::sleep_for(idle);
  const auto [answer, took] = on->send(method, std::string(body_size, 'x'));
  CHECK_MESSAGE(answer, answer.error());
  CHECK(took >= slow.pause);
  CHECK(on->attempts.size() == 1);
  CHECK(on->server->connections() == 1);
}

}  // namespace

TEST_CASE("a server that answers after 25 s is waited for, also on a connection that was idle before") {
  check_waited_for({.bytes = nango_test::sound_answer("1"), .pause = seconds(25)}, "GET", 0, seconds(7));
}

TEST_CASE("a server that reads nothing for 12 s of an upload of 8 MB, and then everything, is waited for") {
  check_waited_for({.bytes = nango_test::sound_answer("1"), .pause = seconds(12)}, "POST", 8'000'000);
}

TEST_CASE("the same without TLS, on loopback") {
  const act slow{.bytes = nango_test::sound_answer("1"), .pause = seconds(12)};
  const fault_server server({slow}, false);
  const nango::client api({.api_key = "key",
                           .base_url = server.base_url(),
                           .timeout = seconds(40),
                           .retry = {.max_attempts = 1},
                           .allow_plaintext_loopback = true});
  const auto answer = api.send("POST", "x", {}, std::string(8'000'000, 'x'), "text/plain");
  CHECK_MESSAGE(answer, answer.error());
}

}  // namespace faults_silence_tests
