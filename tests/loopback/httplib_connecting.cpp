// Default backend: how it comes to a connection. Names with several addresses, what an error says where none of them
// answers, and what this side of the wire can lack.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "descriptor_limit.hpp"
#include "fault_server.hpp"
#include "nango.hpp"
#include "process.hpp"
#include "server_process.hpp"

namespace {

using nango::errc;
using nango_test::entrance;
using nango_test::fault_server;
using nango_test::fault_server_options;
using nango_test::open_descriptors;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// What a name service and a network say in place of the machine's own. Whatever it does not name is the machine's.
struct fake_network {
  struct name {
    std::vector<std::string> addresses{};
    int error = 0;        // EAI_...
    milliseconds late{};  // how long a look-up takes
  };
  std::map<std::string, name> names{};
  std::map<std::string, int> refusals{};        // what a connect to that address fails with, at once
  std::map<std::string, std::string> routes{};  // the loopback address that is in place of the address
  std::vector<std::string> tried{};             // addresses in the order of the connects
};

std::mutex network_mutex;
fake_network* network = nullptr;  // null: all is the machine's

// In force while it lives.
class network_in_use {
 public:
  explicit network_in_use(fake_network& given) {
    const std::lock_guard lock(network_mutex);
    network = &given;
  }
  ~network_in_use() {
    const std::lock_guard lock(network_mutex);
    network = nullptr;
  }
  network_in_use(const network_in_use&) = delete;
  network_in_use& operator=(const network_in_use&) = delete;
};

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address->sa_family == AF_INET) bytes = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  if (address->sa_family == AF_INET6) bytes = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  if (bytes == nullptr || ::inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr) return "";
  return text.data();
}

// What the network of the test does with a connect to that address: an error, or where it goes.
struct passage {
  int error = 0;
  std::string route{};
};
passage passage_to(const std::string& address) {
  const std::lock_guard lock(network_mutex);
  if (network == nullptr) return {};
  network->tried.push_back(address);
  const auto refusal = network->refusals.find(address);
  const auto route = network->routes.find(address);
  return {refusal == network->refusals.end() ? 0 : refusal->second,
          route == network->routes.end() ? std::string() : route->second};
}

std::optional<fake_network::name> known_name(const char* host) {
  const std::lock_guard lock(network_mutex);
  if (network == nullptr || host == nullptr || network->names.count(host) == 0) return std::nullopt;
  return network->names.at(host);
}

}  // namespace

// In place of the C library's: the linker prefers what the program defines.
extern "C" int connect(int fd, const sockaddr* address, socklen_t size) {
  const auto way = passage_to(text_of(address));
  if (way.error != 0) {
    errno = way.error;
    return -1;
  }
  const bool is_ipv6 = address->sa_family == AF_INET6;
  sockaddr_in ipv4{};
  sockaddr_in6 ipv6{};
  if (!way.route.empty() && !is_ipv6) {
    ipv4 = *reinterpret_cast<const sockaddr_in*>(address);
    ::inet_pton(AF_INET, way.route.c_str(), &ipv4.sin_addr);
    address = reinterpret_cast<const sockaddr*>(&ipv4);
  }
  if (!way.route.empty() && is_ipv6) {
    ipv6 = *reinterpret_cast<const sockaddr_in6*>(address);
    ::inet_pton(AF_INET6, ("::ffff:" + way.route).c_str(), &ipv6.sin6_addr);
    address = reinterpret_cast<const sockaddr*>(&ipv6);
  }
  return static_cast<int>(::syscall(SYS_connect, fd, address, size));
}

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  static const auto original = reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const auto known = known_name(host);
  if (!known) return original(host, service, hints, found);
  std::this_thread::sleep_for(known->late);
  if (known->error != 0) return known->error;
  addrinfo wanted = hints != nullptr ? *hints : addrinfo{};
  wanted.ai_flags = AI_NUMERICHOST;
  *found = nullptr;
  for (addrinfo** next = found; const auto& address : known->addresses) {  // freeaddrinfo frees them one by one
    if (original(address.c_str(), service, &wanted, next) != 0) continue;  // of the family that was not asked for
    while (*next != nullptr) next = &(*next)->ai_next;
  }
  return *found != nullptr ? 0 : EAI_NONAME;
}

