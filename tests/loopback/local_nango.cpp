// The local server and its certificates, seen through nothing but httplib and OpenSSL: other tests trust them.
#include "local_nango.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

namespace local_nango_tests {

using namespace std::chrono_literals;
using nango_test::certificate;
using nango_test::certificate_options;
using nango_test::local_nango;
using nlohmann::json;

namespace {

const std::string rolf = "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e01";
const std::string mina = "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e02";
const std::string ase = "0b0e3a5c-6a55-4a0c-8f0e-0f9a6d1c7e03";
const std::string birch = "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01";
const std::string lumen = "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa02";
const std::string quiet = "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa03";
const std::string planks = "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc01";
const std::string repair = "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc02";
const std::string nobody = "00000000-0000-4000-8000-000000000000";

struct reply {
  int status = 0;  // 0: there was none
  json body;
  httplib::Headers headers;

  std::string error_type() const { return body.value("error_type", ""); }
  std::string message() const { return body.value("error_msg", ""); }
};

reply read(const httplib::Result& result) {
  if (!result) return {};
  return {result->status, json::parse(result->body), result->headers};
}

/// One connection, verified, that presents the right API key and user token unless told otherwise.
class client {
 public:
  explicit client(const local_nango& server, const std::string& token = local_nango::user_token())
      : client(server.port(), server.ca_file(), token) {}
  client(int port, const std::string& ca_file, const std::string& token)
      : headers{{"Authorization", "Bearer " + local_nango::api_key()}}, http("127.0.0.1", port) {
    if (!token.empty()) headers.emplace("X-User-Account", token);
    if (!ca_file.empty()) http.set_ca_cert_path(ca_file);
    http.enable_server_certificate_verification(true);
    http.set_keep_alive(true);
    http.set_tcp_nodelay(true);
  }

  reply get(const std::string& path) { return read(http.Get(("/v1/" + path).c_str(), headers)); }
  json result(const std::string& path) { return get(path).body.value("result", json()); }

  std::set<std::string> ids(const std::string& path) {
    const reply got = get(path);
    REQUIRE(got.status == 200);
    std::set<std::string> found;
    for (const auto& record : got.body.at("result")) found.insert(record.at("id").get<std::string>());
    return found;
  }

  httplib::Headers headers;
  httplib::SSLClient http;
};

using ids = std::set<std::string>;

reply get_with(const local_nango& server, const httplib::Headers& headers, const std::string& path = "crm/contacts") {
  client asking(server);
  asking.headers = headers;
  return asking.get(path);
}

/// What OpenSSL says about a certificate, strictly, for the server at `ip` or called `dns`.
int verify(const certificate& shown, const certificate& trusted, const char* ip, const char* dns = nullptr) {
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                X509_STORE_CTX_free);
  X509_STORE_add_cert(store.get(), trusted.x509());
  X509_STORE_CTX_init(context.get(), store.get(), shown.x509(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_SERVER);
  X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_X509_STRICT);
  if (ip != nullptr) X509_VERIFY_PARAM_set1_ip_asc(rules, ip);
  if (dns != nullptr) X509_VERIFY_PARAM_set1_host(rules, dns, 0);
  const int verified = X509_verify_cert(context.get());
  const int error = X509_STORE_CTX_get_error(context.get());
  CHECK((verified == 1) == (error == X509_V_OK));
  return error;
}

/// While it lives, SIGPIPE ends the process if a thread of the test, or one that inherits from it, gets it.
class deadly_sigpipe {
 public:
  deadly_sigpipe() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &pipe, &mask_);
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    sigaction(SIGPIPE, &action, &action_);
  }
  ~deadly_sigpipe() {
    sigaction(SIGPIPE, &action_, nullptr);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  deadly_sigpipe(const deadly_sigpipe&) = delete;
  deadly_sigpipe& operator=(const deadly_sigpipe&) = delete;

 private:
  sigset_t mask_{};
  struct sigaction action_ {};
};

