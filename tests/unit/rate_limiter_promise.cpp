// The default limiter's promise, against every order that a network can make, and with many threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "limiter_fixture.hpp"
#include "nango.hpp"

namespace rate_limiter_promise_tests {

using namespace nango_test::limiting;

// --- The promise, against every order that a network can make ---

namespace {

struct arrival {
  nanoseconds earliest{}, latest{};
};

std::size_t most_in_a_span(const std::vector<arrival>& seen, nanoseconds per) {
  std::vector<nanoseconds> earliest, latest;
  for (const auto& a : seen) {
    earliest.push_back(a.earliest);
    latest.push_back(a.latest);
  }
  std::sort(earliest.begin(), earliest.end());
  std::sort(latest.begin(), latest.end());
  std::ptrdiff_t most = 0;
  for (const auto from : latest) {
    const auto begun = std::lower_bound(earliest.begin(), earliest.end(), from + per) - earliest.begin();
    const auto over = std::lower_bound(latest.begin(), latest.end(), from) - latest.begin();
    most = (std::max)(most, begun - over);
  }
  return static_cast<std::size_t>(most);
}

std::vector<arrival> points(std::initializer_list<nanoseconds> times) {
  std::vector<arrival> seen;
  for (const auto t : times) seen.push_back({t, t});
  return seen;
}

// One program, its requests under way, and what the server sees of them.
class network {
 public:
  network(unsigned seed, const nango::rate& r) : random_(seed), limiter_(r) {}

  void step() {
    switch (up_to(5)) {
      case 0: manual_clock::advance(milliseconds(up_to(30))); break;
      case 1:
      case 2:
        if (!under_way_.empty()) finish(static_cast<std::size_t>(up_to(static_cast<int>(under_way_.size()) - 1)));
        break;
      default: send();
    }
  }

  const std::vector<arrival>& seen() const { return seen_; }
  const std::vector<arrival>& possible() const { return possible_; }

 private:
  struct flight {
    limiter::permit permit{};
    nanoseconds sent{};
  };

  int up_to(int most) { return std::uniform_int_distribution(0, most)(random_); }

  void send() {
    auto permit = limiter_.acquire("ann", manual_clock::now() + milliseconds(up_to(1) * up_to(300)));
    if (permit) {
      under_way_.push_back({*std::move(permit), manual_clock::elapsed()});
    } else if (permit.error().retry_after && up_to(2) == 0) {
      manual_clock::advance(*permit.error().retry_after);
    }
  }

