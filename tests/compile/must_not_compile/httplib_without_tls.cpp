// says: Define CPPHTTPLIB_OPENSSL_SUPPORT for the whole program
#include "nango.hpp"
