// Rate limiter: any schedule of callers, answers, losses, holds and waits, and a server that counts. Whenever between
// its sending and its end a request arrives, or up to `linger` later where it was given up, no span has too many.
// Bytes: the rate; then step by step what happens, to which key, and how much time goes by.
#include <map>

#include "fuzz.hpp"
#include "manual_clock.hpp"

namespace {

using nango_fuzz::bytes;
using nango_fuzz::check;
using nango_test::manual_clock;
using std::chrono::nanoseconds;
using time_point = std::chrono::steady_clock::time_point;
using limiter = nango::basic_sliding_window<manual_clock>;

constexpr std::array keys{"a", "b", "c"};

struct request {
  limiter::permit permit{};
  std::size_t key = 0;
  time_point sent{};
};

class schedule {
 public:
  explicit schedule(bytes in) : in_(in), rate_(take_rate()), limiter_(rate_), copy_(limiter_) {}

  void play() {
    while (!in_.done()) {
      switch (in_.below(8)) {
        case 0:
        case 1:
        case 2: ask(nanoseconds(0)); break;
        case 3: ask(take_span()); break;
        case 4: end(true); break;
        case 5: end(false); break;
        case 6: hold(); break;
        default: manual_clock::advance(take_span());
      }
    }
    while (!open_.empty()) end(in_.one_in(2));
    for (auto& [key, arrivals] : arrivals_) check_spans(arrivals);
  }

 private:
  // Small numbers meet each other's edges more often.
  nanoseconds take_span() { return nanoseconds(in_.one_in(4) ? in_.below(4'000) : in_.below(200)); }
  nango::rate take_rate() {
    return {1 + in_.below(6), nanoseconds(1 + in_.below(200)), nanoseconds(in_.below(3) == 0 ? 0 : in_.below(400))};
  }

  void ask(nanoseconds patience) {
    const auto key = in_.below(keys.size());
    const auto asked = manual_clock::now();
    auto given = (in_.one_in(2) ? limiter_ : copy_).acquire(keys[key], asked + patience);
    const auto now = manual_clock::now();
    check(now <= asked + patience, "nobody waits longer than his deadline");
    if (!given) return refused(given.error(), now - asked);
    check(now >= held_[key], "nobody goes before a hold is over");
    open_.push_back({*std::move(given), key, now});
  }
  static void refused(const nango::error& e, nanoseconds waited) {
    check(e.code == nango::errc::rate_limited || e.code == nango::errc::timed_out, "the limiter refuses or times out");
    check(e.code != nango::errc::rate_limited || (waited.count() == 0 && e.retry_after), "at once, with the wait");
    check(!e.may_have_executed && e.attempts == 0, "nothing was sent");
  }

  // The request arrives somewhere on its way.
  void end(bool answered) {
    if (open_.empty()) return;
    const auto index = in_.below((std::min)(open_.size(), std::size_t{256}));
    auto ended = std::move(open_[index]);
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
    const auto latest = manual_clock::now() + (answered ? nanoseconds(0) : rate_.linger);
    const auto way = (latest - ended.sent).count() + 1;
    const auto late = in_.below(4);  // mostly at an edge
    const auto delay = late == 0 ? 0 : late == 1 ? way - 1 : static_cast<nanoseconds::rep>(in_.below(65'536)) % way;
    arrivals_[ended.key].push_back(ended.sent + nanoseconds(delay));
    if (answered) ended.permit.answered();
  }

  void hold() {
    const auto key = in_.below(keys.size());
    const auto until = manual_clock::now() + take_span();
    limiter_.hold(keys[key], until);
    held_[key] = (std::max)(held_[key], until);
  }

  void check_spans(std::vector<time_point>& arrivals) const {
    std::sort(arrivals.begin(), arrivals.end());
    for (std::size_t i = rate_.requests; i < arrivals.size(); ++i) {
      check(arrivals[i] - arrivals[i - rate_.requests] >= rate_.per, "no span has more than the limit");
    }
  }

  bytes in_;
  nango::rate rate_;
  limiter limiter_, copy_;
  std::vector<request> open_{};
  std::map<std::size_t, std::vector<time_point>> arrivals_{};
  std::array<time_point, keys.size()> held_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  manual_clock::reset();
  manual_clock::run_by_itself();
  schedule(bytes(data, size)).play();
  return 0;
}
