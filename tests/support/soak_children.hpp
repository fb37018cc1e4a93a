// Children that are forked amid the soak's calls, and call.
#ifndef NANGO_TESTS_SOAK_CHILDREN_HPP
#define NANGO_TESTS_SOAK_CHILDREN_HPP

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nango.hpp"
#include "process.hpp"
#include "soak_book.hpp"
#include "soak_call.hpp"
#include "soak_verdicts.hpp"

namespace nango_test::soak {

// How a child ends.
enum class child_end { well, wrong_answer, wrong_error, late, no_answer, thrown, stuck, stuck_in_openssl };

// In a child that has not ended: whose lock it waits for. OpenSSL and the C library do not promise that a fork amid
// calls leaves theirs free.
inline void tell_where(int) {
  std::array<void*, 64> frames{};
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 1; i < count; ++i) {  // from the inside, without this function
    Dl_info found{};
    if (::dladdr(frames[static_cast<std::size_t>(i)], &found) == 0 || found.dli_fname == nullptr) continue;
    const std::string_view file(found.dli_fname);
    if (file.find("/libc.so") != file.npos) continue;
    const bool is_openssl = file.find("/libcrypto.so") != file.npos || file.find("/libssl.so") != file.npos;
    ::_exit(static_cast<int>(is_openssl ? child_end::stuck_in_openssl : child_end::stuck));
  }
  ::_exit(static_cast<int>(child_end::stuck));
}

// Children of this process, forked while its threads call. Each makes some calls with its copy of the clients, and ends
// with a child_end as its status.
class children {
 public:
  static constexpr std::uint64_t calls_of_each = 10;

  children(book& all, counts& seen, verdicts& found, std::uint64_t seed)
      : book_(all), seen_(seen), found_(found), seed_(seed) {
    void* frame = nullptr;
    ::backtrace(&frame, 1);  // loads what it needs, for the children
  }

  /// Its calls have the next ids from `first_id`.
  void fork_one(const clients& lasting, std::uint64_t first_id) {
    const auto pid = ::fork();
    if (pid == 0) {
      ::signal(SIGALRM, tell_where);
      ::alarm(nango_test::is_sanitized ? 600 : 60);
      auto end = child_end::thrown;
      try {
        end = call_as_child(lasting, first_id);
      } catch (const std::exception&) {
      }
      ::_exit(static_cast<int>(end));
    }
    found_.check(forks, pid > 0, "no fork");
    if (pid <= 0) return;
    ++seen_.children;
    pids_.push_back(pid);
  }
  /// Until `end` at the latest, and not at all where that is past. False: some have not ended.
  bool await(steady_clock::time_point end) {
    constexpr std::array names{
        "a wrong answer", "an error that does not fit", "a late call", "no answer at all", "an exception", "it hangs"};
    do {
      std::erase_if(pids_, [&](pid_t pid) {
        int status = 0;
        if (::waitpid(pid, &status, WNOHANG) != pid) return false;
        const auto how = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (how == static_cast<int>(child_end::stuck_in_openssl)) ++seen_.stuck_children;
        if (how == static_cast<int>(child_end::well) || how == static_cast<int>(child_end::stuck_in_openssl))
          return true;
        const bool is_named = how > 0 && static_cast<std::size_t>(how) <= names.size();
        found_.broken(forks, is_named ? names[static_cast<std::size_t>(how) - 1] : "status " + std::to_string(status));
        return true;
      });
      if (!pids_.empty() && steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(20));
    } while (!pids_.empty() && steady_clock::now() < end);
    return pids_.empty();
  }

 private:
  // The child has users of its own, as each process counts by itself what it sends.
  child_end call_as_child(const clients& lasting, std::uint64_t first_id) const {
    auto end = child_end::no_answer;
    for (auto id = first_id; id < first_id + calls_of_each; ++id) {
      std::this_thread::sleep_for(milliseconds(100));  // so that they outlast a pause of the server
      dice thrown(seed_, id);
      const bool to_faults = thrown.one_in(4);
      call wanted{.to_faults = to_faults,
                  .user = "child-" + std::to_string(first_id),
                  .method = thrown.one_in(2) ? "GET" : "POST",
                  .id = id,
                  .padding = thrown.below(200),
                  .timeout = to_faults ? milliseconds(500) : milliseconds(5000)};
      const auto answer = send(to_faults ? lasting.faults : lasting.gateway, wanted);
      const auto took = steady_clock::now() - wanted.began;
      write_down(book_, wanted, answer);
      if (took > wanted.timeout + most_late) return child_end::late;
      if (answer && *answer != expected_answer(wanted)) return child_end::wrong_answer;
      if (!answer && !fits(wanted, answer.error(), took)) return child_end::wrong_error;
      if (answer) end = child_end::well;
    }
    return end;
  }

  book& book_;
  counts& seen_;
  verdicts& found_;
  const std::uint64_t seed_;
  std::vector<pid_t> pids_{};
};

}  // namespace nango_test::soak

#endif