namespace {

nango::client_options options_for(const std::string& base_url, const std::string& ca_file = {}) {
  return {.api_key = "key",
          .base_url = base_url,
          .timeout = milliseconds(20'000),
          .connect_timeout = milliseconds(10'000),
          .retry = {.max_attempts = 1},
          .ca_file = ca_file,
          .allow_plaintext_loopback = true};
}
nango::client_options options_for(const fault_server& server) {
  return options_for(server.base_url("localhost"), server.ca_file());
}

struct timed_outcome {
  nango::result<nango::json> answer;
  milliseconds took;
};
timed_outcome call(const nango::client& api, const nango::call_options& options = {}) {
  const auto began = steady_clock::now();
  auto answer = api.post("x", {{"a", 1}}, options);
  return {std::move(answer), std::chrono::duration_cast<milliseconds>(steady_clock::now() - began)};
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// A connection that was not made: nothing was sent, and the message says where to and has these words.
void check_unconnected(const nango::result<nango::json>& answer, const std::string& base_url,
                       const std::vector<std::string_view>& words) {
  REQUIRE_FALSE(answer);
  const auto& e = answer.error();
  CAPTURE(e.message);
  CHECK(e.code == errc::connection_failed);
  CHECK_FALSE(e.may_have_executed);
  const auto host = base_url.substr(base_url.find("//") + 2);
  CHECK(contains(e.message, host.substr(0, host.find(':'))));
  CHECK(contains(e.message, host.substr(host.find(':') + 1, host.find('/') - host.find(':') - 1)));
  for (const auto word : words) {
    CAPTURE(std::string(word));
    CHECK(contains(e.message, word));
  }
}

constexpr milliseconds at_once(nango_test::is_sanitized ? 3000 : 1500);  // with a busy machine's delay

// A name of two addresses of which the first never answers and the second is a server.
struct two_addresses {
  explicit two_addresses(bool tls, entrance first = entrance::full, entrance second = entrance::open)
      : silent({.tls = tls, .door = first, .address = "127.0.0.2"}),
        sound({.tls = tls, .door = second, .address = "127.0.0.3", .port = silent.port()}) {}
  fault_server silent, sound;
  fake_network net{.names = {{"localhost", {.addresses = {"127.0.0.2", "127.0.0.3"}}}}};
  network_in_use in_use{net};
};

}  // namespace

// --- Several addresses ---

TEST_CASE("a first address that never answers costs a moment, not the connect timeout") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    two_addresses to(tls);
    const nango::client api(options_for(to.sound));
    const auto before = open_descriptors();
    const auto [answer, took] = call(api);
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(took < at_once);
    CHECK(to.net.tried == std::vector<std::string>{"127.0.0.2", "127.0.0.3"});
    CHECK(open_descriptors() == before + 2);  // ours and the server's: the other attempt is closed
    REQUIRE(call(api).answer);
    CHECK(to.sound.connections() == 1);
  }
}

TEST_CASE("a first address that refuses or cannot be reached costs nothing") {
  for (const int error : {0, ENETUNREACH, EHOSTUNREACH, EAFNOSUPPORT, EADDRNOTAVAIL}) {
    CAPTURE(error);
    two_addresses to(true, entrance::refuses);
    if (error != 0) to.net.refusals = {{"127.0.0.2", error}};
    const auto [answer, took] = call(nango::client(options_for(to.sound)));
    REQUIRE_MESSAGE(answer, answer.error());
    CHECK(took < at_once);
  }
}

TEST_CASE("where no address answers, it is connection_failed at connect_timeout, which the message names") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    two_addresses to(tls, entrance::full, entrance::full);
    auto options = options_for(to.sound);
    options.connect_timeout = milliseconds(1500);
    const nango::client api(options);
    const auto before = open_descriptors();
    const auto [answer, took] = call(api);
    check_unconnected(answer, options.base_url, {"client_options::connect_timeout"});
    CHECK(took >= options.connect_timeout);
    CHECK(took < options.connect_timeout + at_once);
    CHECK(to.net.tried == std::vector<std::string>{"127.0.0.2", "127.0.0.3"});
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("an address that answers late is not given up for one that never does") {
  two_addresses to(true, entrance::full, entrance::full);
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(600));  // it answers the second SYN, after a second
    to.silent.open();
  });
  const auto [answer, took] = call(nango::client(options_for(to.silent)));
  other.join();
  CHECK_MESSAGE(answer, answer.error());
  CHECK(took < milliseconds(6000));
}

