// The soak test: 32 threads call for 2,000 users, through a real HAProxy and to a server of faults. Calls are canceled
// at random, clients come and go, a child of this process calls with its copy of them each second, and the server
// behind HAProxy dies and comes back. It ends with one line for each promise, and with status 1 where one was broken
// (77: there is no haproxy). By hand:
//
//   soak [seconds, 60 if not given [seed]]
//
// Both servers are processes of their own (this program again), so that what is measured here is the client's alone.
// They note in shared memory which calls they executed: a note survives the server, and is made before its answer.

#include <stdlib.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include "nango.hpp"
#include "process.hpp"
#include "soak_book.hpp"
#include "soak_call.hpp"
#include "soak_callers.hpp"
#include "soak_servers.hpp"
#include "soak_testbed.hpp"
#include "soak_verdicts.hpp"

namespace {

using namespace nango_test::soak;

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
  testbed around(seed);
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
