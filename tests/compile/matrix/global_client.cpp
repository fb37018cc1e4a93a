// A client that is made before main, and one that another unit's static object might make even earlier.
#include "nango.hpp"

namespace {
const nango::client api({.api_key = "key"});
const bool early = api.user("").get("x").error().code == nango::errc::invalid_argument;
}  // namespace

int main() { return early && api.user("rolf").limit_key() == "rolf" ? 0 : 1; }