TEST_CASE("the two families take turns, whatever their order in the name service's answer") {
  const fault_server silent({.door = entrance::full, .address = "127.0.0.2"});
  const fault_server sound({.address = "127.0.0.3", .port = silent.port()});
  const std::string first = "2001:db8::1", second = "2001:db8::2", ipv4 = "192.0.2.1";
  fake_network net{.names = {{"localhost", {.addresses = {first, second, ipv4}}}},
                   .routes = {{first, "127.0.0.2"}, {second, "127.0.0.2"}, {ipv4, "127.0.0.3"}}};
  const network_in_use in_use(net);
  const auto [answer, took] = call(nango::client(options_for(sound)));
  REQUIRE_MESSAGE(answer, answer.error());
  CHECK(took < at_once);
  CHECK(net.tried == std::vector<std::string>{first, ipv4});
}

TEST_CASE("a name of many dead addresses ends at connect_timeout too, and each had its turn") {
  const fault_server silent({.door = entrance::full, .address = "127.0.0.2"});
  fake_network net{};
  for (int i = 1; i <= 8; ++i) {
    const auto address = "192.0.2." + std::to_string(i);
    net.names["localhost"].addresses.push_back(address);
    net.routes[address] = "127.0.0.2";
  }
  const network_in_use in_use(net);
  auto options = options_for(silent);
  options.connect_timeout = milliseconds(3000);
  const auto before = open_descriptors();
  const auto [answer, took] = call(nango::client(options));
  check_unconnected(answer, options.base_url, {"client_options::connect_timeout"});
  CHECK(took < options.connect_timeout + at_once);
  CHECK(net.tried.size() == 8);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a call is canceled and its deadline holds while two addresses are tried") {
  two_addresses to(true, entrance::full, entrance::full);
  const nango::client api(options_for(to.sound));
  const auto before = open_descriptors();
  const nango::cancel_source source;
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(500));
    source.cancel();
  });
  const auto canceled = call(api, {.cancel = source.token()});
  other.join();
  REQUIRE_FALSE(canceled.answer);
  CHECK(canceled.answer.error().code == errc::canceled);
  CHECK_FALSE(canceled.answer.error().may_have_executed);
  CHECK(canceled.took < milliseconds(500) + at_once);

  const auto late = call(api, {.timeout = milliseconds(500)});
  REQUIRE_FALSE(late.answer);
  CHECK(late.answer.error().code == errc::timed_out);
  CHECK_FALSE(late.answer.error().may_have_executed);
  CHECK(late.took < milliseconds(500) + at_once);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a name that is looked up for longer than the deadline ends the call then, and nothing is connected") {
  fault_server server(fault_server_options{});
  fake_network net{.names = {{"localhost", {.addresses = {"127.0.0.1"}, .late = milliseconds(400)}}}};
  const network_in_use in_use(net);
  const auto [answer, took] = call(nango::client(options_for(server)), {.timeout = milliseconds(200)});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::timed_out);
  CHECK_FALSE(answer.error().may_have_executed);
  CHECK(took < milliseconds(400) + at_once);
  CHECK(server.started() == 0);
}

// --- What an error says ---

TEST_CASE("each cause of a failed connection has its own message, with the host and the port") {
  const fault_server closed({.door = entrance::refuses});
  const auto options = options_for(closed);
  const nango::client api(options);
  const auto check = [&](fake_network net, const std::vector<std::string_view>& words) {
    const network_in_use in_use(net);
    const auto answer = call(api).answer;
    check_unconnected(answer, options.base_url, words);
    return answer.error().message;
  };
  const auto named = [](int error) {
    return fake_network{.names = {{"localhost", {.addresses = {"127.0.0.1"}, .error = error}}}};
  };
  const auto refusing = [&](int error) {
    auto net = named(0);
    net.refusals = {{"127.0.0.1", error}};
    return net;
  };
  const std::vector<std::string> messages{
      check(named(EAI_NONAME), {"name"}),
      check(named(EAI_AGAIN), {"name"}),
      check(named(0), {"refused"}),
      check(refusing(ENETUNREACH), {"unreachable"}),
      check(refusing(EADDRNOTAVAIL), {"free port"}),
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(messages[i] != messages[j]);
  }
  for (const int error : {EAI_FAIL, EAI_NODATA, EAI_SERVICE}) check(named(error), {});
  for (const int error : {EHOSTUNREACH, ENETDOWN, ETIMEDOUT, EPERM, EACCES}) check(refusing(error), {});
}

TEST_CASE("memory that runs out in a look-up is std::bad_alloc and nothing else") {
  const fault_server server(fault_server_options{});
  const nango::client api(options_for(server));
  fake_network net{.names = {{"localhost", {.error = EAI_MEMORY}}}};
  const network_in_use in_use(net);
  CHECK_THROWS_AS(static_cast<void>(api.get("x")), std::bad_alloc);
}

