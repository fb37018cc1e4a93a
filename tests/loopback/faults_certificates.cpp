// Default backend: whom it trusts. Each server here shows a certificate of the test's own.

#include <doctest/doctest.h>
#include <openssl/conf.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "fault_server.hpp"
#include "nango.hpp"

namespace faults_certificates_tests {

namespace {

using nango::errc;
using nango_test::certificate;
using nango_test::certificate_options;
using nango_test::fault_server;
using nango_test::temporary_file;
using std::chrono::steady_clock;

const std::string address = "127.0.0.1", name = "localhost";
// The loopback address too, but no address to a certificate: a name of four labels that needs no name server.
const std::string long_name = "0x7f.0.0.1";

// A host, and what the SAN of its certificate has.
struct row {
  const std::string& host;
  std::vector<std::string> dns, ip{};
};
std::string listed(const std::vector<std::string>& dns, const std::vector<std::string>& ip) {
  std::string text;
  for (const auto& each : dns) text += "DNS:" + each + ' ';
  for (const auto& each : ip) text += "IP:" + each + ' ';
  return text;
}

// A server that shows `leaf`, and `chain` with it.
struct showing {
  const certificate& leaf;
  std::vector<const certificate*> chain{};
  int least_version = 0, most_version = 0;  // 0: any

  operator nango_test::fault_server_options() const {
    return {.configure = [*this](SSL_CTX* context) {
      SSL_CTX_use_certificate(context, leaf.x509());
      SSL_CTX_use_PrivateKey(context, leaf.key());
      for (const auto* between : chain) SSL_CTX_add1_chain_cert(context, between->x509());
      SSL_CTX_set_min_proto_version(context, least_version);
      SSL_CTX_set_max_proto_version(context, most_version);
      // OpenSSL 3 has no TLS 1.1 at a higher level.
      if (most_version == TLS1_1_VERSION) SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0");
    }};
  }
};

// An authority that the client trusts.
struct trust {
  certificate root;
  temporary_file ca_file{root.pem()};
  explicit trust(certificate authority = nango_test::make_authority()) : root(std::move(authority)) {}

  nango::client client_of(const fault_server& server, const std::string& host) const {
    return nango::client({.api_key = "key", .base_url = server.base_url(host), .ca_file = ca_file.path()});
  }
  // Refused before a byte of a request is sent, at once, and not tried again: it would be no better.
  void refuses(const showing& shown, const std::string& host, std::string_view why) const {
    const fault_server server(shown);
    const auto api = client_of(server, host);
    for (const std::string method : {"GET", "POST"}) {
      CAPTURE(method);
      const auto began = steady_clock::now();
      const auto answer = api.send(method, "x", {}, method == "POST" ? "{}" : "");
      CHECK(steady_clock::now() - began < std::chrono::seconds(5));  // the deadline is after 30
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == errc::tls_failed);
      CHECK_FALSE(answer.error().may_have_executed);
      CHECK(answer.error().attempts == 1);
      CHECK(answer.error().http_status == 0);
      CHECK_MESSAGE(answer.error().message.find(why) != std::string::npos, answer.error());
      CHECK_MESSAGE(answer.error().message.find(host) != std::string::npos, answer.error());
    }
    CHECK(server.connections() == 2);
    CHECK(server.started() == 0);
  }
  void refuses(const showing& shown, const std::string& host, long verdict) const {
    refuses(shown, host, X509_verify_cert_error_string(verdict));
  }
  void accepts(const showing& shown, const std::string& host) const {
    const fault_server server(shown);
    const auto api = client_of(server, host);
    for (const auto& answer : {api.get("x"), api.post("x", {{"a", 1}})}) {
      REQUIRE_MESSAGE(answer, answer.error());
      CHECK(*answer == "/v1/x");
    }
    CHECK(server.connections() == 1);
  }
};

}  // namespace

TEST_CASE("a certificate of a trusted authority is good for the hosts of its SAN") {
  const trust trusted;
  for (const auto& [host, dns, ip] : std::vector<row>{
           {name, {"localhost"}},
           {name, {"elsewhere.example", "localhost"}, {"10.0.0.1"}},
           {address, {}, {"127.0.0.1"}},
           {address, {"elsewhere.example"}, {"10.0.0.1", "127.0.0.1"}},
           {long_name, {"0x7f.0.0.1"}},
           {long_name, {"*.0.0.1"}},
       }) {
    CAPTURE(host);
    CAPTURE(listed(dns, ip));
    trusted.accepts({certificate({.common_name = "another", .dns = dns, .ip = ip}, trusted.root)}, host);
  }
}

