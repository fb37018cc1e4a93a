#include "httplib.hpp"

bool use_default_backend_elsewhere() { return use_default_backend(); }
