// The callers of the soak: threads that call at random, and one that cancels, forks, and stops and starts the server.
#ifndef NANGO_TESTS_SOAK_CALLERS_HPP
#define NANGO_TESTS_SOAK_CALLERS_HPP

#include <malloc.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nango.hpp"
#include "process.hpp"
#include "soak_book.hpp"
#include "soak_call.hpp"
#include "soak_children.hpp"
#include "soak_testbed.hpp"
#include "soak_verdicts.hpp"

namespace nango_test::soak {

inline constexpr std::size_t caller_count = 32, user_count = 2000;
// The first callers have few users, so that these are at their limit all the time and wait for permits.
inline constexpr std::size_t hot_caller_count = 16, hot_user_count = 4;

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

class callers {
 public:
  callers(testbed& around, verdicts& found, std::uint64_t seed)
      : testbed_(around), found_(found), seed_(seed), chance_(seed, ~std::uint64_t{0}) {}

  struct measured {
    holdings living, after;  // before these clients' end, and after it
  };
  /// For as long as given. Afterwards the clients that lived all that time are gone too.
  measured run_for(milliseconds duration) {
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
      const auto patience = seconds(nango_test::is_sanitized ? 700 : 70);
      found_.check(forks, children_.await(steady_clock::now() + patience), "some do not end");
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

  const counts& seen() const { return seen_; }
  std::uint64_t ids() const { return next_id_; }

 private:
  // --- One thread ---

  void run(const clients& lasting, std::size_t number) {
    dice thrown(seed_, next_dice_++);
    while (!over_ && next_id_ < testbed_.all->calls.size() - 1000) {
      const bool to_faults = number >= hot_caller_count && thrown.one_in(6);
      const auto& lasts = to_faults ? lasting.faults : lasting.gateway;
      const auto api = thrown.one_in(20) ? make_client(to_faults) : lasts;
      for (auto left = 1 + thrown.below(4); left > 0; --left) {
        make(api, draw(thrown, number, to_faults), slots_[number]);
      }
    }
  }
  nango::client make_client(bool to_faults) {
    ++seen_.clients;
    auto options = to_faults ? testbed_.fault_options() : testbed_.gateway_options();
    if (to_faults) return {options, nango::httplib_backend(options), fault_limit_};
    options.on_attempt = [this](const nango::attempt& seen) {
      if (seen.waited > milliseconds(1)) ++seen_.waits;
      found_.check(no_429, seen.http_status != 429, std::string(seen.path));
    };
    return {options, nango::httplib_backend(options), gateway_limit_};
  }
  call draw(dice& thrown, std::size_t number, bool to_faults) {
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
  void make(const nango::client& api, const call& wanted, cancel_slot& slot) {
    slot.set(wanted.source);
    const auto answer = send(api, wanted);
    const auto took = steady_clock::now() - wanted.began;
    slot.set({});
    note(wanted, answer, took);
  }
  void note(const call& wanted, const nango::result<nango::json>& answer, steady_clock::duration took) {
    found_.check(ends, took < wanted.timeout + most_late, wanted.text() + " was late");
    ++seen_.calls;
    if (answer) {
      check_answer(wanted, *answer);
    } else {
      check_error(wanted, answer.error(), took);
    }
    write_down(*testbed_.all, wanted, answer);
  }
  void check_answer(const call& wanted, const nango::json& answer) {
    ++seen_.successes;
    found_.check(right_caller, answer == expected_answer(wanted),
                 wanted.text() + " for " + wanted.user + " got " + answer.dump());
  }
  void check_error(const call& wanted, const nango::error& failure, steady_clock::duration took) {
    ++seen_.errors[static_cast<std::size_t>(failure.code)];
    const auto milliseconds_taken = std::chrono::duration_cast<milliseconds>(took).count();
    if (fits(wanted, failure, took) && !failure.message.empty()) return;
    std::ostringstream text;
    text << wanted.text() << " after " << milliseconds_taken << " of " << wanted.timeout.count() << " ms: " << failure;
    found_.broken(ends, text.str());
  }

  // --- What happens around them ---

  void disturb_until(steady_clock::time_point end, const clients& lasting) {
    auto now = steady_clock::now();
    auto next_change = now + seconds(1), next_report = now + seconds(10), next_child = now;
    for (; now < end; now = steady_clock::now()) {
      std::this_thread::sleep_for(milliseconds(8));
      if (slots_[chance_.below(slots_.size())].cancel()) ++seen_.cancels;
      if (now >= next_change) next_change = now + change_server();
      if (now >= next_child) {
        next_child = now + seconds(1);
        children_.fork_one(lasting, next_id_.fetch_add(children::calls_of_each));
      }
      children_.await({});
      if (now < next_report) continue;
      next_report += seconds(10);
      report();
    }
    if (!testbed_.server_runs()) testbed_.start_server();
  }
  // Returns when to change it again.
  milliseconds change_server() {
    if (!testbed_.server_runs()) {
      testbed_.start_server();
      return chance_.between(1000, 5000);
    }
    testbed_.stop_server();
    ++seen_.restarts;
    return chance_.between(0, 400);
  }
  void report() const {
    const holdings now;
    const auto since = std::chrono::duration_cast<seconds>(steady_clock::now() - began_).count();
    say(std::to_string(since) + " s: " + now.text() + "; " + seen_.text());
  }
  // What is held once it is no more than at first and what is allowed above it, or does not get there.
  holdings settled(std::size_t more_descriptors) const {
    nango_test::comes_true([&] {
      const holdings now;
      return now.descriptors <= at_first_.descriptors + more_descriptors && now.threads <= at_first_.threads;
    });
    ::malloc_trim(0);  // or what was freed counts as well
    return {};
  }

  testbed& testbed_;
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
  children children_{*testbed_.all, seen_, found_, seed_};
};

}  // namespace nango_test::soak

#endif
