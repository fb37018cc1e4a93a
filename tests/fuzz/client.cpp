// Client: whole calls over a backend that does what the bytes say, on the manual clock: answers, errors, delays,
// cancels. Whatever it does, calls end in time, are sent as often as they may be, and show no secret.
// Bytes: options; then call by call, and within a call send by send.
#include <map>

#include "fuzz.hpp"
#include "manual_clock.hpp"

namespace {

using namespace std::chrono_literals;
using nango::errc;
using nango_fuzz::bytes;
using nango_fuzz::check;
using nango_test::manual_clock;
using std::chrono::milliseconds;
using time_point = std::chrono::steady_clock::time_point;

constexpr const char* key = "secret-0123456789";
constexpr const char* token = "user";

// What one call is, and what became of it.
struct watched_call {
  time_point deadline{}, last_end{};
  nango::cancel_source source{};
  int sends = 0, seen = 0;
  int executed = 0;  // sends after which the API may have acted
  bool canceled_before_send = false;
};

struct world {
  bytes in;
  watched_call call{};
  std::vector<time_point> arrivals{};  // of the user's requests
};

// Truthful: what it says of `may_have_executed` is so.
struct driven_backend {
  world* of;

  nango::result<nango::http_response> send(const nango::http_request& request) {
    auto& call = of->call;
    ++call.sends;
    call.canceled_before_send |= call.source.token().canceled();
    check(manual_clock::now() < call.deadline, "nothing is sent after the deadline");
    check(request.deadline <= call.deadline, "an attempt ends with the call");
    of->arrivals.push_back(manual_clock::now());
    manual_clock::advance(milliseconds(of->in.below(4) == 3 ? of->in.below(5'000) : of->in.below(40)));
    call.last_end = manual_clock::now();
    if (of->in.one_in(16)) call.source.cancel();
    auto outcome = answer();
    call.executed += acted(outcome) ? 1 : 0;
    return outcome;
  }

 private:
  nango::result<nango::http_response> answer() {
    static constexpr std::array codes{errc::connection_failed, errc::tls_failed,         errc::timed_out,
                                      errc::canceled,          errc::response_too_large, errc::malformed_response};
    static constexpr std::array statuses{200, 200, 429, 500, 503, 400, 401, 404, 302, 204};
    static constexpr std::array odd{"", "\n", "\xC2\x85", "\xE2\x80\xAE", "\xE2\x81\xA6"};  // in no line
    static constexpr std::array waits{"", "0", "1", "30", "Thu, 01 Jan 1970 00:00:07 GMT"};
    auto& in = of->in;
    if (in.one_in(3)) {
      std::string message(in.one_of(odd));
      const auto code = in.one_of(codes);
      const bool may_have_executed = in.one_in(2);
      message += in.text();
      return nango::error{.code = code, .message = std::move(message), .may_have_executed = may_have_executed};
    }
    nango::http_response made{.status = in.one_of(statuses)};
    if (const char* wait = in.one_of(waits); *wait != '\0') made.headers.push_back({"Retry-After", wait});
    if (in.one_in(4)) made.headers.push_back({"X-Echo", std::string(in.text()) + key});
    made.body = body();
    return made;
  }
  std::string body() {
    static constexpr std::array types{"PARAMS_ERROR", "AUTH_ERROR", "PROCESSING_ERROR", "NEW_ERROR"};
    auto& in = of->in;
    switch (in.below(4)) {
      case 0: return R"({"status":"ok","result":[1]})";
      case 1: return nango::json{{"status", "error"}, {"error_type", in.one_of(types)}, {"error_msg", key}}.dump();
      case 2: return std::string(16'358 + in.below(40), 'x') + key + std::string(in.text());  // cut at 16,384
      default: return std::string(in.text());
    }
  }
  static bool acted(const nango::result<nango::http_response>& outcome) {
    if (!outcome) return outcome.error().may_have_executed;
    if (outcome->status == 429) return false;
    const auto read = nango::parse_envelope(*outcome);
    return read.has_value() || read.error().may_have_executed;
  }
};

using limiter = nango::basic_sliding_window<manual_clock>;
using client = nango::basic_client<driven_backend, limiter>;

void check_secret(std::string_view text) { check(!nango_fuzz::contains(text, key), "the key is nowhere"); }

nango::client_options take_options(world& all) {
  auto& in = all.in;
  nango::client_options options{.api_key = key, .base_url = "https://api.example.com/v1/"};
  options.timeout = milliseconds(1 + in.below(20'000));
  options.attempt_timeout = milliseconds(in.one_in(2) ? in.below(5'000) : 0);
  options.retry = {static_cast<int>(1 + in.below(5)), milliseconds(in.below(1'000)), milliseconds(in.below(5'000))};
  options.rate = {1 + in.below(4), milliseconds(1 + in.below(2'000)), milliseconds(in.below(5'000))};
  options.on_attempt = [&all, most = options.retry.max_attempts](const nango::attempt& seen) {
    check(seen.number == ++all.call.seen && seen.number <= most, "attempts are told one by one, to the last");
    check_secret(seen.path);
    for (const auto& field : seen.headers) check_secret(field.value);
    if (all.in.one_in(32)) all.call.source.cancel();
  };
  return options;
}

void check_rate(std::vector<time_point> arrivals, const nango::rate& r) {
  for (std::size_t i = r.requests; i < arrivals.size(); ++i) {
    check(arrivals[i] - arrivals[i - r.requests] >= r.per, "a user has no more than the limit in any span");
  }
}

void check_outcome(const world& all, std::string_view method, const nango::client_options& options,
                   const std::optional<nango::error>& e) {
  const auto& call = all.call;
  const bool idempotent = method == "GET" || method == "PUT" || method == "DELETE";
  check(call.sends <= options.retry.max_attempts && call.seen == call.sends, "as many attempts as allowed and told");
  check(idempotent || call.executed <= 1, "what is not idempotent executes once at most");
  check(manual_clock::now() <= (std::max)(call.deadline, call.last_end), "a call ends by its deadline");
  check(!call.canceled_before_send, "nothing is sent for a canceled call");
  if (!e) return;
  check(e->attempts == call.sends, "attempts are the requests sent");
  check(call.executed == 0 || e->may_have_executed, "what may have executed is told");
  check(call.sends != 0 || !e->may_have_executed, "what was not sent did not execute");
  check(!e->message.empty() && nango_fuzz::is_one_line(e->message), "the message is one line");
  check(nango_fuzz::is_one_line(e->type) && nango_fuzz::is_one_line(e->request), "so are its type and request");
  for (const std::string_view text : {std::string_view(e->message), std::string_view(e->type)}) check_secret(text);
  check_secret(e->body);
  check_secret(e->request);
  for (const auto& field : e->headers) check_secret(field.value);
  check(e->request.starts_with(method), "the request is told");
  for (std::size_t n = std::string_view(key).size() - 1; n >= 8 && e->body.size() == 16'384; --n) {
    check(!e->body.ends_with(std::string_view(key).substr(0, n)), "nor a part of it, where a body was cut");
  }
}

void make_call(world& all, const client& user, const nango::client_options& options) {
  static constexpr std::array methods{"GET", "PUT", "DELETE", "POST", "PATCH"};
  const std::string_view method = all.in.one_of(methods);
  const bool bare = all.in.one_in(4);
  const auto timeout = all.in.one_in(3) ? milliseconds(1 + all.in.below(3'000)) : options.timeout;
  const auto now = manual_clock::now();
  all.call = {.deadline = now + timeout, .last_end = now};
  nango::call_options how{.timeout = timeout, .cancel = all.call.source.token()};
  const std::string path = all.in.one_in(4) ? std::string("x/") + key : "x";
  std::optional<nango::error> e;
  if (bare) {
    const auto got = user.send(method, path, {}, "body", "text/plain", how);
    if (!got) e = got.error();
    if (got && got->status == 429) check(false, "a 429 of the API is an error");
  } else {
    const auto got = user.request_json(method, path, nango::json("body"), {}, how);
    if (!got) e = got.error();
    if (got) check(got->attempts == all.call.sends, "attempts are the requests sent");
  }
  check_outcome(all, method, options, e);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  manual_clock::reset();
  manual_clock::run_by_itself();
  world all{.in = {data, size}};
  const auto options = take_options(all);
  const client api(options, driven_backend{&all}, limiter(options.rate));
  const auto user = api.user(token);
  for (int calls = 0; calls < 12 && !all.in.done(); ++calls) {
    make_call(all, user, options);
    if (all.in.one_in(4)) manual_clock::advance(milliseconds(all.in.below(10'000)));
  }
  check_rate(std::move(all.arrivals), options.rate);
  return 0;
}
