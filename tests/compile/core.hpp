// What must_not_compile.cpp includes, to be compiled once.
#define NANGO_NO_HTTPLIB
#include "nango.hpp"

#include <iostream>
#include <sstream>
