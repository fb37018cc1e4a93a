// Default backend: memory runs out while a call is under way. That is std::bad_alloc, and called nothing else.

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "fault_server.hpp"
#include "nango.hpp"

// ---- An operator new of which a thread can say when it fails ----

namespace {

thread_local std::size_t largest = std::numeric_limits<std::size_t>::max();  // larger: fails
thread_local std::size_t next_to_fail = 0;                                   // 0: none; 1: the next one, and so on

void* allocate(std::size_t size) {
  const bool is_its_turn = next_to_fail != 0 && --next_to_fail == 0;
  void* memory = is_its_turn || size > largest ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using nango_test::fault_server;
using std::chrono::seconds;

std::string large_answer(std::size_t size, bool chunked) {
  const std::string begin = "HTTP/1.1 200 OK\r\n", body(size, 'x');
  if (!chunked) return begin + "Content-Length: " + std::to_string(size) + "\r\n\r\n" + body;
  std::string text = begin + "Transfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0; at < size; at += 64 * 1024) text += "10000\r\n" + body.substr(at, 64 * 1024) + "\r\n";
  return text + "0\r\n\r\n";
}

// What a call came to.
struct outcome {
  bool threw = false;
  std::string name{};
};
template <class Act> outcome attempt(std::size_t most, std::size_t turn, Act act) {
  outcome what;
  largest = most;
  next_to_fail = turn;
  try {
    const auto got = act();
    largest = std::numeric_limits<std::size_t>::max();
    next_to_fail = 0;
    what.name = got ? "answer" : std::string(to_string(got.error().code)) + ": " + got.error().message;
  } catch (const std::bad_alloc&) {
    what.threw = true;
  }
  largest = std::numeric_limits<std::size_t>::max();
  next_to_fail = 0;
  return what;
}

nango::client_options options_for(const fault_server& server) {
  return {.api_key = "key",
          .base_url = server.base_url(),
          .retry = {.max_attempts = 1},
          .ca_file = server.ca_file(),
          .allow_plaintext_loopback = true};
}

}  // namespace

TEST_CASE("a large answer for which there is no memory is std::bad_alloc, and the next call succeeds") {
  for (const bool tls : {true, false}) {
    for (const bool chunked : {false, true}) {
      for (const std::size_t most : {std::size_t{100'000}, std::size_t{1} << 20, std::size_t{5} << 20}) {
        CAPTURE(tls);
        CAPTURE(chunked);
        CAPTURE(most);
        const fault_server server({{.bytes = large_answer(8 << 20, chunked)}}, tls);
        const nango::client api(options_for(server));
        const auto got = attempt(most, 0, [&] { return api.send("GET", "x"); });
        CHECK_MESSAGE(got.threw, got.name);
        const auto next = api.get("next");
        REQUIRE_MESSAGE(next, next.error());
        CHECK(*next == "/v1/next");
        CHECK(server.connections() == 2);
      }
    }
  }
}

TEST_CASE("whichever allocation of a call fails, it is std::bad_alloc or an answer, and the next call succeeds") {
  for (const auto& [tls, fresh] : {std::pair(true, true), {true, false}, {false, true}, {false, false}}) {
    CAPTURE(tls);
    CAPTURE(fresh);
    const fault_server server({}, tls);
    auto backend = std::make_unique<nango::httplib_backend>(options_for(server));
    const nango::headers headers{{"X-A", std::string(100, 'a')}, {"X-B", "b"}};
    const auto url = server.base_url() + "x";
    const auto send = [&] {
      return backend->send({.method = "POST",
                            .url = url,
                            .headers = headers,
                            .body = "{}",
                            .deadline = std::chrono::steady_clock::now() + seconds(10),
                            .max_response_bytes = 1000});
    };
    std::size_t turn = 0;
    for (std::string name; name != "answer" && turn < 2000;) {  // until a call needs fewer than that
      ++turn;
      CAPTURE(turn);
      if (fresh) backend = std::make_unique<nango::httplib_backend>(options_for(server));
      const auto got = attempt(std::numeric_limits<std::size_t>::max(), turn, send);
      name = got.name;
      if (!got.threw) CHECK(got.name == "answer");
      const auto next = send();
      REQUIRE_MESSAGE(next, next.error());
      CHECK(next->body == R"({"status":"ok","result":"/v1/x"})");
    }
    CHECK(turn > 2);
    CHECK(turn < 2000);
  }
}

TEST_CASE("whichever allocation of a call fails that cannot succeed, it is std::bad_alloc or that call's error") {
  using nango_test::ending;
  for (const auto how : {ending::stall, ending::reset, ending::flood}) {
    for (const bool tls : {true, false}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(tls);
      const fault_server server({.tls = tls, .afterwards = [how](std::string_view) {
                                   return nango_test::act{.rest = std::string(10'000, 'x'), .then = how};
                                 }});
      nango::httplib_backend backend(options_for(server));
      const auto url = server.base_url() + "x";
      std::size_t turn = 0;
      for (bool threw = true; threw && turn < 2000;) {
        ++turn;
        CAPTURE(turn);
        const auto got = attempt(std::numeric_limits<std::size_t>::max(), turn, [&] {
          return backend.send({.method = "GET",
                               .url = url,
                               .deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(100),
                               .max_response_bytes = 1000});
        });
        threw = got.threw;
        CHECK(got.name != "answer");
      }
      CHECK(turn > 2);
      CHECK(turn < 2000);
    }
  }
}
