// Default backend: through a proxy, over loopback. What the proxy and the origin get to see, and what becomes of a call
// when the proxy does not do its part.

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "certificates.hpp"
#include "connect_proxy.hpp"
#include "fault_server.hpp"
#include "nango.hpp"

namespace faults_proxy_tests {

namespace {

using nango::errc;
using nango_test::connect_proxy;
using nango_test::ending;
using nango_test::fault_server;
using nango_test::fault_server_options;
using nango_test::make_tunnel;
using nango_test::make_tunnel_slowly;
using nango_test::moment;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

const std::string key = "the-api-key-of-the-test";
const std::string user_info = "user%20name:p%40ss%3Aw%C3%B6rd@";  // user name, p@ss:wörd
const std::string password = "p@ss:w\xc3\xb6rd";
const std::string basic = "dXNlciBuYW1lOnBAc3M6d8O2cmQ=";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

nango::client_options options_for(const fault_server& origin, const connect_proxy& proxy) {
  nango::client_options options{.api_key = key, .base_url = origin.base_url()};
  options.timeout = std::chrono::seconds(20);
  options.retry.max_attempts = 1;
  options.ca_file = origin.ca_file();
  options.proxy = proxy.url(user_info);
  return options;
}

// A server that is good for these names and addresses alone.
class named_server {
 public:
  explicit named_server(const std::vector<std::string>& names, const std::vector<std::string>& addresses = {})
      : certificate_({.common_name = "", .dns = names, .ip = addresses}, authority_),
        origin({.configure = [this](SSL_CTX* context) {
          SSL_CTX_use_certificate(context, certificate_.x509());
          SSL_CTX_use_PrivateKey(context, certificate_.key());
        }}) {}
  const std::string& ca_file() const { return ca_file_.path(); }

 private:
  const nango_test::certificate authority_ = nango_test::make_authority();
  const nango_test::certificate certificate_;
  const nango_test::temporary_file ca_file_{authority_.pem()};

