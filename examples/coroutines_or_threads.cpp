// How to call from an event loop, which must not block: calls run in a pool of threads, and give futures, or are
// awaited by coroutines that go on in the loop. A call that nobody needs any more is canceled, and is over within 100
// ms.

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

// Tasks in the order in which they came, for one thread or several.
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
  // Runs tasks until it is stopped and there are none left.
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

 private:
  std::mutex mutex_{};
  std::condition_variable wake_{};
  std::deque<std::function<void()>> tasks_{};
  bool stopped_ = false;
};

// As many calls are under way at once as there are threads. Its end waits for what is queued: cancel that first.
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
  // What a call gives, later: `pool.submit([=] { return user.get("crm/contacts"); })`.
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
// `co_await in_pool(pool, loop, call)`: the call runs in the pool, and the coroutine goes on in the loop.
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

// A coroutine that begins at once and that nobody waits for.
struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};

struct program {
  thread_pool& pool;
  task_queue& loop;
  nango::client user;
  std::thread::id loop_thread = std::this_thread::get_id();
  int failures = 0;

  void expect(bool holds, const char* what) {
    if (holds && std::this_thread::get_id() == loop_thread) return;
    std::cerr << what << '\n';
    ++failures;
  }

  // Two calls, one after the other, without blocking the loop. (What is awaited has a name, since g++ 12 destroys
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

// Several calls at once, and a wait for all of them.
int with_futures(thread_pool& pool, const nango::client& user) {
  std::vector<std::future<nango::result<nango::json>>> all;
  for (const auto* path : {"crm/contacts", "crm/accounts", "crm/opportunities"}) {
    all.push_back(pool.submit([=] { return user.get(path); }));
  }
  std::size_t records = 0;
  for (auto& one : all) records += one.get().value_or(nango::json::array()).size();
  std::cout << "futures: " << records << " records of three calls at once\n";
  return records == 11 ? 0 : 1;
}

// A program that ends does not wait for slow calls.
int with_cancellation(thread_pool& pool, const nango::client& user) {
  // [cancel]
  nango::cancel_source source;
  auto slow = pool.submit([=] { return user.get("test/sleep", {{"ms", 20'000}}, {.cancel = source.token()}); });
  std::this_thread::sleep_for(50ms);
  const auto asked = steady_clock::now();
  source.cancel();
  const auto got = slow.get();  // canceled
  // [end]
  const auto took = std::chrono::round<std::chrono::milliseconds>(steady_clock::now() - asked);
  const bool canceled = !got && got.error().code == nango::errc::canceled;
  std::cout << "cancellation: " << (canceled ? got.error().message : "it was not canceled") << '\n';
  return canceled && took < 2s ? 0 : 1;
}

}  // namespace

int main() {
  const nango_test::local_nango server;
  const nango::client api({.api_key = server.api_key(), .base_url = server.base_url(), .ca_file = server.ca_file()});
  const auto user = api.user(server.user_token());
  thread_pool pool(4);
  task_queue loop;

  program coroutines{.pool = pool, .loop = loop, .user = user};
  loop.push([&] { coroutines.show_account_of_first_contact(); });
  loop.run();  // this thread is the loop
  return coroutines.failures + with_futures(pool, user) + with_cancellation(pool, user) == 0 ? 0 : 1;
}