TEST_CASE("a name in another case is the same name") {
  const trust trusted;
  const certificate leaf({.common_name = "elsewhere", .dns = {"LocalHost"}}, trusted.root);
  trusted.accepts({.leaf = leaf}, name);
}

TEST_CASE("a certificate that does not have the host in its SAN is refused, whatever its CN says") {
  const trust trusted;
  for (const auto& [host, dns, ip] : std::vector<row>{
           {name, {"elsewhere.example"}, {"127.0.0.1"}},
           {name, {}, {"127.0.0.1"}},
           {name, {}, {}},
           {name, {"*.localhost"}},
           {name, {"*"}},
           {name, {"l*t"}},
           {name, {"loc*"}},
           {name, {"localhost.localhost"}},
           {name, {"localhos"}},
           {name, {std::string("localhost\0.elsewhere.example", 28)}},
           {name, {std::string("localhost\0", 10)}},
           {address, {"localhost"}, {"127.0.0.2", "::1"}},
           {address, {"localhost"}, {}},
           {address, {}, {}},
           {address, {"127.0.0.1"}},
           {address, {"*.0.0.1"}},
           {address, {"*"}},
           {long_name, {}, {"127.0.0.1"}},
           {long_name, {"0x*.0.0.1"}},
           {long_name, {"0x7f.*.0.1"}},
           {long_name, {"*.*.0.1"}},
           {long_name, {"*.0.1"}},
           {long_name, {"*.0x7f.0.0.1"}},
       }) {
    CAPTURE(host);
    CAPTURE(listed(dns, ip));
    const auto mismatch = host == address ? X509_V_ERR_IP_ADDRESS_MISMATCH : X509_V_ERR_HOSTNAME_MISMATCH;
    trusted.refuses({certificate({.common_name = host, .dns = dns, .ip = ip}, trusted.root)}, host, mismatch);
  }
}

TEST_CASE("a certificate counts from its first day until its last") {
  using std::chrono::hours;
  const trust trusted;
  trusted.refuses({certificate({.not_before = -hours(48), .not_after = -hours(1)}, trusted.root)}, name,
                  X509_V_ERR_CERT_HAS_EXPIRED);
  trusted.refuses({certificate({.not_before = hours(1), .not_after = hours(48)}, trusted.root)}, name,
                  X509_V_ERR_CERT_NOT_YET_VALID);
}