  void finish(std::size_t which) {
    auto& ending = under_way_[which];
    auto latest = manual_clock::elapsed();
    const bool lost = up_to(4) == 0;
    if (lost) {
      latest += limiter_.rate().linger;
    } else {
      ending.permit.answered();
    }
    possible_.push_back({ending.sent, latest});
    if (!lost || up_to(1) == 0) arrive(ending.sent, latest);
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void arrive(nanoseconds earliest, nanoseconds latest) {
    const auto between = earliest + (latest - earliest) * up_to(100) / 100;
    const auto at = std::array{earliest, latest, between}[static_cast<std::size_t>(up_to(2))];
    seen_.push_back({at, at});
  }

  std::mt19937 random_;
  limiter limiter_;
  std::vector<flight> under_way_{};
  std::vector<arrival> seen_{}, possible_{};
};

}  // namespace

TEST_CASE("the oracle sees a span with too many arrivals") {
  CHECK(most_in_a_span({}, 100ms) == 0);
  CHECK(most_in_a_span(points({0ms, 50ms, 100ms}), 100ms) == 2);
  CHECK(most_in_a_span(points({0ms, 50ms, 100ms - 1ns}), 100ms) == 3);
  CHECK(most_in_a_span(points({500ms, 0ms, 520ms, 90ms, 599ms, 600ms}), 100ms) == 3);
  CHECK(most_in_a_span(points({7ms, 7ms, 7ms, 7ms}), 1ns) == 4);
  CHECK(most_in_a_span({{0ms, 10ms}, {110ms, 120ms}}, 100ms) == 1);
  CHECK(most_in_a_span({{0ms, 10ms + 1ns}, {110ms, 120ms}}, 100ms) == 2);
  CHECK(most_in_a_span({{0ms, 1'000ms}, {10ms, 20ms}, {500ms, 510ms}}, 100ms) == 2);
}

TEST_CASE_FIXTURE(at_the_start, "the oracle sees what a limiter that counts from the sending lets through") {
  std::vector<arrival> seen;
  for (int i = 0; i < 8; ++i) {
    const auto sent = i / 4 * 100ms;
    const auto delay = i < 4 ? 99ms : 0ms;
    seen.push_back({sent + delay, sent + delay});
  }
  CHECK(most_in_a_span(seen, 100ms) == 8);
}

TEST_CASE_FIXTURE(at_the_start, "whatever the network does, no span of `per` sees more than `requests`") {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    manual_clock::reset();
    manual_clock::run_by_itself();
    const nango::rate r{.requests = 1 + seed % 7, .per = 40ms * (1 + seed % 5), .linger = 70ms * (seed % 4)};
    network net(seed, r);
    for (int i = 0; i < 4'000; ++i) net.step();
    CHECK(net.seen().size() > 300);
    CHECK(most_in_a_span(net.seen(), r.per) <= r.requests);
    CHECK(most_in_a_span(net.possible(), r.per) == r.requests);  // all that it allows, and no more
  }
}

// --- Many threads ---

namespace {

constexpr nango::rate busy{.requests = 3, .per = 20ms, .linger = 30ms};
const std::array<std::string, 3> users{"ann", "bob", "cid"};

struct record {
  std::array<std::vector<arrival>, users.size()> possible{};
  std::size_t given = 0, refused = 0;
  std::vector<errc> others{};
};

// A thread's calls: some cannot wait long, some are canceled, some never hear of an answer.
record call_often(limiter l, unsigned seed) {
  std::mt19937 random(seed);
  const auto up_to = [&](int most) { return std::uniform_int_distribution(0, most)(random); };
  record mine;
  for (int i = 0; i < 150; ++i) {
    const auto user = static_cast<std::size_t>(up_to(static_cast<int>(users.size()) - 1));
    const nango::cancel_source source;
    if (up_to(19) == 0) source.cancel();
    const auto deadline = up_to(2) == 0 ? manual_clock::now() + milliseconds(up_to(60)) : time_point::max();
    auto permit = l.acquire(users[user], deadline, up_to(1) == 0 ? source.token() : nango::cancel_token());
    if (!permit) {
      ++mine.refused;
      mine.others.push_back(permit.error().code);
      continue;
    }
    ++mine.given;
    const auto sent = manual_clock::elapsed();
    for (auto naps = up_to(5); naps > 0; --naps) std::this_thread::yield();
    const bool lost = up_to(6) == 0;
    mine.possible[user].push_back({sent, manual_clock::elapsed() + (lost ? busy.linger : 0ns)});
    if (!lost) permit->answered();
    if (up_to(30) == 0) l.hold(users[user], manual_clock::now() + milliseconds(up_to(10)));
    if (up_to(30) == 0) static_cast<void>(l.size());
  }
  return mine;
}

}  // namespace

TEST_CASE_FIXTURE(at_the_start, "many threads together keep the limit of each key") {
  limiter l(busy);
  std::array<record, 16> records;
  std::atomic<std::size_t> done{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < records.size(); ++i) {
    threads.emplace_back([&, i] {
      records[i] = call_often(l, static_cast<unsigned>(i));
      ++done;
    });
  }
  for (int tick = 0; done < records.size(); ++tick) {
    manual_clock::advance(tick % 3 == 0 ? 1ms : 137us);
    std::this_thread::yield();
  }
  for (auto& thread : threads) thread.join();

  for (std::size_t user = 0; user < users.size(); ++user) {
    std::vector<arrival> all;
    for (const auto& r : records) all.insert(all.end(), r.possible[user].begin(), r.possible[user].end());
    CAPTURE(user);
    CHECK(all.size() > busy.requests);
    CHECK(most_in_a_span(all, busy.per) <= busy.requests);
  }
  const std::initializer_list<errc> may_be{errc::rate_limited, errc::timed_out, errc::canceled};
  for (const auto& r : records) {
    CHECK(r.given > 0);
    CHECK(r.given + r.refused == 150);
    for (const auto code : r.others) CHECK(std::find(may_be.begin(), may_be.end(), code) != may_be.end());
  }
  manual_clock::advance(1h);
  for (const auto& user : users) CHECK(count_free(l, user) == busy.requests);  // nothing was left behind
}

}  // namespace rate_limiter_promise_tests
