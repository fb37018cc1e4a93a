// A program that loads a plugin: its error codes compare equal to the program's, and its exceptions are caught.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "plugin.hpp"

int main(int argc, char** argv) {
  void* library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library == nullptr) return std::fprintf(stderr, "no plugin: %s\n", dlerror()), 2;
  const plugin* (*load)() = nullptr;
  void* const symbol = dlsym(library, "load");
  std::memcpy(&load, &symbol, sizeof load);
  const auto code = load()->late();
  const bool apart = code != make_error_code(nango::errc::timed_out);  // two categories; not with every compiler
  const bool equal = code == nango::errc::timed_out && nango::errc::timed_out == code;
  const bool others = code != nango::errc::canceled && std::error_code() != nango::errc::timed_out;
  bool caught = false;
  try {
    load()->fail();
  } catch (const nango::exception& e) {
    caught = e.error().code == nango::errc::auth_error;
  } catch (const std::exception& e) {
    std::printf("only as a std::exception: %s\n", e.what());
  }
  std::printf("apart %d, equal %d, others %d, caught %d\n", apart, equal, others, caught);
  return equal && others && caught ? 0 : 1;
}
