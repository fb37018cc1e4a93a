// What a list costs that is read element by element, beside json::parse of the same text by hand: time and memory.
//
//   meson compile -C build bench_lists && build/tests/bench/bench_lists     # takes about a minute
//
// Each figure is a median of rounds that take turns. Each measurement has a process of its own, whose pages are fresh,
// and counts the time of its thread, which other programs change less than that of a clock on the wall.
#include <malloc.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "canned.hpp"
#include "nango.hpp"

namespace {

using nango::json;
using nango_bench::expect;
namespace crm = nango::crm;

/// A contact of some 560 bytes, as the API's page has it.
std::string contact(int i) {
  const auto n = std::to_string(i);
  return R"({"id":"5f0c6d1e-93b4-4d0b-8a51-)" + std::to_string(100'000'000'000 + i) + R"(","external_id":"003)" + n +
         R"(","first_name":"Rolf)" + n + R"(","last_name":"Hansen","job_title":"Head of Shipping","account":)" +
         R"("b21f0c7a-6f0e-4b52-9a53-7f30c4f1d2aa","adresses":[{"street_1":"1 Quay Street","city":"Bergen",)" +
         R"("zip_code":"5003","country":"Norway","address_type":"work"}],"email_adresses":[{"email":"rolf.)" + n +
         R"(@example.com","email_type":"work"}],"phone_numbers":[{"phone_number":"+47 555 12 345",)" +
         R"("phone_number_type":"mobile"}],"last_activity_at":"2022-08-01T09:30:00Z","external_created_at":)" +
         R"("2022-01-01T09:30:00Z","external_modified_at":"2022-07-01T09:30:00Z"})";
}
std::string contacts(std::size_t bytes) {
  std::string text = R"({"status":"ok","result":[)";
  for (int i = 0; text.size() < bytes; ++i) text += (i != 0 ? "," : "") + contact(i);
  return text + "]}";
}
/// A page of 10,000 records of some 300 bytes, but for the end that names the next one.
std::string page() {
  std::string text = R"({"records":[)";
  for (int i = 0; i < 10'000; ++i) {
    const auto n = std::to_string(100'000 + i);
    text +=
        (i != 0 ? "," : "") + (R"({"id":")" + n) + R"(","title":"The printer on the third floor","status":"open",)" +
        R"("priority":3,"tags":["hardware","printer"],"_nango_metadata":{"first_seen_at":"2026-08-01T09:30:00.)" + n +
        R"(Z","last_modified_at":"2026-08-01T09:30:00Z","last_action":"ADDED","deleted_at":null,"cursor":"MjAyNi)" + n +
        R"("}})";
  }
  return text;
}
std::string end_of_page(int number) {
  return R"(],"next_cursor":)" + (number < 100 ? '"' + std::to_string(number) + '"' : std::string("null")) + '}';
}

/// Hands over the body that lies there.
struct handing_backend {
  std::shared_ptr<std::string> next;
  nango::result<nango::http_response> send(const nango::http_request&) {
    return nango::http_response{.status = 200, .body = std::move(*next)};
  }
};
using client = nango::basic_client<handing_backend, nango::unlimited>;  // to make a limiter would take longer
/// 100 pages.
struct paging_backend {
  std::shared_ptr<std::string> text = std::make_shared<std::string>(page());
  std::shared_ptr<int> sent = std::make_shared<int>(0);
  nango::result<nango::http_response> send(const nango::http_request&) {
    return nango::http_response{.status = 200, .body = *text + end_of_page(++*sent)};
  }
};

/// Reads the body that lies there; how much it found, so that nothing is left out.
using reading = std::size_t (*)(const std::shared_ptr<std::string>& body);

std::size_t length_of_id(const json& one) { return one.at("id").get_ref<const std::string&>().size(); }
nango::client_options options() { return {.api_key = "key", .max_response_bytes = std::size_t{1} << 30}; }