TEST_CASE("a certificate that no trusted authority signed is refused") {
  const trust trusted;
  trusted.refuses({certificate(certificate_options{})}, name, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
  const auto stranger = nango_test::make_authority("A stranger"), namesake = nango_test::make_authority();
  const certificate of_stranger({}, stranger), of_namesake({}, namesake);
  trusted.refuses({of_stranger}, name, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  trusted.refuses({of_stranger, {&stranger}}, name, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
  trusted.refuses({of_namesake}, name, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  trusted.refuses({of_namesake, {&namesake}}, name, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
}

TEST_CASE("the system's authorities, which know no test's certificate, are the ones without a ca_file") {
  const fault_server server(nango_test::fault_server_options{});
  const auto answer = nango::client({.api_key = "key", .base_url = server.base_url()}).get("x");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::tls_failed);
  CHECK(answer.error().attempts == 1);
  CHECK(server.started() == 0);
}

TEST_CASE("an intermediate authority must be sent, be one, and be allowed by the authority above") {
  using std::chrono::hours;
  const trust trusted(
      certificate({.common_name = "Root", .dns = {}, .ip = {}, .is_authority = true, .path_length = 1}));
  const certificate between({.common_name = "Between", .dns = {}, .ip = {}, .is_authority = true}, trusted.root);
  const certificate leaf({}, between);
  trusted.accepts({leaf, {&between}}, name);
  trusted.accepts({leaf, {&between}}, address);
  trusted.refuses({leaf}, name, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);

  const certificate below({.common_name = "Below", .dns = {}, .ip = {}, .is_authority = true}, between);
  const certificate of_below({}, below);
  trusted.refuses({of_below, {&below, &between}}, name, X509_V_ERR_PATH_LENGTH_EXCEEDED);

  const certificate old({.common_name = "Old",
                         .dns = {},
                         .ip = {},
                         .not_after = -hours(1) + std::chrono::minutes(1),
                         .is_authority = true},
                        trusted.root);
  const certificate of_old({}, old);
  trusted.refuses({of_old, {&old}}, name, X509_V_ERR_CERT_HAS_EXPIRED);

  const certificate server_only({.common_name = "another", .dns = {"elsewhere.example"}}, trusted.root);
  const certificate forged({}, server_only);
  trusted.refuses({forged, {&server_only}}, name, X509_V_ERR_INVALID_CA);
}

TEST_CASE("a trusted certificate that is not a CA's signs nothing") {
  const trust trusted(certificate({.common_name = "No authority", .dns = {}, .ip = {}}));
  trusted.refuses({certificate({}, trusted.root)}, name, X509_V_ERR_INVALID_CA);
}

TEST_CASE("a certificate that is good for clients only is refused") {
  const trust trusted;
  trusted.accepts({certificate({.purpose = "clientAuth,serverAuth"}, trusted.root)}, name);
  trusted.refuses({certificate({.purpose = "clientAuth"}, trusted.root)}, name, X509_V_ERR_INVALID_PURPOSE);
}

TEST_CASE("a handshake may be large: a certificate with 700 names, 140 authorities that a client may show") {
  const trust trusted;
  std::vector<std::string> names{"localhost"};
  for (int i = 0; i < 700; ++i) names.push_back("host-number-" + std::to_string(1000 + i) + ".department.example");
  const certificate small({}, trusted.root), large({.dns = names}, trusted.root);
  const auto size_of = [](const certificate& which) { return ::i2d_X509(which.x509(), nullptr); };
  REQUIRE(size_of(large) > 24'000);
  const auto demand = [](SSL_CTX* context) {
    for (int i = 0; i < 140; ++i) {
      const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(X509_NAME_new(), X509_NAME_free);
      const auto text = "Authority number " + std::to_string(1000 + i) + " of those that sign certificates";
      const std::vector<unsigned char> bytes(text.begin(), text.end());
      for (const int part : {NID_organizationName, NID_organizationalUnitName, NID_commonName}) {
        REQUIRE(X509_NAME_add_entry_by_NID(name.get(), part, MBSTRING_UTF8, bytes.data(),
                                           static_cast<int>(bytes.size()), -1, 0) == 1);
      }
      const std::unique_ptr<X509, decltype(&X509_free)> holder(X509_new(), X509_free);
      REQUIRE(X509_set_subject_name(holder.get(), name.get()) == 1);
      REQUIRE(SSL_CTX_add_client_CA(context, holder.get()) == 1);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // none is fine
  };
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    CAPTURE(version);
    for (const auto* leaf : {&small, &large}) {
      for (const bool demands : {false, true}) {
        CAPTURE(size_of(*leaf));
        CAPTURE(demands);
        nango_test::fault_server_options options =
            showing{.leaf = *leaf, .least_version = version, .most_version = version};
        if (demands) options.adjust = demand;
        const fault_server server(options);
        const auto answer = trusted.client_of(server, name).get("x");
        CHECK_MESSAGE(answer, answer.error());
        CHECK(server.connections() == 1);
      }
    }
  }
}

TEST_CASE("the server is told which name is meant, and never an address") {
  const trust trusted;
  const certificate leaf({.dns = {"localhost", long_name}}, trusted.root);
  for (const auto& [host, expected] :
       std::vector<std::pair<std::string, std::string>>{{name, name}, {long_name, long_name}, {address, "(none)"}}) {
    CAPTURE(host);
    std::mutex mutex;
    std::vector<std::string> told;
    std::function<void(const SSL*)> listen = [&](const SSL* connection) {
      const char* meant = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
      const std::lock_guard lock(mutex);
      told.emplace_back(meant == nullptr ? "(none)" : meant);
    };
    nango_test::fault_server_options options = showing{.leaf = leaf};
    options.adjust = [&](SSL_CTX* context) {
      SSL_CTX_set_tlsext_servername_arg(context, &listen);
      SSL_CTX_set_tlsext_servername_callback(
          context, +[](SSL* connection, int*, void* what) {
            (*static_cast<std::function<void(const SSL*)>*>(what))(connection);
            return SSL_TLSEXT_ERR_OK;
          });
    };
    const fault_server server(options);
    const auto answer = trusted.client_of(server, host).get("x");
    CHECK_MESSAGE(answer, answer.error());
    const std::lock_guard lock(mutex);
    CHECK(told == std::vector<std::string>{expected});
  }
}

TEST_CASE("TLS 1.2 is the least that is spoken") {
  const trust trusted;
  const certificate leaf({}, trusted.root);
  trusted.accepts({.leaf = leaf, .most_version = TLS1_2_VERSION}, name);
  trusted.accepts({.leaf = leaf, .least_version = TLS1_3_VERSION}, name);
  trusted.refuses({.leaf = leaf, .most_version = TLS1_1_VERSION}, name, "version");
}

TEST_CASE("a renegotiation is refused, and the next call succeeds") {
  const trust trusted;
  const certificate leaf({}, trusted.root);
  nango_test::fault_server_options options = showing{.leaf = leaf, .most_version = TLS1_2_VERSION};
  options.script = {{.rest = nango_test::sound_answer("1"), .then = nango_test::ending::renegotiate}};
  const fault_server server(options);
  const auto api = trusted.client_of(server, name);
  const auto began = steady_clock::now();
  const auto answer = api.post("x", {{"a", 1}});
  CHECK(steady_clock::now() - began < std::chrono::seconds(5));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::connection_failed);
  CHECK(answer.error().may_have_executed);
  CHECK(answer.error().attempts == 1);
  const auto next = api.get("next");
  REQUIRE_MESSAGE(next, next.error());
  CHECK(*next == "/v1/next");
  CHECK(server.requests().size() == 2);
}

TEST_CASE("a ca_file may name several authorities, or the very certificate of the server") {
  const auto first = nango_test::make_authority("First"), second = nango_test::make_authority("Second");
  const certificate own(certificate_options{});
  const temporary_file bundle(first.pem() + second.pem() + own.pem());
  for (const auto& leaf : {certificate({}, first), certificate({}, second)}) {
    const fault_server server{showing{leaf}};
    CHECK(nango::client({.api_key = "key", .base_url = server.base_url(), .ca_file = bundle.path()}).get("x"));
  }
  const fault_server server{showing{own}};
  CHECK(nango::client({.api_key = "key", .base_url = server.base_url(), .ca_file = bundle.path()}).get("x"));
}

TEST_CASE("a ca_file that cannot be used is refused when the client is made") {
  const auto authority = nango_test::make_authority();
  const temporary_file empty(""), text("no certificate"), key(authority.key_pem()),
      cut(authority.pem().substr(0, authority.pem().size() / 2));
  for (const std::string& path : {std::string("/nonexistent/ca.pem"), empty.path(), text.path(), key.path(), cut.path(),
                                  std::filesystem::temp_directory_path().string()}) {
    CAPTURE(path);
    const nango::client_options options{.api_key = "key", .ca_file = path};
    const auto made = nango::client::create(options);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::invalid_argument);
    CHECK_FALSE(made.error().may_have_executed);
    CHECK(made.error().message.find("client_options::ca_file") != std::string::npos);
    CHECK(made.error().message.find(path) != std::string::npos);
    CHECK_THROWS_AS(nango::client{options}, nango::exception);
  }
}

TEST_CASE("a server that resets as soon as it showed its certificate is untrusted, not broken") {
  const trust trusted, another(nango_test::make_authority("Another authority"));
  const certificate leaf({}, another.root);
  nango_test::fault_server_options options = showing{.leaf = leaf};
  options.script = {{.at = nango_test::moment::handshake, .bytes = "all", .then = nango_test::ending::reset}};
  const fault_server server(options);
  const auto answer = trusted.client_of(server, name).get("x");
  REQUIRE_FALSE(answer);
  CHECK_MESSAGE(answer.error().code == errc::tls_failed, answer.error());
  CHECK_MESSAGE(answer.error().message.find("is not trusted") != std::string::npos, answer.error());
  CHECK(answer.error().attempts == 1);
}

TEST_CASE("a server that demands a certificate of the client refuses the handshake") {
  const trust trusted;
  const certificate leaf({}, trusted.root);
  // With TLS 1.3 it says so after the handshake, when the request is out: a connection that broke, for all we know.
  nango_test::fault_server_options options = showing{.leaf = leaf, .most_version = TLS1_2_VERSION};
  options.configure = [of_leaf = options.configure](SSL_CTX* context) {
    of_leaf(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  };
  const fault_server server(options);
  const auto answer = trusted.client_of(server, name).get("x");
  REQUIRE_FALSE(answer);
  CHECK_MESSAGE(answer.error().code == errc::tls_failed, answer.error());
  CHECK_FALSE(answer.error().may_have_executed);
  CHECK(answer.error().attempts == 1);
}

#ifndef _WIN32  // which has no fork
TEST_CASE("a peer without a certificate gets no request, even if the system's OpenSSL is set up to allow it") {
  const temporary_file lax(
      "openssl_conf = i\n[i]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = ALL:@SECLEVEL=0\n");
  const pid_t child = ::fork();  // for the setting cannot be taken back
  REQUIRE(child >= 0);
  if (child == 0) {
    bool refused = false;
    if (CONF_modules_load_file(lax.path().c_str(), nullptr, 0) == 1) {
      const trust trusted;
      const fault_server server({.tls = true, .configure = [](SSL_CTX* context) {
                                   SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
                                   SSL_CTX_set_cipher_list(context, "aNULL:@SECLEVEL=0");
                                 }});
      const auto answer = trusted.client_of(server, name).get("x");
      refused = !answer && !answer.error().may_have_executed && server.started() == 0 &&
                answer.error().message.find("shows no certificate") != std::string::npos;
    }
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
#endif

}  // namespace faults_certificates_tests
