// What a permit costs, in time and in memory, beside a token bucket and a leaky bucket behind one mutex.
//
// A permit is asked for and answered at once. Nobody ever waits: the rate is out of reach. The span is so short that a
// key has 10 to 30 recent calls, whose number matters to this header's limiter alone.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "buckets.hpp"
#include "nango.hpp"
#include "tokens.hpp"

namespace {

using namespace std::chrono_literals;
using nango_bench::leaky_bucket;
using nango_bench::token_bucket;

constexpr auto never = std::chrono::steady_clock::time_point::max();

nango::rate rate_for(std::size_t keys) { return {.requests = 1'000'000, .per = 4us * keys, .linger = 0s}; }

template <class Limiter> void permit(Limiter& limiter, const std::string& key, benchmark::State& state) {
  auto given = limiter.acquire(key, {});
  if (!given) return state.SkipWithError("somebody would have to wait");
  given->answered();
  benchmark::DoNotOptimize(given);
}

// --- Time ---

// One thread, keys in turn: each finds its state out of the cache, once there are many.
template <class Limiter> void uncontended(benchmark::State& state) {
  const auto keys = nango_bench::make_tokens(static_cast<std::size_t>(state.range(0)));
  Limiter limiter(rate_for(keys.size()));
  std::size_t next = 0;
  for (auto _ : state) {
    permit(limiter, keys[next], state);
    if (++next == keys.size()) next = 0;
  }
}

// Threads on one limiter: all for one key, or each for 64 of its own.
template <class Limiter, bool OneKey> void threads(benchmark::State& state) {
  static std::unique_ptr<Limiter> limiter;
  constexpr std::size_t own = OneKey ? 1 : 64;
  const auto everybody = nango_bench::make_tokens(OneKey ? 1 : own * static_cast<std::size_t>(state.threads()));
  const auto first = OneKey ? 0 : own * static_cast<std::size_t>(state.thread_index());
  if (state.thread_index() == 0) limiter = std::make_unique<Limiter>(rate_for(everybody.size()));
  std::size_t next = 0;
  for (auto _ : state) {
    permit(*limiter, everybody[first + next], state);
    if (++next == own) next = 0;
  }
}
template <class Limiter> void threads_on_one_key(benchmark::State& state) { threads<Limiter, true>(state); }
template <class Limiter> void threads_on_own_keys(benchmark::State& state) { threads<Limiter, false>(state); }

#define BENCH(Limiter)                                                         \
  BENCHMARK(uncontended<Limiter>)->Arg(1)->Arg(100)->Arg(5'000)->Arg(100'000); \
  BENCHMARK(threads_on_one_key<Limiter>)->ThreadRange(1, 16)->UseRealTime();   \
  BENCHMARK(threads_on_own_keys<Limiter>)->ThreadRange(1, 16)->UseRealTime()
BENCH(nango::sliding_window);
BENCH(token_bucket);
BENCH(leaky_bucket);

// --- Memory of a key ---

// Of the heap, with what malloc adds to each block.
double bytes_in_use() {
  const auto now = ::mallinfo2();
  return static_cast<double>(now.uordblks + now.hblkhd);
}

// Of one of many keys, after `calls` answered calls; 0: nothing but a hold that has passed.
template <class Limiter> double bytes_per_key(std::size_t calls) {
  const auto keys = nango_bench::make_tokens(20'000);
  const auto before = bytes_in_use();
  Limiter limiter(nango::rate{.requests = 100, .per = 1h, .linger = 0s});
  for (const auto& key : keys) {
    if (calls == 0) limiter.hold(key, {});
    for (std::size_t i = 0; i < calls; ++i) limiter.acquire(key, never)->answered();
  }
  return (bytes_in_use() - before) / static_cast<double>(keys.size());
}

template <class Limiter> void bytes(benchmark::State& state) {
  double result = 0;
  for (auto _ : state) result = bytes_per_key<Limiter>(static_cast<std::size_t>(state.range(0)));
  state.counters["bytes_per_key"] = result;
}
BENCHMARK(bytes<nango::sliding_window>)->Arg(0)->Arg(1)->Arg(100)->Iterations(1);
BENCHMARK(bytes<token_bucket>)->Arg(1)->Iterations(1);
BENCHMARK(bytes<leaky_bucket>)->Arg(1)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