std::size_t parse(const std::shared_ptr<std::string>& body) {
  std::size_t found = 0;
  const auto whole = json::parse(*body);
  for (const auto& one : whole.at("result")) found += length_of_id(one);
  return found;
}
std::size_t parse_typed(const std::shared_ptr<std::string>& body) {
  return json::parse(*body).at("result").get<std::vector<crm::contact>>().size();
}
std::size_t each(const std::shared_ptr<std::string>& body) {
  std::size_t found = 0;
  const client api(options(), {body});
  expect(api.for_each("x", [&](const json& one) { found += length_of_id(one); }).has_value());
  return found;
}
std::size_t typed(const std::shared_ptr<std::string>& body) {
  return crm::list_contacts(client(options(), {body})).value().size();
}
std::size_t get(const std::shared_ptr<std::string>& body) { return client(options(), {body}).get("x").value().size(); }
std::size_t parse_pages(const std::shared_ptr<std::string>&) {
  std::size_t found = 0;
  paging_backend pages;
  for (bool more = true; more;) {
    const auto one = json::parse(pages.send({})->body);
    for (const auto& record : one.at("records")) found += length_of_id(record);
    more = !one.at("next_cursor").is_null();
  }
  return found;
}
std::size_t each_page(const std::shared_ptr<std::string>&) {
  std::size_t found = 0;
  const nango::basic_client<paging_backend, nango::unlimited> api(nango::hosted::options("key"), {});
  const auto progress =
      nango::hosted::for_each_record(api, "Ticket", [&](const json& one) { found += length_of_id(one); });
  expect(progress.done && progress.count == 1'000'000);
  return found;
}

struct cost {
  double time = 0, memory = 0;  // a byte's nanoseconds; the peak above the body, in bodies
};

double thread_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}
double peak_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6);
  }
  return 0;
}

cost measure_here(reading read, std::size_t bytes) {
  const auto body = std::make_shared<std::string>();
  const bool is_small = bytes != 0 && bytes < 1'000'000;
  const int rounds = is_small ? 200 : 1;
  if (is_small)
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);  // or each call gives the body's pages back, which parsing does not
  const auto text = contacts(bytes);
  std::vector<double> times;
  double peak = 0;
  for (int i = 0; i < rounds; ++i) {
    *body = text;
    std::ofstream("/proc/self/clear_refs") << 5;  // the peak begins anew
    const auto before = peak_kilobytes();
    const auto began = thread_time();
    expect(read(body) != 0);
    times.push_back(thread_time() - began);
    peak = (std::max)(peak, peak_kilobytes() - before);
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  const auto size = static_cast<double>((std::max)(bytes, std::size_t{1}));
  return {times[static_cast<std::size_t>(rounds / 2)] / size, peak * 1024 / size};
}
cost measure(reading read, std::size_t bytes) {
  int ends[2] = {};
  expect(::pipe(ends) == 0);
  const auto child = ::fork();
  if (child == 0) {
    const auto found = measure_here(read, bytes);
    expect(::write(ends[1], &found, sizeof found) == sizeof found);
    ::_exit(0);
  }
  cost found;
  expect(::read(ends[0], &found, sizeof found) == sizeof found);
  ::close(ends[0]);
  ::close(ends[1]);
  expect(::waitpid(child, nullptr, 0) == child);
  return found;
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

/// Two that are compared, in turns: the ratio of their times, and the memory of the first.
cost compare(reading ours, reading by_hand, std::size_t bytes) {
  std::vector<double> ratios, memory;
  for (int round = 0; round < 7; ++round) {
    const auto one = measure(ours, bytes), other = measure(by_hand, bytes);
    ratios.push_back(one.time / other.time);
    memory.push_back(one.memory);
  }
  return {median(ratios), median(memory)};
}

void show(const char* figure, const char* goal, double value) {
  std::printf("%s\t%s\t%.3f\n", figure, goal, value);
  std::fflush(stdout);
}

}  // namespace

int main() {
  const auto small = compare(each, parse, 64'000);
  show("for_each of 64 kB: time / json::parse", "<= 1.05", small.time);
  const auto typed_small = compare(typed, parse_typed, 64'000);
  show("list_contacts of 64 kB: time / json::parse and get<std::vector>", "<= 0.60", typed_small.time);
  const auto large = compare(each, parse, 10'000'000);
  show("for_each of 10 MB: time / json::parse", "<= 0.60", large.time);
  show("for_each of 10 MB: peak memory above the body / body", "<= 0.10", large.memory);
  const auto typed_large = compare(typed, parse_typed, 10'000'000);
  show("list_contacts of 10 MB: time / json::parse and get<std::vector>", "<= 0.45", typed_large.time);
  show("list_contacts of 10 MB: peak memory above the body / body", "<= 1.2", typed_large.memory);
  show("get of 10 MB: time / json::parse", "<= 1.05", compare(get, parse, 10'000'000).time);
  show("for_each_record, 100 pages of 10,000: time / json::parse", "<= 0.80", compare(each_page, parse_pages, 0).time);
  show("for_each of 66 MB: time / json::parse", "<= 0.60", compare(each, parse, 66'000'000).time);
}
