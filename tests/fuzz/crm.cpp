// CRM resources: records of any JSON. What is read can be written and read again; what does not fit says where.
// Bytes: which type, whether a list, then the result's JSON.
#include "fuzz.hpp"
#include "scripted_backend.hpp"

namespace {

using nango::json;
using nango_fuzz::check;
namespace crm = nango::crm;
using client = nango::basic_client<nango_test::scripted_backend, nango::unlimited>;

template <crm::record Record> void check_record(const Record& record) {
  const json written = record;
  check(written.get<Record>() == record, "what was written reads back as the same");
  check(json(written.get<Record>()) == written, "and is written in the same way");
}
template <class Value> void check_read(const nango::result<Value>& read, const json& from) {
  if (!read) {
    check(read.error().code == nango::errc::decode_error, "what does not fit is decode_error");
    check(read.error().message.starts_with("result"), "it says where");
    return;
  }
  if constexpr (crm::record<Value>) {
    const auto id = from.is_object() ? from.value("id", json()) : json();
    check(id == read->id || (id.is_number() && id.dump() == read->id), "a record has its id, or its number's text");
    check_record(*read);
  } else {
    check(read->size() == from.size() || from.is_null(), "each record is there");
    for (const auto& record : *read) check_record(record);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  const auto which = in.below(6);
  const auto text = in.rest();
  const auto from = nango_fuzz::parse(text);
  if (from.is_discarded() || nango_fuzz::depth_of(from) > 500) return 0;  // the envelope's business
  nango_test::scripted_backend backend;
  backend.answer(200, R"({"status":"ok","result":)" + std::string(text) + "}");
  const client api(nango_test::test_options(), backend);
  switch (which) {
    case 0: check_read(crm::list_contacts(api), from); break;
    case 1: check_read(crm::get_contact(api, "7"), from); break;
    case 2: check_read(crm::list_accounts(api), from); break;
    case 3: check_read(crm::get_account(api, "7"), from); break;
    case 4: check_read(crm::list_opportunities(api), from); break;
    default: check_read(crm::get_opportunity(api, "7"), from);
  }
  return 0;
}