/// A clock that stands still until a test moves it.
class standing_clock {
 public:
  void advance(std::chrono::milliseconds time) { passed_ += time.count(); }
  nango_test::local_nango_options options(std::size_t limit) const {
    return {.limit = limit, .now = [this] {
              return std::chrono::steady_clock::time_point(1h + std::chrono::milliseconds(passed_.load()));
            }};
  }

 private:
  std::atomic<std::int64_t> passed_{0};
};

}  // namespace

// ---- Certificates --------------------------------------------------------------------------------------------------

TEST_CASE("the default certificate passes strict verification for every loopback name") {
  const auto authority = nango_test::make_authority();
  const certificate good({}, authority);
  CHECK(verify(good, authority, "127.0.0.1") == X509_V_OK);
  CHECK(verify(good, authority, "::1") == X509_V_OK);
  CHECK(verify(good, authority, nullptr, "localhost") == X509_V_OK);
  CHECK(verify(good, authority, "127.0.0.2") == X509_V_ERR_IP_ADDRESS_MISMATCH);
  CHECK(verify(good, authority, nullptr, "example.com") == X509_V_ERR_HOSTNAME_MISMATCH);
  CHECK(verify(certificate({.common_name = ""}, authority), authority, "127.0.0.1") == X509_V_OK);
}

