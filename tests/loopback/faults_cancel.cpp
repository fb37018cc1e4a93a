// Default backend: another thread cancels a call in each of its phases.

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "fault_server.hpp"
#include "nango.hpp"
#include "phases.hpp"
#include "process.hpp"

namespace faults_cancel_tests {

TEST_CASE("a call is canceled in each of its phases, and the client goes on") {
  for (const bool tls : {true, false}) {
    for (const auto& where : nango_test::all_phases()) {
      if (!tls && where.tls_only) continue;
      CAPTURE(tls);
      CAPTURE(where.name);
      const auto canceled = nango_test::cancel_in(where, tls);
      CHECK(canceled.took < std::chrono::seconds(10));
      CHECK(canceled.took >= std::chrono::seconds(0));  // not by itself
      CHECK_FALSE(canceled.outcome);
      if (canceled.outcome) continue;
      CHECK_MESSAGE(canceled.outcome.error().code == nango::errc::canceled, canceled.outcome.error());
      CHECK(canceled.outcome.error().may_have_executed == where.may_have_executed);
      CHECK(canceled.next_succeeds);
    }
  }
}

TEST_CASE("a call that is canceled before it begins sends nothing") {
  const nango_test::fault_server server({}, true);
  const nango::client api({.api_key = "key", .base_url = server.base_url(), .ca_file = server.ca_file()});
  const nango::cancel_source source;
  source.cancel();
  const auto answer = api.post("x", {{"a", 1}}, {.cancel = source.token()});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == nango::errc::canceled);
  CHECK_FALSE(answer.error().may_have_executed);
  CHECK(server.connections() == 0);
}

TEST_CASE("one canceled call leaves the calls beside it alone") {
  nango_test::fault_server server({{.then = nango_test::ending::stall}});
  const nango::client api({.api_key = "key", .base_url = server.base_url(), .ca_file = server.ca_file()});
  const nango::cancel_source source;
  std::thread other([&] {
    const auto stalled = api.get("stalled", {}, {.cancel = source.token()});
    CHECK_FALSE(stalled);
  });
  CHECK(nango_test::comes_true([&] { return server.acts_left() == 0; }));
  CHECK(api.get("beside"));
  source.cancel();
  CHECK(api.get("beside"));
  other.join();
  CHECK(api.get("after"));
}

}  // namespace faults_cancel_tests
