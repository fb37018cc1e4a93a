// How to call from an event loop, which must not block. Calls run in a pool of threads; they return futures, or
// coroutines await them and continue in the loop. At shutdown one cancel_source ends the calls in flight within 100 ms,
// and queued calls do not start.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// A first in, first out queue of tasks, for one or several threads.
class task_queue {
 public:
  void push(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_one();
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_.notify_all();
  }
  // Runs tasks until the queue is stopped and empty. Returns the duration of the longest task.
  steady_clock::duration run() {
    steady_clock::duration longest{};
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
      if (tasks_.empty()) return longest;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      const auto began = steady_clock::now();
      task();
      longest = (std::max)(longest, steady_clock::now() - began);
      lock.lock();
    }
  }

 private:
  std::mutex mutex_{};
  std::condition_variable wake_{};
  std::deque<std::function<void()>> tasks_{};
  bool stopped_ = false;
};

// At most one call for each thread is in flight. The destructor waits for the queued tasks, so cancel them first.
class thread_pool {
 public:
  explicit thread_pool(std::size_t threads) {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { queue_.run(); });
  }
  ~thread_pool() {
    queue_.stop();
    for (auto& thread : threads_) thread.join();
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  void post(std::function<void()> task) { queue_.push(std::move(task)); }

  // [futures]
  // The future of a call's result: `pool.submit([=] { return user.get("crm/contacts"); })`.
  template <class Call> auto submit(Call call) {
    const auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Call>()>>(std::move(call));
    post([task] { (*task)(); });
    return task->get_future();
  }
  // [end]

 private:
  task_queue queue_{};
  std::vector<std::thread> threads_{};
};

// [await]
// `co_await in_pool(pool, loop, call)` runs the call in the pool and resumes the coroutine in the loop.
template <class Call> class in_pool {
 public:
  in_pool(thread_pool& pool, task_queue& loop, Call call) : pool_(pool), loop_(loop), call_(std::move(call)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    pool_.post([this, waiting] {
      try {
        outcome_.emplace(call_());
      } catch (...) {
        thrown_ = std::current_exception();
      }
      loop_.push([waiting] { waiting.resume(); });
    });
  }
  auto await_resume() {
    if (thrown_) std::rethrow_exception(thrown_);
    return *std::move(outcome_);
  }

 private:
  thread_pool& pool_;
  task_queue& loop_;
  Call call_;
  std::optional<std::invoke_result_t<Call>> outcome_{};
  std::exception_ptr thrown_{};
};
// [end]

// A coroutine that starts at once and that nobody awaits.
struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};

long in_ms(steady_clock::duration time) {
  return static_cast<long>(std::chrono::round<std::chrono::milliseconds>(time).count());
}

int failures = 0;  // of the main thread alone
void expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "failed: " << what << '\n';
  ++failures;
}

// ---- In a thread that may wait: futures ----------------------------------------------------------------------------

// Several calls at once, and a wait for all of them.
void with_futures(thread_pool& pool, const nango::client& user) {
  std::vector<std::future<nango::result<nango::json>>> all;
  for (const auto* path : {"crm/contacts", "crm/accounts", "crm/opportunities"}) {
    all.push_back(pool.submit([=] { return user.get(path); }));
  }
  std::size_t records = 0;
  for (auto& one : all) records += one.get().value_or(nango::json::array()).size();
  std::cout << "futures: " << records << " records of three calls at once\n";
  expect(records == 11, "there are 11 records");
}

// [deadline]
// The deadline counts from the request, so it includes the time in the pool's queue.
std::future<nango::result<nango::json>> get_by(thread_pool& pool, const nango::client& user, std::string path,
                                               steady_clock::time_point deadline) {
  return pool.submit([=, path = std::move(path)]() -> nango::result<nango::json> {
    const auto left = std::chrono::floor<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (left > 0ms) return user.get(path, {{"ms", 200}}, {.timeout = left});
    return nango::error{.code = nango::errc::timed_out, .message = "too late to begin", .may_have_executed = false};
  });
}
// [end]

void with_deadline(const nango::client& user) {
  thread_pool one_thread(1);
  const auto asked = steady_clock::now(), deadline = asked + 500ms;
  std::vector<std::future<nango::result<nango::json>>> all;
  for (int i = 0; i < 20; ++i) all.push_back(get_by(one_thread, user, "test/sleep", deadline));
  int in_time = 0, late = 0;
  for (auto& one : all) {
    const auto got = one.get();
    in_time += got ? 1 : 0;
    late += !got && got.error().code == nango::errc::timed_out ? 1 : 0;
  }
  std::cout << "deadline: of 20 calls of 200 ms for one thread " << in_time
            << " were over within 500 ms, the others at " << in_ms(steady_clock::now() - asked) << " ms\n";
  expect(in_time <= 2 && in_time + late == 20, "at most two calls fit, and the others are timed_out");
}

// ---- In an event loop: coroutines ----------------------------------------------------------------------------------

struct program {
  thread_pool& pool;
  task_queue& loop;
  nango::client user;

