// What a call allocates above json::parse of its answer (of a POST also the dump of its body) and the backend.
//
//   meson compile -C build bench_allocations && build/tests/bench/bench_allocations
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>

#include "canned.hpp"

namespace {

long allocations = 0;  // there is one thread

void* allocate(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main() {
  std::map<std::string, double> each;
  nango_bench::each_part([&](const std::string& name, const auto& once) {
    constexpr int rounds = 1000;
    for (int i = 0; i < 100; ++i) once();  // until everything is warm
    const auto before = allocations;
    for (int i = 0; i < rounds; ++i) once();
    each[name] = static_cast<double>(allocations - before) / rounds;
  });
  for (const auto& [name, all] : each) {
    if (name == "parse" || name == "dump" || name == "backend") continue;
    const bool parses = !name.starts_with("send"), dumps = name.starts_with("post");
    const double more = all - each["backend"] - (parses ? each["parse"] : 0) - (dumps ? each["dump"] : 0);
    std::printf("allocations above json::parse and the backend: %s\t<= 8\t%.2f\n", name.c_str(), more);
  }
}
