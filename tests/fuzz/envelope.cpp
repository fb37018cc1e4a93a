// Envelope: parse_envelope() of any answer, against the rules as the API basics have them.
// Bytes: a status, Retry-After, Date, the body.
#include "fuzz.hpp"

namespace {

using nango::errc;
using nango::json;
using nango_fuzz::check;

errc by_type(std::string_view type) {
  if (type == "PARAMS_ERROR") return errc::params_error;
  if (type == "PROCESSING_ERROR") return errc::processing_error;
  return type == "AUTH_ERROR" ? errc::auth_error : errc::api_error;
}

// What an answer without an envelope means.
errc by_status(int status) {
  if (status == 401) return errc::auth_error;
  return nango_fuzz::is_success(status) ? errc::malformed_response : errc::unexpected_status;
}

std::string text_of(const json& envelope, const char* name) {
  return envelope.is_object() && envelope.contains(name) && envelope[name].is_string() ? envelope[name] : json("");
}

void check_failure(const nango::error& e, const nango::http_response& answer, const json& envelope) {
  nango_fuzz::check_error(e, answer);
  if (answer.status == 429) return;
  const bool explained =
      text_of(envelope, "status") == "error" && envelope.contains("error_type") && envelope["error_type"].is_string();
  if (text_of(envelope, "status") == "ok") return check(e.code == errc::malformed_response, "ok belongs to 20x");
  if (!explained) return check(e.code == by_status(answer.status), "without an envelope the status decides");
  check(e.type == text_of(envelope, "error_type") && e.code == by_type(e.type), "error_type decides");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  const auto answer = nango_fuzz::take_answer(in);
  const auto envelope = nango_fuzz::parse(answer.body);
  const auto read = nango::parse_envelope(answer);
  const bool empty = (answer.status == 204 || answer.status == 205) && answer.body.empty();
  const bool ok = text_of(envelope, "status") == "ok" && nango_fuzz::is_success(answer.status);
  check(read.has_value() == (empty || ok), "success is an envelope that says ok, with 20x, or nothing with 204 or 205");
  if (!read) return check_failure(read.error(), answer, envelope), 0;
  const json due = ok && envelope.contains("result") ? envelope["result"] : json();
  check(read->result == due && read->http_status == answer.status, "the result is the envelope's");
  check(read->headers.size() == answer.headers.size(), "the headers are the answer's");
  return 0;
}
