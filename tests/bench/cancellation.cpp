// How long a call takes to end once another thread cancels it, in each of its phases (promised: 100 ms).
//
//   meson compile -C build bench_cancellation && build/tests/bench/bench_cancellation [rounds]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "phases.hpp"

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 20;
  std::printf("| phase | median, ms | longest, ms |\n|---|---:|---:|\n");
  for (const auto& where : nango_test::all_phases()) {
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) {
      const auto canceled = nango_test::cancel_in(where, true);
      if (canceled.outcome || canceled.outcome.error().code != nango::errc::canceled) return 1;
      times.push_back(std::chrono::duration<double, std::milli>(canceled.took).count());
    }
    std::sort(times.begin(), times.end());
    std::printf("| %s | %.0f | %.0f |\n", where.name.c_str(), times[times.size() / 2], times.back());
  }
  return 0;
}
