// What a call executes above json::parse and the wire, in instructions: instructions.py runs this under callgrind,
// which writes one file for each part. By itself it does the same and shows nothing.
#include <valgrind/callgrind.h>

#include "canned.hpp"

int main() {
  nango_bench::each_part([](const char* name, const auto& once) {
    for (int i = 0; i < 100; ++i) once();  // until everything is warm
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < 1000; ++i) once();
    CALLGRIND_DUMP_STATS_AT(name);
  });
}
