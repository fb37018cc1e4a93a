// The variables of this process.
#ifndef NANGO_TESTS_ENVIRONMENT_HPP
#define NANGO_TESTS_ENVIRONMENT_HPP

#include <stdlib.h>

namespace nango_test {

#ifdef _WIN32
/// An empty value unsets it.
inline void set_variable(const char* name, const char* value) { ::_putenv_s(name, value); }
inline void unset_variable(const char* name) { ::_putenv_s(name, ""); }
#else
inline void set_variable(const char* name, const char* value) { ::setenv(name, value, 1); }
inline void unset_variable(const char* name) { ::unsetenv(name); }
#endif

}  // namespace nango_test

#endif
