// What this process holds, as Linux tells it.
#ifndef NANGO_TESTS_PROCESS_HPP
#define NANGO_TESTS_PROCESS_HPP

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

namespace nango_test {

namespace detail {

inline std::size_t entries(const char* folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

inline std::set<std::string> deaf_tasks() {
  const auto bit = [](int signal) { return std::uint64_t{1} << (signal - 1); };
  std::uint64_t all = 0;
  for (int signal = 1; signal < 32; ++signal) all |= bit(signal);
  all &= ~(bit(SIGKILL) | bit(SIGSTOP));  // nobody can block these
  std::set<std::string> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");  // which may be gone by now
    for (std::string line; std::getline(status, line);) {
      const bool is_mask = line.starts_with("SigBlk:");
      if (is_mask && (std::stoull(line.substr(7), nullptr, 16) & all) == all) found.insert(task.path());
    }
  }
  return found;
}

}  // namespace detail

/// Built with a sanitizer, which makes it slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif

/// Of the first 1024.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) != -1 ? 1U : 0U;  // opens none, as /proc would
  return count;
}
inline std::size_t threads() { return detail::entries("/proc/self/task"); }

/// Threads that block every signal, as the backend's watchdog does (and a sanitizer's own thread).
inline std::size_t deaf_threads() {
  const auto first = detail::deaf_tasks();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // any thread is deaf for a moment, at its two ends
  const auto second = detail::deaf_tasks();
  const auto is_deaf_still = [&](const std::string& task) { return second.count(task) != 0; };
  return static_cast<std::size_t>(std::count_if(first.begin(), first.end(), is_deaf_still));
}

/// Waits until `holds`; false: it did not within 20 s, which no busy machine needs.
template <class Condition> bool comes_true(Condition holds) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace nango_test

#endif
