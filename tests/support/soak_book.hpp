// What the soak's processes share: a book in which the servers note what they executed, and the callers what came of
// it. A note is made before its answer, and survives the server.
#ifndef NANGO_TESTS_SOAK_BOOK_HPP
#define NANGO_TESTS_SOAK_BOOK_HPP

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "nango.hpp"

namespace nango_test::soak {

using std::chrono::milliseconds;

inline void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

class dice {
 public:
  dice(std::uint64_t seed, std::uint64_t whose) : random_(seed * 1'000'003 + whose) {}
  std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  milliseconds between(int least, int most) {
    return milliseconds(std::uniform_int_distribution<int>(least, most)(random_));
  }

 private:
  std::mt19937_64 random_;
};

enum class outcome : std::uint8_t { none, success, may_have_executed, not_executed };

// All of it is zero at first. Each process writes what is its own.
struct book {
  struct call {
    std::atomic<std::uint8_t> executions;  // the servers'
    std::atomic<bool> is_post;             // the client's, like what follows; otherwise it is a PUT or a GET
    std::atomic<outcome> reported;         // none for a GET
  };
  std::atomic<int> fault_port;  // the fault server's, like the next; set when it serves
  std::array<char, 256> fault_ca_file;
  std::array<call, std::size_t{1} << 25> calls;  // by id; 5,000 a second for 110 minutes
};
static_assert(std::atomic<std::uint8_t>::is_always_lock_free && std::atomic<outcome>::is_always_lock_free);

// The book, in memory that the servers get as their descriptor 3. What nobody wrote to takes no room.
class shared_book {
 public:
  static shared_book make() {
    const int fd = ::memfd_create("soak", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, sizeof(book)) != 0) throw std::runtime_error("no shared memory");
    return shared_book(fd);
  }
  static shared_book inherited() { return shared_book(3); }
  ~shared_book() {
    ::munmap(pages_, sizeof(book));
    ::close(fd_);
  }
  shared_book(const shared_book&) = delete;
  shared_book& operator=(const shared_book&) = delete;

  int fd() const { return fd_; }
  book& operator*() const { return *static_cast<book*>(pages_); }
  book* operator->() const { return static_cast<book*>(pages_); }

 private:
  explicit shared_book(int fd)
      : fd_(fd), pages_(::mmap(nullptr, sizeof(book), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {
    if (pages_ == MAP_FAILED) throw std::runtime_error("no shared memory");
  }
  int fd_;
  void* pages_;
};

inline void note_execution(book& all, std::string_view method, std::uint64_t id) {
  if (method != "GET" && id < all.calls.size()) ++all.calls[id].executions;
}

// What a sound answer says: whom it is for, and which call it answers by its path and by its body.
inline nango::json echo(const std::string& user, std::uint64_t id, const std::string& body) {
  const auto sent = nango::json::parse(body, nullptr, false);
  return {{"user", user}, {"id", id}, {"body_id", sent.is_object() ? sent.value("id", nango::json()) : nango::json()}};
}

}  // namespace nango_test::soak

#endif
