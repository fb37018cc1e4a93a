// Two units of one program, as in core_a.cpp.
#include "httplib.hpp"

template class nango::basic_client<nango::httplib_backend>;

bool use_default_backend_elsewhere();

int main() { return use_default_backend() && use_default_backend_elsewhere() ? 0 : 1; }