 public:
  const fault_server origin;
};

// The error of a call that sent nothing, and that says nothing about the credentials.
nango::error unsent(const nango::result<nango::json>& outcome) {
  REQUIRE_FALSE(outcome.has_value());
  const auto& e = outcome.error();
  CHECK_FALSE(e.may_have_executed);
  CHECK(e.http_status == 0);  // which would be the API's
  CHECK(e.body.empty());
  std::ostringstream text;
  text << e << e.message << e.type << e.body << nango::exception(e).what();
  for (const auto& secret : {key, password, basic, user_info, std::string("p%40ss")}) {
    CHECK_MESSAGE(!contains(text.str(), secret), text.str());
  }
  return e;
}

// Calls `call`, which has to be over long before its deadline of 20 s.
template <class Call> auto in_time(Call call) {
  const auto began = steady_clock::now();
  auto outcome = call();
  CHECK(steady_clock::now() - began < std::chrono::seconds(10));
  return outcome;
}

}  // namespace

TEST_CASE("a call goes through the proxy, which learns the host's name and port but not the key") {
  const named_server server({"api.nowhere.test"});
  const connect_proxy proxy(server.origin.port());
  auto options = options_for(server.origin, proxy);
  options.base_url = "https://api.nowhere.test/v1/";  // a name that only the proxy can look up
  options.ca_file = server.ca_file();
  bool with_user = true;
  SUBCASE("with credentials") {}
  SUBCASE("without") {
    with_user = false;
    options.proxy = proxy.url();
  }
  const auto answer = nango::client(options).post("x", {{"a", 1}});
  REQUIRE_MESSAGE(answer, answer.error());
  CHECK(*answer == "/v1/x");

  REQUIRE(proxy.requests().size() == 1);
  const auto asked = proxy.requests().front();
  CHECK(asked.starts_with("CONNECT api.nowhere.test:443 HTTP/1.1\r\nHost: api.nowhere.test"));
  CHECK(contains(asked, "\r\nProxy-Authorization: Basic " + basic + "\r\n") == with_user);
  CHECK(contains(asked, "Proxy-Authorization") == with_user);
  CHECK_FALSE(contains(asked, "Bearer"));
  CHECK_FALSE(contains(asked + proxy.tunneled(), key));
  CHECK_FALSE(contains(proxy.tunneled(), "/v1/x"));
  CHECK(proxy.tunneled().starts_with("\x16\x03"));  // a handshake of TLS

  REQUIRE(server.origin.requests().size() == 1);
  const auto sent = server.origin.requests().front();
  CHECK(sent.starts_with("POST /v1/x HTTP/1.1\r\n"));
  CHECK(contains(sent, "\r\nHost: api.nowhere.test\r\n"));
  CHECK(contains(sent, "\r\nAuthorization: Bearer " + key + "\r\n"));
  CHECK_FALSE(contains(sent, "Proxy-"));
  CHECK_FALSE(contains(sent, basic));
}

TEST_CASE("the proxy is asked for an address as for a name") {
  for (const std::string address : {"127.0.0.1", "::1"}) {
    const named_server server({}, {"127.0.0.1", "::1"});  // 0.11.4's own check reads beyond the shorter one
    const connect_proxy proxy(server.origin.port());
    auto options = options_for(server.origin, proxy);
    options.ca_file = server.ca_file();
    const auto host = address == "::1" ? "[::1]" : address;
    options.base_url = "https://" + host + ":8443/";
    const auto answer = nango::client(options).get("x");
    REQUIRE_MESSAGE(answer, answer.error());
    REQUIRE(proxy.requests().size() == 1);
    CHECK(proxy.requests().front().starts_with("CONNECT " + host + ":8443 HTTP/1.1\r\n"));
  }
}

TEST_CASE("the certificate is checked through the tunnel: a wildcard is good for one label") {
  const named_server server({"*.wild.test"});
  const connect_proxy proxy(server.origin.port());
  auto options = options_for(server.origin, proxy);
  options.ca_file = server.ca_file();
  options.base_url = "https://api.wild.test:443/";
  const auto answer = nango::client(options).get("x");
  REQUIRE_MESSAGE(answer, answer.error());
  CHECK(server.origin.requests().size() == 1);
  for (const std::string host : {"a.b.wild.test", "wild.test", "api.wild.test.evil.test", "127.0.0.1"}) {
    CAPTURE(host);
    options.base_url = "https://" + host + '/';
    const auto e = unsent(nango::client(options).get("x"));
    CHECK_MESSAGE(e.code == errc::tls_failed, e);
  }
  CHECK(server.origin.started() == 1);
  CHECK(proxy.requests().size() == 5);
}

TEST_CASE("an odd answer that grants the tunnel is taken") {
  const std::string long_head = "HTTP/1.1 200 OK\r\nX-Long: " + std::string(7000, 'x') + "\r\n\r\n";
  for (const auto& granted :
       {make_tunnel("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), make_tunnel("HTTP/1.0 200 OK\r\n\r\n"),
        make_tunnel("HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n"),
        make_tunnel("HTTP/1.1 200\r\n\r\n"), make_tunnel("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        make_tunnel("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), make_tunnel(long_head),
        make_tunnel("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        make_tunnel_slowly("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n")}) {
    CAPTURE(granted.bytes.substr(0, 80));
    const fault_server origin(fault_server_options{});
    const connect_proxy proxy(origin.port(), {granted});
    const auto answer = in_time([&] { return nango::client(options_for(origin, proxy)).post("x", {{"a", 1}}); });
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(origin.requests().size() == 1);
    CHECK(proxy.answers_left() == 0);
  }
}

namespace {

struct bad_answer {
  const char* what;
  nango_test::act does;
  int status;  // that the message names; 0: none
};

const std::vector<bad_answer> bad_answers{
    {"407", {.bytes = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"}, 407},
    {"407 that closes",
     {.bytes = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\n\r\n",
      .then = ending::close},
     407},
    {"407 that says it closes and stays", {.bytes = "HTTP/1.1 407 No\r\nConnection: close\r\n\r\n"}, 407},
    {"407 that asks for a digest",
     {.bytes = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n\r\n"},
     407},
    {"407 that tells the credentials",
     {.bytes = "HTTP/1.1 407 " + password + "\r\nX-Echo: Basic " + basic + "\r\nContent-Length: 9\r\n\r\n" + password,
      .then = ending::close},
     407},
    {"502", {.bytes = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"}, 502},
    {"502 that closes", {.bytes = "HTTP/1.1 502 Bad\r\nConnection: close\r\n\r\nno", .then = ending::close}, 502},
    {"502 with an RST", {.bytes = "HTTP/1.1 502 Bad\r\n\r\n", .then = ending::reset}, 0},  // it may overtake the head
    {"HTTP/1.0 403", {.bytes = "HTTP/1.0 403 Forbidden\r\n\r\n<html>", .then = ending::close}, 403},
    {"HTTP/1.0 403 that stays", {.bytes = "HTTP/1.0 403 Forbidden\r\n\r\n"}, 403},
    {"a redirect", {.bytes = "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n"}, 302},
    {"an envelope",
     {.bytes = "HTTP/1.1 500 No\r\nContent-Length: 53\r\n\r\n"
               R"({"status":"error","error_type":"PARAMS_ERROR","x":1})"},
     500},
    {"garbage", {.bytes = "220 mail.example ESMTP\r\n\r\n", .then = ending::close}, 0},
    {"garbage that stays", {.bytes = "\x15\x03\x01\x02\x02\r\n\r\n"}, 0},
    {"a line of garbage", {.bytes = std::string(100'000, 'x'), .then = ending::close}, 0},
    {"a status of four digits", {.bytes = "HTTP/1.1 2000 OK\r\n\r\n"}, 0},
    {"a status of one digit", {.bytes = "HTTP/1.1 2 OK\r\n\r\n"}, 0},
    {"no status", {.bytes = "HTTP/1.1 OK\r\n\r\n"}, 0},
    {"HTTP/2", {.bytes = "HTTP/2.0 200 OK\r\n\r\n"}, 0},
    {"another protocol", {.bytes = "ICY /1.1 200 OK\r\n\r\n"}, 0},
    {"no space before the status", {.bytes = "HTTP/1.1x200 OK\r\n\r\n"}, 0},
    {"a short line", {.bytes = "HTTP/1.\r\n\r\n"}, 0},
    {"half a head", {.bytes = "HTTP/1.1 200 OK\r\nVia: x\r\n", .then = ending::close}, 0},
    {"half a head with an RST", {.bytes = "HTTP/1.1 200 OK\r\nVia: x\r\n", .then = ending::reset}, 0},
    {"a head without an end", {.bytes = "HTTP/1.1 200 OK\r\n", .rest = "Via: x\r\n", .then = ending::flood}, 0},
    {"a line without an end",
     {.bytes = "HTTP/1.1 200 OK\r\nVia: ", .rest = std::string(10'000, 'x'), .then = ending::flood},
     0},
    {"a head over 64 KiB that stays", {.bytes = "HTTP/1.1 200 OK\r\nVia: " + std::string(65 * 1024, 'x')}, 0},
    {"nothing", {.then = ending::close}, 0},
    {"an RST", {.then = ending::reset}, 0},
    {"an RST half-way", {.at = moment::head, .then = ending::reset}, 0},
    {"closed at once", {.at = moment::accept, .then = ending::close}, 0},
    {"an RST at once", {.at = moment::accept, .then = ending::reset}, 0},
};

}  // namespace

TEST_CASE("a proxy that gives no tunnel is connection_failed with nothing sent, and the next call finds it mended") {
  for (const auto& bad : bad_answers) {
    CAPTURE(std::string(bad.what));
    const fault_server origin(fault_server_options{});
    const connect_proxy proxy(origin.port(), {bad.does});
    const nango::client api(options_for(origin, proxy));
    const auto e = unsent(in_time([&] { return api.get("x"); }));
    CHECK_MESSAGE(e.code == errc::connection_failed, e);
    CHECK_MESSAGE(e.message.starts_with("no tunnel through the proxy 127.0.0.1"), e);
    if (bad.status != 0) CHECK_MESSAGE(e.message.ends_with(" (HTTP " + std::to_string(bad.status) + ")"), e);
    CHECK(origin.connections() == 0);
    CHECK(proxy.tunneled().empty());
    const auto answer = in_time([&] { return api.get("x"); });
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(origin.requests().size() == 1);
    CHECK(proxy.connections() == 2);
  }
}

TEST_CASE("bytes behind a proxy's grant never become the API's answer") {
  const std::string grant = "HTTP/1.1 200 OK\r\n\r\n";
  for (const std::string& more : {nango_test::sound_answer("\"forged\""), std::string("x"), std::string("\r\n")}) {
    for (const auto& act : {make_tunnel(grant + more), make_tunnel_slowly(grant + more)}) {
      CAPTURE(more);
      const fault_server origin(fault_server_options{});
      const connect_proxy proxy(origin.port(), {act});
      const nango::client api(options_for(origin, proxy));
      const auto e = unsent(in_time([&] { return api.post("x", {}); }));
      CHECK_MESSAGE((e.code == errc::connection_failed || e.code == errc::tls_failed),
                    e);  // seen with the grant, or later
      CHECK(origin.requests().empty());
      const auto answer = in_time([&] { return api.get("x"); });
      CHECK_MESSAGE(answer, answer.error());
    }
  }
}

TEST_CASE("a proxy that cannot be reached is connection_failed with nothing sent") {
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port(), {}, nango_test::entrance::refuses);
  const auto e = unsent(in_time([&] { return nango::client(options_for(origin, proxy)).post("x", {}); }));
  CHECK_MESSAGE(e.code == errc::connection_failed, e);
  CHECK_MESSAGE(e.message.starts_with("no tunnel through the proxy 127.0.0.1:"), e);
  CHECK_MESSAGE(e.message.ends_with(": connection refused"), e);
  CHECK(origin.connections() == 0);
}

TEST_CASE("a POST is tried again while there is no tunnel, and arrives once") {
  std::deque<nango_test::act> script;
  for (const auto& bad : bad_answers) script.push_back(bad.does);
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port(), script);
  auto options = options_for(origin, proxy);
  options.retry = {.max_attempts = 100, .base_delay = milliseconds(0), .max_delay = milliseconds(0)};
  const auto answer = in_time([&] { return nango::client(options).request_json("POST", "x", {{"a", 1}}); });
  REQUIRE_MESSAGE(answer, answer.error());
  CHECK(answer->attempts == static_cast<int>(bad_answers.size()) + 1);
  REQUIRE(origin.requests().size() == 1);
  CHECK(origin.requests().front().ends_with(R"({"a":1})"));
  CHECK(origin.connections() == 1);
}

TEST_CASE("a POST that went into the tunnel is not sent again when the tunnel breaks") {
  for (const auto after : {ending::close, ending::break_off, ending::reset}) {
    CAPTURE(static_cast<int>(after));
    const fault_server origin({{.then = after}});
    const connect_proxy proxy(origin.port());
    auto options = options_for(origin, proxy);
    options.retry.max_attempts = 3;
    const auto answer = in_time([&] { return nango::client(options).post("x", {{"a", 1}}); });
    REQUIRE_FALSE(answer);
    CHECK_MESSAGE(answer.error().code == errc::connection_failed, answer.error());
    CHECK(answer.error().may_have_executed);
    CHECK(answer.error().attempts == 1);
    CHECK(origin.requests().size() == 1);
    CHECK(proxy.requests().size() == 1);
  }
}

namespace {

const std::vector<nango_test::act> stalls{
    {.at = moment::accept, .then = ending::stall},
    {.at = moment::head, .then = ending::stall},
    {.then = ending::stall},
    {.bytes = "HTTP/1.1 200 OK\r\nVia: x\r\n", .then = ending::stall},
    {.bytes = "HTTP/1.1 100 Continue\r\n\r\n", .then = ending::stall},
    {.rest = "HTTP/1.1 200 OK\r\nX-Long: " + std::string(1000, 'x'), .then = ending::drip},
    {.rest = "HTTP/1.1 407 No\r\nConnection: close\r\nX-Long: " + std::string(1000, 'x'), .then = ending::drip},
    {.rest = std::string(1000, 'x'), .then = ending::drip},
};

}  // namespace

TEST_CASE("a proxy that is silent or drips its answer ends by the deadline, and the next call finds it mended") {
  for (const auto& stall : stalls) {
    CAPTURE(&stall - stalls.data());
    const fault_server origin(fault_server_options{});
    const connect_proxy proxy(origin.port(), {stall});
    const nango::client api(options_for(origin, proxy));
    const auto e = unsent(in_time([&] { return api.post("x", {}, {.timeout = milliseconds(300)}); }));
    CHECK_MESSAGE(e.code == errc::timed_out, e);
    CHECK(origin.connections() == 0);
    const auto answer = in_time([&] { return api.post("x", {}); });
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(origin.requests().size() == 1);
  }
}

TEST_CASE("a proxy that is silent or drips its answer ends by the connect timeout") {
  for (const auto& stall : stalls) {
    CAPTURE(&stall - stalls.data());
    const fault_server origin(fault_server_options{});
    const connect_proxy proxy(origin.port(), {stall});
    auto options = options_for(origin, proxy);
    options.connect_timeout = milliseconds(300);
    const nango::client api(options);
    const auto e = unsent(in_time([&] { return api.post("x", {}); }));
    CHECK_MESSAGE(e.code == errc::connection_failed, e);
    CHECK_MESSAGE(contains(e.message, "connect_timeout"), e);
    CHECK(origin.connections() == 0);
  }
}

TEST_CASE("a proxy that is silent or drips its answer ends when the call is canceled") {
  for (const auto& stall : stalls) {
    CAPTURE(&stall - stalls.data());
    const fault_server origin(fault_server_options{});
    const connect_proxy proxy(origin.port(), {stall});
    const nango::client api(options_for(origin, proxy));
    const nango::cancel_source source;
    std::thread other([&] {
      std::this_thread::sleep_for(milliseconds(150));  // so that the call is under way; it ends the same if not
      source.cancel();
    });
    const auto e = unsent(in_time([&] { return api.post("x", {}, {.cancel = source.token()}); }));
    other.join();
    CHECK_MESSAGE(e.code == errc::canceled, e);
    CHECK(origin.connections() == 0);
  }
}

TEST_CASE("a proxy that does not take the connection ends by the connect timeout or the deadline") {
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port(), {}, nango_test::entrance::full);
  auto options = options_for(origin, proxy);
  options.connect_timeout = milliseconds(300);
  auto e = unsent(in_time([&] { return nango::client(options).get("x"); }));
  CHECK_MESSAGE(e.code == errc::connection_failed, e);
  options.connect_timeout = std::chrono::seconds(20);
  options.timeout = milliseconds(300);
  e = unsent(in_time([&] { return nango::client(options).get("x"); }));
  CHECK_MESSAGE(e.code == errc::timed_out, e);
}

TEST_CASE("in the tunnel the connect timeout is over, and the deadline holds") {
  const fault_server origin({{.at = moment::handshake, .then = ending::stall}, {.then = ending::stall}});
  const connect_proxy proxy(origin.port());
  auto options = options_for(origin, proxy);
  options.connect_timeout = milliseconds(500);
  options.timeout = milliseconds(1500);
  const auto e = unsent(in_time([&] { return nango::client(options).get("x"); }));
  CHECK_MESSAGE(e.code == errc::timed_out, e);
  const auto later = in_time([&] { return nango::client(options).get("x"); });
  REQUIRE_FALSE(later);
  CHECK_MESSAGE(later.error().code == errc::timed_out, later.error());
  CHECK(later.error().may_have_executed);
}

TEST_CASE("a signal does not end the wait for the proxy's answer") {
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port(),
                            {make_tunnel_slowly("HTTP/1.1 200 OK\r\nVia: " + std::string(60, 'x') + "\r\n\r\n")});
  const auto caller = ::pthread_self();
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(milliseconds(15));
      ::pthread_kill(caller, SIGUSR1);
    }
  });
  const auto answer = in_time([&] { return nango::client(options_for(origin, proxy)).get("x"); });
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  REQUIRE_MESSAGE(answer, answer.error());
}

TEST_CASE("a tunnel is used again, and a new one is made when it was closed") {
  const fault_server origin(fault_server_options{});
  connect_proxy proxy(origin.port());
  const nango::client api(options_for(origin, proxy));
  for (int i = 0; i < 5; ++i) REQUIRE(api.post("x", {{"a", i}}));
  CHECK(proxy.requests().size() == 1);
  CHECK(origin.connections() == 1);
  proxy.cut();
  for (int i = 0; i < 5; ++i) {
    const auto answer = api.get("x");
    REQUIRE_MESSAGE(answer, answer.error());
  }
  CHECK(proxy.requests().size() == 2);
  CHECK(origin.requests().size() == 10);
  for (const auto& request : origin.requests()) CHECK_FALSE(contains(request, "Proxy-"));
}

TEST_CASE("calls of many threads have tunnels of their own, and each arrives once") {
  constexpr int threads = 8, calls = 5;
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port(), {bad_answers[0].does, bad_answers[1].does, bad_answers[8].does});
  auto options = options_for(origin, proxy);
  options.retry = {.max_attempts = 10, .base_delay = milliseconds(0), .max_delay = milliseconds(0)};
  const nango::client api(options);
  std::vector<std::thread> callers;
  std::atomic<int> done = 0;
  for (int t = 0; t < threads; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        const auto path = std::to_string(t) + '-' + std::to_string(i);
        const auto answer = api.post(path, {{"a", 1}});
        if (answer && *answer == "/v1/" + path) ++done;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(done == threads * calls);
  auto requests = origin.requests();
  CHECK(requests.size() == threads * calls);
  std::sort(requests.begin(), requests.end());
  CHECK(std::unique(requests.begin(), requests.end()) == requests.end());
  CHECK(origin.connections() <= threads);
}

TEST_CASE("the environment's proxy variables are not read") {
  const fault_server origin(fault_server_options{});
  const connect_proxy proxy(origin.port());
  const std::vector<const char*> names{"http_proxy",  "https_proxy", "HTTP_PROXY",
                                       "HTTPS_PROXY", "all_proxy",   "ALL_PROXY"};
  for (const auto* name : names) ::setenv(name, proxy.url().c_str(), 1);
  auto options = options_for(origin, proxy);
  options.proxy.clear();
  const auto answer = nango::client(options).get("x");
  for (const auto* name : names) ::unsetenv(name);
  REQUIRE_MESSAGE(answer, answer.error());
  CHECK(origin.requests().size() == 1);
  CHECK(proxy.connections() == 0);

  options.proxy = proxy.url();
  for (const auto* name : {"no_proxy", "NO_PROXY"}) ::setenv(name, "*", 1);
  const auto through = nango::client(options).get("x");
  for (const auto* name : {"no_proxy", "NO_PROXY"}) ::unsetenv(name);
  REQUIRE_MESSAGE(through, through.error());
  CHECK(proxy.connections() == 1);
}

}  // namespace faults_proxy_tests