TEST_CASE("certificates can be made wrong in every way a client has to notice") {
  const auto authority = nango_test::make_authority();
  const auto check = [&](const certificate_options& options) {
    return verify(certificate(options, authority), authority, "127.0.0.1");
  };
  CHECK(check({.not_after = -1min}) == X509_V_ERR_CERT_HAS_EXPIRED);
  CHECK(check({.not_before = 1h}) == X509_V_ERR_CERT_NOT_YET_VALID);
  CHECK(check({.dns = {"example.com"}, .ip = {}}) == X509_V_ERR_IP_ADDRESS_MISMATCH);
  CHECK(check({.ip = {"192.0.2.1"}}) == X509_V_ERR_IP_ADDRESS_MISMATCH);
  CHECK(check({.common_name = "127.0.0.1", .dns = {}, .ip = {}}) == X509_V_ERR_IP_ADDRESS_MISMATCH);

  const certificate self_signed{certificate_options{}};
  CHECK(verify(self_signed, authority, "127.0.0.1") == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
  CHECK(verify(self_signed, self_signed, "127.0.0.1") == X509_V_OK);
  const auto other_authority = nango_test::make_authority("Somebody else");
  CHECK(verify(certificate({}, other_authority), authority, "127.0.0.1") ==
        X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

TEST_CASE("a certificate without names has no SAN and its common name") {
  const certificate plain({.common_name = "localhost", .dns = {}, .ip = {}}, nango_test::make_authority());
  CHECK(X509_get_ext_by_NID(plain.x509(), NID_subject_alt_name, -1) == -1);
  CHECK(X509_check_host(plain.x509(), "localhost", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(plain.x509(), "localhost", 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 0);
}

TEST_CASE("serial numbers are random and positive") {
  const certificate one{certificate_options{}};
  const certificate two{certificate_options{}};
  const ASN1_INTEGER* const serial = X509_get0_serialNumber(one.x509());
  CHECK(ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(two.x509())) != 0);
  CHECK(ASN1_STRING_type(serial) == V_ASN1_INTEGER);  // and not V_ASN1_NEG_INTEGER
}

TEST_CASE("PEM texts are what they say") {
  const certificate made{certificate_options{}};
  CHECK(made.pem().find("-----BEGIN CERTIFICATE-----\n") == 0);
  CHECK(made.key_pem().find("-----BEGIN PRIVATE KEY-----\n") == 0);
  CHECK(made.pem().back() == '\n');
  CHECK(X509_check_private_key(made.x509(), made.key()) == 1);
}

TEST_CASE("a temporary file is private, has its content, and goes") {
  std::string path;
  {
    const nango_test::temporary_file file("line\nwith \"more\"");
    path = file.path();
    struct stat seen {};
    REQUIRE(stat(path.c_str(), &seen) == 0);
    CHECK((seen.st_mode & 0777U) == 0600U);
    std::ifstream in(path);
    CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "line\nwith \"more\"");
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

// ---- The connection ------------------------------------------------------------------------------------------------

TEST_CASE("a verified connection works") {
  const local_nango server;
  CHECK(server.base_url() == "https://127.0.0.1:" + std::to_string(server.port()) + "/v1/");
  CHECK(client(server).get("crm/contacts").status == 200);
}

TEST_CASE("a client without the CA file refuses the server and sends nothing") {
  const local_nango server;
  client untrusting(server.port(), "", local_nango::user_token());
  CHECK(untrusting.get("crm/contacts").status == 0);
  CHECK(server.total_requests() == 0);
}

TEST_CASE("a client refuses a server whose certificate is not good") {
  const auto status = [](const certificate_options& options) {
    const local_nango server({.certificate = options});
    return client(server).get("crm/contacts").status;
  };
  CHECK(status({}) == 200);
  CHECK(status({.not_after = -1min}) == 0);
  CHECK(status({.ip = {"192.0.2.1"}}) == 0);
}

TEST_CASE("one connection serves many requests, and connections are counted") {
  const local_nango server;
  CHECK(server.connections() == 0);
  {
    client first(server, "");
    for (int i = 0; i < 150; ++i) REQUIRE(first.get("test/echo").status == 200);
  }
  CHECK(server.connections() == 1);
  client second(server);
  client third(server);
  CHECK(second.get("crm/contacts").status == 200);
  CHECK(third.get("crm/contacts").status == 200);
  CHECK(server.connections() == 3);
  CHECK(server.total_requests() == 152);
}

TEST_CASE("many clients at once are all answered and all counted") {
  const local_nango server({.limit = 1000});
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&, i] {
      client asking(server, i % 2 == 0 ? local_nango::user_token() : local_nango::other_user_token());
      for (int n = 0; n < 10; ++n) answered += asking.get("crm/accounts").status == 200 ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(answered == 120);
  CHECK(server.connections() == 12);
  CHECK(server.requests(local_nango::user_token()) == 60);
  CHECK(server.requests(local_nango::other_user_token()) == 60);
  CHECK(server.total_requests() == 120);
}

TEST_CASE("the server ends at once in spite of idle connections and sleeping requests") {
  std::optional<local_nango> server(std::in_place, nango_test::local_nango_options{.keep_alive = 600s});
  client idle(*server);
  REQUIRE(idle.get("crm/contacts").status == 200);
  std::thread sleeper(
      [port = server->port(), ca_file = server->ca_file()] { client(port, ca_file, "").get("test/sleep?ms=600000"); });
  while (server->total_requests() < 2) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) idle.get("test/echo");  // time for the sleeper to fall asleep
  const auto before = std::chrono::steady_clock::now();
  server.reset();
  sleeper.join();
  CHECK(std::chrono::steady_clock::now() - before < 60s);
}

TEST_CASE("no descriptor stays open behind a server and its connections") {
  const auto open_descriptors = [] {
    int count = 0;
    for (int descriptor = 0; descriptor < 1024; ++descriptor) count += ::fcntl(descriptor, F_GETFD) == -1 ? 0 : 1;
    return count;
  };
  const auto run = [] {
    const local_nango server;
    for (int i = 0; i < 3; ++i) REQUIRE(client(server).get("crm/contacts").status == 200);
  };
  run();  // what is opened once for the whole process is open now
  const int before = open_descriptors();
  run();
  CHECK(open_descriptors() == before);
}

TEST_CASE("the process's handling of SIGPIPE stays as it was") {
  const deadly_sigpipe deadly;
  const local_nango server;
  struct sigaction action {};
  sigaction(SIGPIPE, nullptr, &action);
  CHECK((action.sa_handler == SIG_DFL));
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  CHECK(sigismember(&mask, SIGPIPE) == 0);
}

TEST_CASE("a client that leaves in the middle of an answer does not end the process") {
  const deadly_sigpipe deadly;
  const local_nango server;
  for (int i = 0; i < 3; ++i) {
    client leaving(server, "");
    leaving.headers.emplace("Accept-Encoding", "identity");  // compressed it would be sent before anybody can leave
    CHECK_FALSE(leaving.http.Get("/v1/test/bytes?count=6000000", leaving.headers,
                                 [](const char*, std::size_t) { return false; }));
  }
  CHECK(client(server).get("crm/contacts").status == 200);
}

// ---- Authentication ------------------------------------------------------------------------------------------------

TEST_CASE("a missing or unknown API key is an AUTH_ERROR that says which") {
  const local_nango server;
  const std::string token = local_nango::user_token();
  const reply missing = get_with(server, {{"X-User-Account", token}});
  const reply not_bearer = get_with(server, {{"Authorization", "Basic abc"}, {"X-User-Account", token}});
  const reply unknown = get_with(server, {{"Authorization", "Bearer nope"}, {"X-User-Account", token}});
  for (const auto* got : {&missing, &not_bearer, &unknown}) {
    CHECK(got->status == 401);
    CHECK(got->body.value("status", "") == "error");
    CHECK(got->error_type() == "AUTH_ERROR");
  }
  CHECK(missing.message() == "the Authorization header is missing");
  CHECK(not_bearer.message() == "the Authorization header is not a Bearer one");
  CHECK(unknown.message() == "the API key is unknown");
  CHECK(get_with(server, {}, "test/echo").status == 401);
  CHECK(server.requests(token) == 0);
}

TEST_CASE("a missing or unknown user token is an AUTH_ERROR that says which") {
  const local_nango server;
  const std::string key = "Bearer " + local_nango::api_key();
  const reply missing = get_with(server, {{"Authorization", key}});
  CHECK(missing.status == 401);
  CHECK(missing.error_type() == "AUTH_ERROR");
  CHECK(missing.message() == "the X-User-Account header is missing");
  const reply unknown = get_with(server, {{"Authorization", key}, {"X-User-Account", nobody}});
  CHECK(unknown.status == 401);
  CHECK(unknown.error_type() == "AUTH_ERROR");
  CHECK(unknown.message() == "the user token is unknown");
  CHECK(get_with(server, {{"Authorization", key}}, "test/echo").status == 200);
}

TEST_CASE("each user token sees its own data only") {
  const local_nango server;
  client first(server);
  client other(server, local_nango::other_user_token());
  CHECK(first.ids("crm/contacts").size() == 5);
  CHECK(other.ids("crm/contacts").size() == 1);
  CHECK(other.ids("crm/opportunities").empty());
  CHECK(other.get("crm/contacts/" + rolf).status == 400);
}

// ---- CRM resources -------------------------------------------------------------------------------------------------

TEST_CASE("lists and single records come in the envelope, in the wire's spelling") {
  const local_nango server;
  client asking(server);
  const reply got = asking.get("crm/contacts/" + rolf);
  CHECK(got.status == 200);
  CHECK(got.body.value("status", "") == "ok");
  CHECK(got.headers.find("Content-Type")->second == "application/json");
  const json contact = got.body.at("result");
  for (const char* field :
       {"id", "external_id", "first_name", "last_name", "job_title", "account", "adresses", "email_adresses",
        "phone_numbers", "last_activity_at", "external_created_at", "external_modified_at"}) {
    CHECK_MESSAGE(contact.contains(field), field);
  }
  CHECK(contact.at("first_name") == "Rolf");
  CHECK(contact.at("adresses").at(0).at("zip_code") == "111 47");
  CHECK(contact.at("email_adresses").at(0) == json{{"email", "rolf@example.com"}, {"email_type", "work"}});
  CHECK(asking.result("crm/accounts/" + birch).at("annual_revenue") == "10000000");
  CHECK(asking.result("crm/opportunities/" + planks).at("amount") == 10000);
  CHECK(asking.result("crm/opportunities/" + planks).at("probability") == "0.78");
  CHECK(asking.ids("crm/accounts") == ids{birch, lumen, quiet});
  CHECK(asking.ids("crm/opportunities").size() == 3);
}

TEST_CASE("records refer to each other by ids that exist") {
  const local_nango server({.limit = 1000});
  client asking(server);
  for (const auto& account : asking.result("crm/accounts")) {
    for (const auto& id : account.value("contacts", json::array())) {
      const json contact = asking.result("crm/contacts/" + id.get<std::string>());
      CHECK(contact.value("account", "") == account.at("id").get<std::string>());
    }
    for (const auto& link : account.value("opportunities", json::array())) {
      const json opportunity = asking.result("crm/opportunities/" + link.at("opportunity_id").get<std::string>());
      CHECK(opportunity.at("accounts").at(0) == account.at("id"));
      CHECK(opportunity.at("stage") == link.at("opportunity_stage"));
    }
  }
}

TEST_CASE("contacts are filtered by email, whole and in any case, one or several") {
  const local_nango server;
  client asking(server);
  CHECK(asking.ids("crm/contacts?email=rolf@example.com") == ids{rolf});
  CHECK(asking.ids("crm/contacts?email=ROLF.lindgren%40example.org") == ids{rolf});
  CHECK(asking.ids("crm/contacts?email=ase@example.org,nobody@example.org,rolf@example.com") == ids{rolf, ase});
  CHECK(asking.ids("crm/contacts?email=mina%2Bcrm%40example.com") == ids{mina});
  CHECK(asking.ids("crm/contacts?email=example.com").empty());
}

TEST_CASE("contacts are filtered by account, one or several") {
  const local_nango server;
  client asking(server);
  CHECK(asking.ids("crm/contacts?account=" + birch) == ids{rolf, ase});
  CHECK(asking.ids("crm/contacts?account=" + birch + "," + lumen) == ids{rolf, mina, ase});
  CHECK(asking.ids("crm/contacts?account=" + nobody).empty());
  CHECK(asking.get("crm/contacts?account=" + birch + ",12").error_type() == "PARAMS_ERROR");
}

TEST_CASE("names are filtered by any part in any case, contacts by their first or last one") {
  const local_nango server;
  client asking(server);
  CHECK(asking.ids("crm/contacts?name=ROLF") == ids{rolf, mina});
  CHECK(asking.ids("crm/contacts?name=%C3%85s") == ids{ase});
  CHECK(asking.ids("crm/contacts?name=b%C3%A4r%20%26%20s") == ids{ase});
  CHECK(asking.ids("crm/contacts?name=Rolf%20Lindgren").empty());
  CHECK(asking.ids("crm/accounts?name=harbour") == ids{birch, quiet});
  CHECK(asking.ids("crm/opportunities?name=PIER") == ids{planks, repair});
}

TEST_CASE("filters are combined") {
  const local_nango server;
  client asking(server);
  CHECK(asking.ids("crm/contacts?name=rolf&account=" + lumen) == ids{mina});
  CHECK(asking.ids("crm/contacts?name=rolf&email=ase@example.org").empty());
  CHECK(asking.ids("crm/contacts?email=rolf@example.com&account=" + lumen).empty());
}

TEST_CASE("raw data is shown when asked for and absent otherwise") {
  const local_nango server;
  client asking(server);
  for (const std::string list : {"crm/contacts", "crm/accounts", "crm/opportunities"}) {
    CAPTURE(list);
    for (const auto& record : asking.result(list + "?include_raw=true")) CHECK(record.contains("raw_external_data"));
    for (const auto& record : asking.result(list + "?include_raw=false")) {
      CHECK_FALSE(record.contains("raw_external_data"));
    }
    for (const auto& record : asking.result(list)) CHECK_FALSE(record.contains("raw_external_data"));
  }
  const json raw = asking.result("crm/accounts/" + birch + "?include_raw=true").at("raw_external_data");
  CHECK(raw == json{{"Id", "0015e00000B1"}, {"Tier__c", "gold"}});
  CHECK_FALSE(asking.result("crm/accounts/" + birch).contains("raw_external_data"));
}

// ---- Errors --------------------------------------------------------------------------------------------------------

TEST_CASE("bad parameters, ids and paths are PARAMS_ERRORs with a message") {
  const local_nango server({.limit = 1000});
  client asking(server);
  const std::string bad[] = {"crm/contacts?include_raw=yes",
                             "crm/contacts?include_raw=",
                             "crm/contacts?colour=red",
                             "crm/accounts?email=a@b.c",
                             "crm/contacts?name=a&name=b",
                             "crm/contacts/" + rolf + "?name=rolf",
                             "crm/contacts/42",
                             "crm/contacts/",
                             "crm/contacts/" + rolf + "/emails",
                             "crm/contacts/" + nobody,
                             "crm/accounts/" + rolf,
                             "crm/contacts%2F" + rolf,
                             "crm/leads",
                             "nothing",
                             "crm/contacts/" + std::string(4000, 'x'),
                             "test/bytes",
                             "test/bytes?count=-1",
                             "test/bytes?count=999999999999999999999",
                             "test/nothing",
                             "test/sleep?ms=soon",
                             "crm/contacts/%0A",
                             "test/bytes?count=5x",
                             "test/bytes?count=100000001",
                             "test/sleep?ms=1&count=1",
                             "",
                             "%00",
                             "../v1/crm/contacts"};
  for (const auto& path : bad) {
    CAPTURE(path);
    const reply got = asking.get(path);
    CHECK(got.status == 400);
    CHECK(got.body.value("status", "") == "error");
    CHECK(got.error_type() == "PARAMS_ERROR");
    CHECK_FALSE(got.message().empty());
  }
  CHECK(asking.get("crm/contacts/42").message() == "the id is not a UUID");
  CHECK(asking.get("crm/contacts/" + nobody).message() == "there is no record with this id in contacts");
  CHECK(read(asking.http.Post("/v1/crm/contacts", asking.headers, "{}", "application/json")).error_type() ==
        "PARAMS_ERROR");
  const std::string long_path = "/v1/" + std::string(4000, 'x');  // more than httplib 0.53.1 routes
  CHECK(read(asking.http.Post(long_path.c_str(), asking.headers, "{}", "application/json")).status == 400);
  CHECK(asking.get("crm/contacts").status == 200);
  CHECK(server.connections() == 1);
}

TEST_CASE("a processing error can be had") {
  const local_nango server;
  const reply got = client(server, "").get("test/processing-error");
  CHECK(got.status == 500);
  CHECK(got.error_type() == "PROCESSING_ERROR");
  CHECK_FALSE(got.message().empty());
}

// ---- Rate limit ----------------------------------------------------------------------------------------------------

TEST_CASE("more than the limit in a window is refused, for that token only") {
  const standing_clock clock;
  const local_nango server(clock.options(100));
  client asking(server);
  for (int i = 0; i < 100; ++i) REQUIRE(asking.get("crm/accounts").status == 200);
  const reply refused = asking.get("crm/accounts");
  CHECK(refused.status == 429);
  CHECK(refused.headers.find("Retry-After")->second == "1");
  CHECK(refused.body.value("status", "") == "error");
  CHECK(refused.error_type() == "RATE_LIMIT_ERROR");
  CHECK_FALSE(refused.message().empty());
  CHECK(client(server, local_nango::other_user_token()).get("crm/accounts").status == 200);
  CHECK(client(server, "").get("test/echo").status == 200);
  CHECK(asking.get("test/echo").status == 429);
  CHECK(server.requests(local_nango::user_token()) == 102);
  CHECK(server.refused(local_nango::user_token()) == 2);
  CHECK(server.refused(local_nango::other_user_token()) == 0);
  CHECK(server.requests(nobody) == 0);
}

TEST_CASE("the window slides: a place is free again exactly one window after it was taken") {
  standing_clock clock;
  const local_nango server(clock.options(2));
  client asking(server);
  const auto status = [&] { return asking.get("test/echo").status; };
  CHECK(status() == 200);  // at 0 ms
  clock.advance(600ms);
  CHECK(status() == 200);
  CHECK(status() == 429);
  clock.advance(399ms);
  CHECK(status() == 429);
  clock.advance(1ms);
  CHECK(status() == 200);  // the one at 0 ms is a second old
  CHECK(status() == 429);  // a refused one takes no place, those at 600 and 1000 ms do
  clock.advance(600ms);
  CHECK(status() == 200);
  CHECK(server.refused(local_nango::user_token()) == 3);
}

TEST_CASE("the fullest window is counted exactly, refused requests included") {
  standing_clock clock;
  const local_nango server(clock.options(3));
  client asking(server);
  const auto send = [&](int count) {
    for (int i = 0; i < count; ++i) asking.get("test/echo");
  };
  const auto most = [&] { return server.most_in_a_window(local_nango::user_token()); };
  CHECK(most() == 0);
  send(2);  // at 0 ms
  CHECK(most() == 2);
  clock.advance(1000ms);
  send(2);  // no window holds both ends of a second
  CHECK(most() == 2);
  clock.advance(999ms);
  send(3);
  CHECK(most() == 5);
  clock.advance(1s);
  send(4);
  CHECK(most() == 5);
  CHECK(server.most_in_a_window(local_nango::other_user_token()) == 0);
}

// ---- Paths for tests -----------------------------------------------------------------------------------------------

TEST_CASE("echo shows the method, the raw target, the headers and the body") {
  const local_nango server;
  client asking(server, "");
  asking.headers.emplace("X-Test", "one");
  const char* path = "/v1/test/echo?a=b%26c";  // no version of httplib's client spells this otherwise
  const char* text = "some \"text\"";
  const auto check = [&](const std::string& method, const httplib::Result& result, const std::string& body) {
    CAPTURE(method);
    const json got = read(result).body.value("result", json::object());
    CHECK(got.value("method", "") == method);
    CHECK(got.value("target", "") == path);
    CHECK(got.value("body", "none") == body);
    const json headers = got.value("headers", json::object());
    CHECK(headers.value("x-test", "") == "one");
    CHECK(headers.value("authorization", "") == "Bearer " + local_nango::api_key());
    for (const char* added : {"remote_addr", "remote_port", "local_addr", "local_port"}) {
      CHECK_FALSE(headers.contains(added));
    }
  };
  check("GET", asking.http.Get(path, asking.headers), "");
  check("POST", asking.http.Post(path, asking.headers, text, "text/plain"), text);
  check("PUT", asking.http.Put(path, asking.headers, text, "text/plain"), text);
  check("PATCH", asking.http.Patch(path, asking.headers, text, "text/plain"), text);
  check("DELETE", asking.http.Delete(path, asking.headers, text, "text/plain"), text);
  check("DELETE", asking.http.Delete(path, asking.headers), "");
  check("POST", asking.http.Post(path, asking.headers, "", "text/plain"), "");
  CHECK(server.connections() == 1);
}

TEST_CASE("echo joins headers that came twice and survives bytes that are no UTF-8") {
  const local_nango server;
  client asking(server, "");
  asking.headers.emplace("X-Twice", "one");
  asking.headers.emplace("X-Twice", "one");
  const json got = read(asking.http.Post("/v1/test/echo", asking.headers, "a\xff", "text/plain")).body.at("result");
  CHECK(got.at("headers").at("x-twice") == "one, one");
  CHECK(got.at("body") == "a\xef\xbf\xbd");
}

TEST_CASE("bytes and sleep do as they are told") {
  const local_nango server;
  client asking(server, "");
  CHECK(asking.result("test/bytes?count=0") == "");
  CHECK(asking.result("test/bytes?count=300000").get<std::string>() == std::string(300000, 'x'));
  const auto before = std::chrono::steady_clock::now();
  CHECK(asking.get("test/sleep?ms=30").status == 200);
  CHECK(std::chrono::steady_clock::now() - before >= 30ms);
}

}  // namespace local_nango_tests
