// A unit without the default backend, in a program whose other units have it.
#define NANGO_NO_HTTPLIB
#include "core.hpp"

bool use_all_but_httplib();
bool use_all_but_httplib() { return use_everything(); }
