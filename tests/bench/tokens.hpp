// User tokens for benchmarks with many users.
#ifndef NANGO_TESTS_TOKENS_HPP
#define NANGO_TESTS_TOKENS_HPP

#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace nango_bench {

/// As the API's are: UUIDs, all different.
inline std::vector<std::string> make_tokens(std::size_t count) {
  std::vector<std::string> tokens;
  tokens.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    char text[37];
    std::snprintf(text, sizeof text, "%08zx-bf22-42e6-aa31-b75cd41749ab", i * 2654435761U % 0xffffffffU);
    tokens.emplace_back(text);
  }
  return tokens;
}

}  // namespace nango_bench

#endif
