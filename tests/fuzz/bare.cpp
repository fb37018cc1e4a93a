// Hosted API: parse_bare() of any answer, against the table of its documentation.
// Bytes: a status, Retry-After, Date, the body.
#include "fuzz.hpp"

namespace {

using namespace std::chrono_literals;

using nango::errc;
using nango::json;
using nango_fuzz::check;

bool has_text(const json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_string();
}
// {"error":{"code":C}}, {"error":{"message":"text"}}, {"error":"text"} or {"message":"text"}
bool is_explained(const json& body) {
  if (!body.is_object()) return false;
  if (has_text(body, "error")) return true;
  if (body.contains("error") && body["error"].is_object()) {
    return has_text(body["error"], "code") || has_text(body["error"], "message");
  }
  return has_text(body, "message");
}

errc code_of(int status, bool explained) {
  if (status == 429) return errc::rate_limited;
  if (status == 401 || status == 403) return errc::auth_error;
  if (nango_fuzz::is_success(status)) return errc::malformed_response;
  if (!explained) return errc::unexpected_status;
  if (status == 400 || status == 415 || status == 422) return errc::params_error;
  return status >= 500 ? errc::processing_error : errc::api_error;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  const auto answer = nango_fuzz::take_answer(in);
  const auto body = answer.body.empty() ? json() : nango_fuzz::parse(answer.body);
  const auto read = nango::hosted::parse_bare(answer);
  check(read.has_value() == (nango_fuzz::is_success(answer.status) && !body.is_discarded()),
        "success is JSON with 20x");
  if (read) {
    check(read->result == body && read->http_status == answer.status, "the result is the body");
    return 0;
  }
  const auto& e = read.error();
  nango_fuzz::check_error(e, answer);
  check(answer.status != 429 || e.retry_after.value_or(1s) >= 1s, "a 429 is waited for a second longer than it says");
  check(e.code == code_of(answer.status, is_explained(body)), "the code is the table's");
  check(e.body.empty() == answer.body.empty(), "the body is kept");
  const bool coded = is_explained(body) && body.contains("error") && has_text(body["error"], "code");
  check(e.type == (coded ? body["error"]["code"].get<std::string>() : ""), "the type is the service's code");
  return 0;
}
