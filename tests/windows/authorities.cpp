// Default backend on Windows: without a ca_file it trusts the system's ROOT store, and never what the Disallowed store
// has. The stores are the user's own, and are left as they were.

#include <doctest/doctest.h>

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <string>
#include <string_view>
#include <vector>

#include "certificates.hpp"
#include "fault_server.hpp"
#include "nango.hpp"

namespace {

using nango::errc;
using nango_test::certificate;
using nango_test::fault_server;

std::vector<unsigned char> der_of(const certificate& from) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509(from.x509(), &bytes);
  REQUIRE(size > 0);
  std::vector<unsigned char> copy(bytes, bytes + size);
  OPENSSL_free(bytes);
  return copy;
}

// A certificate that is in a store of the system while this lives, good for all uses or for these alone.
class stored {
 public:
  stored(const wchar_t* store, const certificate& what, std::vector<std::string> uses = {})
      : store_(::CertOpenSystemStoreW(0, store)) {
    const auto bytes = der_of(what);
    const auto* entry =
        ::CertCreateCertificateContext(X509_ASN_ENCODING, bytes.data(), static_cast<DWORD>(bytes.size()));
    std::vector<LPSTR> names;
    for (auto& each : uses) names.push_back(each.data());
    CERT_ENHKEY_USAGE usage{static_cast<DWORD>(names.size()), names.data()};
    if (!uses.empty()) REQUIRE(::CertSetEnhancedKeyUsage(entry, &usage) != 0);
    REQUIRE(::CertAddCertificateContextToStore(store_, entry, CERT_STORE_ADD_REPLACE_EXISTING, &entry_) != 0);
    ::CertFreeCertificateContext(entry);
    commit();
  }
  ~stored() {
    ::CertDeleteCertificateFromStore(entry_);  // which frees it
    commit();
    ::CertCloseStore(store_, 0);
  }
  stored(const stored&) = delete;
  stored& operator=(const stored&) = delete;

 private:
  void commit() { ::CertControlStore(store_, 0, CERT_STORE_CTRL_COMMIT, nullptr); }  // so that others see it

  HCERTSTORE store_;
  const CERT_CONTEXT* entry_ = nullptr;
};

// An authority of the test's own, one below it, and a server with a certificate of the latter.
struct chain {
  certificate root{{.common_name = "Test root", .dns = {}, .ip = {}, .is_authority = true, .path_length = 1}};
  certificate between{{.common_name = "Test authority", .dns = {}, .ip = {}, .is_authority = true}, root};
  certificate leaf{{.dns = {}}, between};
  fault_server server{{.configure = [this](SSL_CTX* context) {
    SSL_CTX_use_certificate(context, leaf.x509());
    SSL_CTX_use_PrivateKey(context, leaf.key());
    SSL_CTX_add1_chain_cert(context, between.x509());
  }}};

  nango::result<nango::json> call(const std::string& host = "127.0.0.1") const {
    return nango::client({.api_key = "key", .base_url = server.base_url(host), .retry = {.max_attempts = 1}}).get("x");
  }
  void check_refused(long why, const std::string& host = "127.0.0.1") const {
    const auto answer = call(host);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == errc::tls_failed);
    CHECK_MESSAGE(answer.error().message.find(X509_verify_cert_error_string(why)) != std::string::npos, answer.error());
    CHECK(server.started() == 0);
  }
};

}  // namespace

TEST_CASE("an authority of the ROOT store is trusted, and one of none is not") {
  const chain f;
  f.check_refused(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  const stored root(L"ROOT", f.root);
  const auto answer = f.call();
  CHECK_MESSAGE(answer, answer.error());
}

TEST_CASE("with an authority of the ROOT store a certificate for another host is refused") {
  const chain f;
  const stored root(L"ROOT", f.root);
  f.check_refused(X509_V_ERR_HOSTNAME_MISMATCH, "localhost");
}

TEST_CASE("what the Disallowed store has is refused, at each place of a chain") {
  const chain f;
  const stored root(L"ROOT", f.root);
  for (const auto* which : {&f.root, &f.between, &f.leaf}) {
    const stored disallowed(L"Disallowed", *which);
    f.check_refused(X509_V_ERR_CERT_REJECTED);
  }
  CHECK(f.call());
}

TEST_CASE("a root that is restricted to other uses is none for a server") {
  const chain f;
  {
    const stored root(L"ROOT", f.root, {szOID_PKIX_KP_CODE_SIGNING});
    f.check_refused(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  }
  const stored root(L"ROOT", f.root, {szOID_PKIX_KP_CODE_SIGNING, szOID_PKIX_KP_SERVER_AUTH});
  CHECK(f.call());
}

TEST_CASE("the ROOT store is not asked where there is a ca_file") {
  const chain f;
  const stored root(L"ROOT", f.root);
  const auto other = nango_test::make_authority();
  const nango_test::temporary_file ca_file(other.pem());
  const nango::client api(
      {.api_key = "key", .base_url = f.server.base_url(), .retry = {.max_attempts = 1}, .ca_file = ca_file.path()});
  const auto answer = api.get("x");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == errc::tls_failed);
}
