#include "core.hpp"

bool use_everything_elsewhere() { return use_everything(); }
