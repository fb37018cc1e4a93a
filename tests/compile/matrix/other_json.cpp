// A unit with another version of nlohmann/json, in a program whose other units have nango.hpp and the usual one.
#include <nlohmann/json.hpp>

#include <cstdlib>

static_assert(NLOHMANN_JSON_VERSION_PATCH == 99);

namespace {
bool use_json() { return nlohmann::json::parse(R"({"list": [1, 2]})").at("list").size() == 2; }
const bool works = use_json() || (std::abort(), false);
}  // namespace
