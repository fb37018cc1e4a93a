// What this process holds, as Linux or Windows tells it.
#ifndef NANGO_TESTS_PROCESS_HPP
#define NANGO_TESTS_PROCESS_HPP

#ifdef _WIN32
#include "sockets.hpp"
// after <winsock2.h>
#include <tlhelp32.h>
#else
#include <fcntl.h>
#endif

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <thread>

namespace nango_test {

namespace detail {

inline std::size_t entries(const char* folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

}  // namespace detail

/// Built with a sanitizer, which makes it slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif

#ifdef _WIN32
/// Sockets: nango.hpp opens nothing else, and the C++ library opens events as it likes.
inline std::size_t open_descriptors() { return own_sockets().size(); }
inline std::size_t threads() {
  std::size_t count = 0;
  THREADENTRY32 entry{};
  entry.dwSize = sizeof(entry);
  const HANDLE all = ::CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
  for (bool more = ::Thread32First(all, &entry) != 0; more; more = ::Thread32Next(all, &entry) != 0) {
    count += entry.th32OwnerProcessID == ::GetCurrentProcessId() ? 1U : 0U;
  }
  ::CloseHandle(all);
  return count;
}
#else
/// Of the first 1024.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) != -1 ? 1U : 0U;  // opens none, as /proc would
  return count;
}
inline std::size_t threads() { return detail::entries("/proc/self/task"); }
#endif

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
