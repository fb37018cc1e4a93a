// What a plugin hands to the program that loads it. Both include nango.hpp, with all symbols hidden.
#ifndef NANGO_TESTS_PLUGIN_HPP
#define NANGO_TESTS_PLUGIN_HPP

#include "nango.hpp"

struct plugin {
  virtual ~plugin() = default;
  virtual std::error_code late() const = 0;  ///< timed_out
  virtual void fail() const = 0;             ///< throws nango::exception
};

#endif
