// The servers of the soak, each in a process of its own, which inherits the book as its descriptor 3: a sound one,
// which stands behind the gateway, and one of faults.
#ifndef NANGO_TESTS_SOAK_SERVERS_HPP
#define NANGO_TESTS_SOAK_SERVERS_HPP

#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fault_server.hpp"
#include "faults.hpp"
#include "nango.hpp"
#include "soak_book.hpp"

namespace nango_test::soak {

// --- The sound server ---

inline void execute(book& all, const httplib::Request& request, httplib::Response& response) {
  const auto id = std::stoull(request.matches[1]);
  dice thrown(id, 0);  // some calls take a while, before it or after, and meet cancels, deadlines and the server's end
  if (thrown.one_in(16)) std::this_thread::sleep_for(thrown.between(1, 60));
  note_execution(all, request.method, id);
  if (thrown.one_in(16)) std::this_thread::sleep_for(thrown.between(1, 60));
  const auto result = echo(request.get_header_value("X-User-Account"), id, request.body);
  response.set_content(nango::json{{"status", "ok"}, {"result", result}}.dump(), "application/json");
}

inline int serve_soundly(int port) {
  const auto all = shared_book::inherited();
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(128); };  // a connection that is kept has a thread
  server.set_keep_alive_max_count(1'000'000);
  server.set_tcp_nodelay(true);
  server.set_socket_options([](int fd) {
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  const auto handler = [&](const auto& request, auto& response) { execute(*all, request, response); };
  const std::string path = R"(/v1/calls/(\d+))";
  server.Get(path, handler).Post(path, handler).Put(path, handler);
  return server.listen("127.0.0.1", port) ? 0 : 1;
}

// --- The fault server ---

inline std::string refusal(const std::string& status, const std::string& type, const std::string& fields = {}) {
  const auto body = nango::json{{"status", "error"}, {"error_type", type}, {"error_msg", "by lot"}}.dump();
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Draws what becomes of a connection and of a request. Its members may be called from many threads at once.
class fates {
 public:
  fates(book& all, std::uint64_t seed) : all_(all), seed_(seed) {
    for (const auto& row : nango_test::all_faults()) {
      const bool is_of_a_request = row.script.size() == 1 && row.script[0].at == moment::request;
      if (is_of_a_request && row.status == 200) bad_.push_back(row.script[0]);  // a 204 would be a success
    }
  }

  act of_connection() {
    auto thrown = throw_dice();
    constexpr std::array early{moment::accept, moment::handshake};
    constexpr std::array ends{ending::break_off, ending::reset, ending::stall};
    if (!thrown.one_in(8)) return {};
    return {.at = early[thrown.below(early.size())], .then = ends[thrown.below(ends.size())]};
  }

  act of_request(std::string_view request) {
    auto thrown = throw_dice();
    // The API says of these that it did not act, and here it is true.
    if (thrown.one_in(40)) return {.bytes = refusal("400 Bad Request", "PARAMS_ERROR")};
    if (thrown.one_in(40)) return {.bytes = refusal("401 Unauthorized", "AUTH_ERROR")};
    if (thrown.one_in(40)) return {.bytes = refusal("429 Too Many Requests", "RATE_ERROR", "Retry-After: 0\r\n")};
    const auto answer = nango_test::sound_answer(executed(request).dump());
    if (thrown.one_in(20)) return {.bytes = refusal("500 Internal Server Error", "PROCESSING_ERROR")};
    if (thrown.one_in(20)) return {.bytes = answer, .then = ending::close};
    if (thrown.one_in(20)) return {.bytes = answer + nango_test::sound_answer(echo("nobody", 0, "").dump())};
    if (thrown.one_in(3)) return bad_[thrown.below(bad_.size())];
    return {.bytes = answer};
  }

 private:
  dice throw_dice() { return {seed_, number_++}; }

  static std::string between(std::string_view text, std::string_view before, std::string_view after) {
    const auto begin = text.find(before) + before.size();
    return std::string(text.substr(begin, text.find(after, begin) - begin));
  }
  nango::json executed(std::string_view request) {
    const auto id = std::stoull(between(request, "/v1/calls/", " "));
    note_execution(all_, request.substr(0, request.find(' ')), id);
    const auto body = request.substr(request.find("\r\n\r\n") + 4);
    return echo(between(request, "X-User-Account: ", "\r\n"), id, std::string(body));
  }

  book& all_;
  std::uint64_t seed_;
  std::atomic<std::uint64_t> number_ = 0;
  std::vector<act> bad_{};
};

inline int serve_faults(std::uint64_t seed) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
  const auto all = shared_book::inherited();
  fates drawn(*all, seed);
  const nango_test::fault_server server({.afterwards = [&](auto request) { return drawn.of_request(request); },
                                         .on_connection = [&] { return drawn.of_connection(); },
                                         .remembers = false});
  std::strncpy(all->fault_ca_file.data(), server.ca_file().c_str(), all->fault_ca_file.size() - 1);
  all->fault_port = server.port();
  int got = 0;
  sigwait(&end, &got);
  return 0;
}

}  // namespace nango_test::soak

#endif