  // Two calls in sequence that do not block the loop. (The awaited objects have names, because g++ 12 destroys the
  // temporaries of a co_await twice.)
  // [coroutine]
  detached show_account_of_first_contact() {
    in_pool first(pool, loop, [this] { return nango::crm::list_contacts(user); });
    const auto contacts = co_await first;
    expect(contacts && !contacts->empty(), "no contacts");
    if (!contacts || contacts->empty()) co_return loop.stop();
    in_pool second(pool, loop,
                   [this, id = contacts->front().account.value_or("")] { return nango::crm::get_account(user, id); });
    const auto account = co_await second;
    expect(account.has_value(), "no account");
    if (account) std::cout << "coroutine: " << account->name.value_or("?") << '\n';
    loop.stop();
  }
  // [end]
};

// A program that ends while calls are in flight.
class ending_program {
 public:
  ending_program(thread_pool& pool, nango::client user) : pool_(pool), user_(std::move(user)) {}

  // This thread is the loop. It ends when its coroutines have ended.
  void run() {
    loop_.push([this] {
      for (int i = 0; i < 2; ++i) wait_for_news();
      quit_later();
    });
    const auto longest = loop_.run();
    std::cout << "loop: its longest task took " << in_ms(longest) << " ms, and a call 300 ms\n";
    expect(longest < 250ms, "the loop is never blocked");
    expect(canceled_ == 2, "two slow calls were under way, and were canceled");
  }

  steady_clock::time_point shut_down_at() const { return shut_down_at_; }

 private:
  detached quit_later() {
    in_pool some_time(pool_, loop_, [this] { return user_.get("test/sleep", {{"ms", 300}}); });
    const auto is_over = co_await some_time;
    expect(is_over && is_in_loop(), "a call of 300 ms is awaited, and the coroutine goes on in the loop");
    shut_down();
    ended();
  }

  // Would take an hour, so it is in flight when the program ends.
  detached wait_for_news() {
    in_pool slow(pool_, loop_, [this] {
      return user_.get("test/sleep", {{"ms", 3'600'000}}, {.timeout = 2h, .cancel = end_.token()});
    });
    const auto news = co_await slow;
    const bool is_canceled = !news && news.error().code == nango::errc::canceled && news.error().attempts == 1;
    canceled_ += is_canceled && is_in_loop() ? 1 : 0;
    ended();
  }

  // [shutdown]
  // What "quit" does. All calls have a token of one source, so each coroutine gets `canceled` and ends.
  void shut_down() {
    shut_down_at_ = steady_clock::now();
    end_.cancel();
  }
  void ended() {
    if (--running_ == 0) loop_.stop();
  }
  // [end]
  bool is_in_loop() const { return std::this_thread::get_id() == thread_; }

  task_queue loop_{};
  thread_pool& pool_;
  nango::client user_;
  nango::cancel_source end_{};
  std::thread::id thread_ = std::this_thread::get_id();
  int running_ = 3, canceled_ = 0;  // only the loop touches these, so they need no lock
  steady_clock::time_point shut_down_at_{};
};

// ---- Canceling a call ----------------------------------------------------------------------------------------------

void with_cancellation(thread_pool& pool, const nango::client& user) {
  // [cancel]
  nango::cancel_source source;
  auto slow = pool.submit([=] { return user.get("test/sleep", {{"ms", 20'000}}, {.cancel = source.token()}); });
  std::this_thread::sleep_for(50ms);
  const auto asked = steady_clock::now();
  source.cancel();
  const auto got = slow.get();  // canceled
  // [end]
  const auto took = steady_clock::now() - asked;
  expect(!got && got.error().code == nango::errc::canceled && took < 2s, "it was canceled");
  std::cout << "cancellation: " << (got ? "it was not canceled" : got.error().message) << '\n';
}

// Each part has its own server. (The thread sanitizer does not see Debian's httplib close a descriptor, and would take
// a client that gets the same number for its owner.)
template <class Part> void with_server(Part part) {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  part(api.user(server.user_token()));
}

}  // namespace

int main() {
  task_queue loop;  // declared before the pool, which may still be in push() when the loop ends
  std::optional<thread_pool> pool(4);
  with_server([&](const nango::client& user) {
    with_futures(*pool, user);
    program coroutines{.pool = *pool, .loop = loop, .user = user};
    loop.push([&] { coroutines.show_account_of_first_contact(); });
    loop.run();  // this thread is the loop
  });
  with_server(with_deadline);
  with_server([&](const nango::client& user) { with_cancellation(*pool, user); });
  with_server([&](const nango::client& user) {
    ending_program ending(*pool, user);
    ending.run();
    pool.reset();
    const auto took = steady_clock::now() - ending.shut_down_at();
    std::cout << "shutdown: all calls, coroutines and threads had ended after " << in_ms(took) << " ms\n";
    expect(took < 2s, "it ends soon");  // at most 100 ms, unless the machine is busy
  });
  return failures == 0 ? 0 : 1;
}
