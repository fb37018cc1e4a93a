// What a call executes above json::parse and the wire, in instructions: instructions.py runs this under callgrind,
// which writes one file for each part. By itself it does the same and shows nothing.
#include <valgrind/callgrind.h>

#include <cstdlib>
#include <string>

#include "canned.hpp"
#include "nango.hpp"

namespace {

using nango_bench::canned_envelope;
using nango_bench::user_token;

constexpr int rounds = 1000;

/// Counts `rounds` of them, once everything is warm.
template <class Fn> void part(const char* name, const Fn& once) {
  for (int i = 0; i < 100; ++i) once();
  CALLGRIND_ZERO_STATS;
  for (int i = 0; i < rounds; ++i) once();
  CALLGRIND_DUMP_STATS_AT(name);
}

void expect(bool succeeded) {
  if (!succeeded) std::abort();
}

}  // namespace

int main() {
  const std::string text(canned_envelope);
  const nango::json body{{"name", "Rolf Hansen"}, {"email", "rolf.hansen@example.com"}, {"tags", {"new", "imported"}}};
  const auto api = nango_bench::make_canned_client();
  const auto user = api.user(user_token);
  nango_bench::canned_backend backend;

  part("parse", [&] { expect(nango::json::parse(text).is_object()); });
  part("dump", [&] { expect(!body.dump().empty()); });
  part("backend", [&] { expect(backend.send({}).has_value()); });
  part("get", [&] { expect(api.get("crm/contacts").has_value()); });
  part("get, user", [&] { expect(user.get("crm/contacts").has_value()); });
  part("get, user made each time", [&] { expect(api.user(user_token).get("crm/contacts").has_value()); });
  part("get, user, query", [&] { expect(user.get("crm/contacts", {{"name", "Rolf"}, {"limit", 50}}).has_value()); });
  part("post", [&] { expect(api.post("crm/contacts", body).has_value()); });
  part("post, user", [&] { expect(user.post("crm/contacts", body).has_value()); });
  part("send, user", [&] { expect(user.send("GET", "crm/contacts").has_value()); });
}