TEST_CASE("a name that the machine's own service does not know is told as that") {
  const auto options = options_for("https://nobody.invalid:4443/v1/");
  check_unconnected(call(nango::client(options)).answer, options.base_url, {"name"});
}

TEST_CASE("too many open files are this side's fault, and the message says so") {
  const nango_test::server_process server(fault_server_options{});  // which needs descriptors of its own
  for (const std::string host : {"127.0.0.1", "localhost"}) {       // at the socket, and at the look-up of a name
    CAPTURE(host);
    auto options = options_for(server.base_url(), server.ca_file());
    options.base_url.replace(options.base_url.find("127.0.0.1"), 9, host);
    const nango::client api(options);
    const auto answer = [&] {
      const nango_test::descriptor_limit none(0);
      return call(api).answer;
    }();
    check_unconnected(answer, options.base_url, {"open files"});
    const auto next = call(api).answer;
    CHECK_MESSAGE(next, next.error());
  }
}

// --- What a connection takes ---

namespace {

// Calls of so many threads at once, each of which takes a while; the errors.
std::vector<nango::error> call_at_once(const nango::client& api, int count) {
  std::mutex mutex;
  std::vector<nango::error> errors;
  std::latch ready(count + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      const auto answer = call(api).answer;
      const std::lock_guard lock(mutex);
      if (!answer) errors.push_back(answer.error());
    });
  }
  ready.arrive_and_wait();
  for (auto& thread : threads) thread.join();
  return errors;
}

fault_server_options slow_answers(milliseconds time) {
  return {.afterwards = [time](std::string_view request) {
    std::this_thread::sleep_for(time);
    return nango_test::answer_soundly(request);
  }};
}

}  // namespace

TEST_CASE("100 threads get along with 110 descriptors: a connection takes one") {
  const nango_test::server_process server(slow_answers(milliseconds(1000)));
  const nango::client api(options_for(server.base_url(), server.ca_file()));
  const nango_test::descriptor_limit few(110);
  const auto before = open_descriptors();
  const auto errors = call_at_once(api, 100);
  for (const auto& e : errors) CHECK_MESSAGE(false, e);
  CHECK(open_descriptors() <= before + 100);
}

TEST_CASE("those of 100 threads for whom no descriptor is left are told so, with nothing sent") {
  const nango_test::server_process server(slow_answers(milliseconds(1000)));
  const nango::client api(options_for(server.base_url(), server.ca_file()));
  {
    const nango_test::descriptor_limit few(40);
    const auto errors = call_at_once(api, 100);
    CHECK(errors.size() >= 40);
    for (const auto& e : errors) check_unconnected(nango::result<nango::json>(e), server.base_url(), {"open files"});
  }
  CHECK(call(api).answer);
}

TEST_CASE("each kept connection is one descriptor, and no thread") {
  for (const bool tls : {true, false}) {
    CAPTURE(tls);
    auto slow = slow_answers(milliseconds(300));
    slow.tls = tls;
    const nango_test::server_process server(std::move(slow));
    std::thread([] {}).join();  // a sanitizer begins a thread of its own with the program's first
    const auto descriptors = open_descriptors(), threads = nango_test::threads();
    auto api = std::make_unique<nango::client>(options_for(server.base_url(), server.ca_file()));
    CHECK(call_at_once(*api, 8).empty());
    CHECK(open_descriptors() == descriptors + 8);
    CHECK(nango_test::comes_true([&] { return nango_test::threads() == threads; }));
    api.reset();
    CHECK(open_descriptors() == descriptors);
  }
}

// --- Addresses in place of names ---

TEST_CASE("an address of either family may stand in the base URL") {
  for (const char* address : {"127.0.0.1", "127.0.0.2", "::1"}) {
    for (const bool tls : {true, false}) {
      CAPTURE(std::string(address));
      CAPTURE(tls);
      std::optional<fault_server> server;
      try {
        server.emplace(fault_server_options{.tls = tls, .address = address});
      } catch (const std::runtime_error& none) {
        MESSAGE("skipped: ", none.what());
        continue;
      }
      const nango::client api(options_for(server->base_url(), server->ca_file()));
      const auto answer = call(api).answer;
      REQUIRE_MESSAGE(answer, answer.error());
      const auto authority = server->base_url().substr(server->base_url().find("//") + 2);
      const auto host = "\r\nHost: " + authority.substr(0, authority.find('/')) + "\r\n";
      CHECK(contains(server->requests().at(0), host));
    }
  }
}
