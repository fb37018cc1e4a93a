// Certificates made at run time: no key lies in the repository, and none of them can run out there.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace nango_test {

/// What a certificate says. The defaults make one that a strict client accepts for a server on the loopback address.
struct certificate_options {
  std::string common_name = "localhost";               ///< empty: no subject, which makes the other names critical
  std::vector<std::string> dns = {"localhost"};        ///< DNS names it is good for, byte for byte
  std::vector<std::string> ip = {"127.0.0.1", "::1"};  ///< addresses it is good for; none and no `dns`: no SAN at all
  std::chrono::seconds not_before = -std::chrono::hours(1);  ///< counted from now
  std::chrono::seconds not_after = std::chrono::hours(24);   ///< counted from now
  bool is_authority = false;                                 ///< may sign others, and is no server's then
  int path_length = 0;                 ///< of an authority: how many authorities may stand between it and a server
  std::string purpose = "serverAuth";  ///< of a certificate that is no authority's: its extended key usage
};

/// A P-256 key with its X.509 certificate. Movable; throws std::runtime_error where OpenSSL fails.
class certificate {
 public:
  /// Signs itself.
  explicit certificate(const certificate_options& options);
  /// Is signed by `issuer`, which should have been made with `is_authority`.
  certificate(const certificate_options& options, const certificate& issuer);

  std::string pem() const;
  std::string key_pem() const;
  X509* x509() const { return x509_.get(); }
  EVP_PKEY* key() const { return key_.get(); }

 private:
  template <auto free> struct deleter {
    template <class T> void operator()(T* object) const { free(object); }
  };

  certificate(const certificate_options& options, const certificate* issuer);
  void set_serial_number();
  void set_names(const certificate_options& options, X509* issuer);
  void add_extensions(const certificate_options& options, X509* issuer);
  void add_extension(int nid, const std::string& value, X509* issuer);
  void add_alternative_names(const certificate_options& options);

  std::unique_ptr<EVP_PKEY, deleter<EVP_PKEY_free>> key_;
  std::unique_ptr<X509, deleter<X509_free>> x509_;
};

/// A certificate that signs others.
inline certificate make_authority(const std::string& common_name = "Local test authority") {
  return certificate({.common_name = common_name, .dns = {}, .ip = {}, .is_authority = true});
}

/// A file that only its owner can read, with the given content; gone when the object is.
class temporary_file {
 public:
  explicit temporary_file(std::string_view content);
  ~temporary_file() { ::unlink(path_.c_str()); }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

#ifndef _WIN32  // which has no mkdtemp, and no test that needs it
/// A folder of its own, gone with all that is in it when the object is.
class temporary_folder {
 public:
  temporary_folder() {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  }
  ~temporary_folder() { std::filesystem::remove_all(path_); }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "nango-XXXXXX").string();
};
#endif

namespace detail {

/// Throws where OpenSSL answered 0, a negative number or a null pointer.
inline void check(bool succeeded, const char* what) {
  if (!succeeded) throw std::runtime_error(std::string("cannot make a certificate: ") + what);
}

/// The text that `write` puts into a memory BIO.
template <class Write> std::string pem_text(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  check(out != nullptr && write(out.get()) == 1, "PEM");
  std::string text(BIO_ctrl_pending(out.get()), '\0');
  check(BIO_read(out.get(), text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size()), "PEM");
  return text;
}

}  // namespace detail

inline certificate::certificate(const certificate_options& options) : certificate(options, nullptr) {}

inline certificate::certificate(const certificate_options& options, const certificate& issuer)
    : certificate(options, &issuer) {}

inline certificate::certificate(const certificate_options& options, const certificate* issuer)
    : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")), x509_(X509_new()) {
  detail::check(key_ != nullptr && x509_ != nullptr, "key");
  const certificate& signer = issuer == nullptr ? *this : *issuer;
  detail::check(X509_set_version(x509(), X509_VERSION_3) == 1, "version");
  set_serial_number();
  detail::check(X509_gmtime_adj(X509_getm_notBefore(x509()), options.not_before.count()) != nullptr, "not before");
  detail::check(X509_gmtime_adj(X509_getm_notAfter(x509()), options.not_after.count()) != nullptr, "not after");
  detail::check(X509_set_pubkey(x509(), key()) == 1, "public key");
  set_names(options, signer.x509());
  add_extensions(options, signer.x509());
  detail::check(X509_sign(x509(), signer.key(), EVP_sha256()) > 0, "signature");
}

inline std::string certificate::pem() const {
  return detail::pem_text([this](BIO* out) { return PEM_write_bio_X509(out, x509()); });
}

inline std::string certificate::key_pem() const {
  return detail::pem_text(
      [this](BIO* out) { return PEM_write_bio_PrivateKey(out, key(), nullptr, nullptr, 0, nullptr, nullptr); });
}

inline void certificate::set_serial_number() {
  const std::unique_ptr<BIGNUM, deleter<BN_free>> number(BN_new());
  detail::check(number != nullptr && BN_rand(number.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1, "serial");
  detail::check(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509())) != nullptr, "serial");
}

inline void certificate::set_names(const certificate_options& options, X509* issuer) {
  if (!options.common_name.empty()) {
    const std::vector<unsigned char> text(options.common_name.begin(), options.common_name.end());
    detail::check(X509_NAME_add_entry_by_NID(X509_get_subject_name(x509()), NID_commonName, MBSTRING_UTF8, text.data(),
                                             static_cast<int>(text.size()), -1, 0) == 1,
                  "subject");
  }
  detail::check(X509_set_issuer_name(x509(), X509_get_subject_name(issuer)) == 1, "issuer");
}

inline void certificate::add_extensions(const certificate_options& options, X509* issuer) {
  const std::string authority = "critical,CA:TRUE,pathlen:" + std::to_string(options.path_length);
  add_extension(NID_basic_constraints, options.is_authority ? authority : "critical,CA:FALSE", issuer);
  add_extension(NID_key_usage, options.is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature",
                issuer);
  if (!options.is_authority) add_extension(NID_ext_key_usage, options.purpose, issuer);
  add_extension(NID_subject_key_identifier, "hash", issuer);
  if (issuer != x509()) add_extension(NID_authority_key_identifier, "keyid:always", issuer);
  if (!options.dns.empty() || !options.ip.empty()) add_alternative_names(options);
}

inline void certificate::add_extension(int nid, const std::string& value, X509* issuer) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, x509(), nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, deleter<X509_EXTENSION_free>> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  detail::check(extension != nullptr && X509_add_ext(x509(), extension.get(), -1) == 1, value.c_str());
}

inline void certificate::add_alternative_names(const certificate_options& options) {
  const std::unique_ptr<GENERAL_NAMES, deleter<GENERAL_NAMES_free>> names(GENERAL_NAMES_new());
  const auto add = [&](int type, ASN1_STRING* value) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    detail::check(value != nullptr && name != nullptr, "name");
    GENERAL_NAME_set0_value(name, type, value);
    detail::check(sk_GENERAL_NAME_push(names.get(), name) > 0, "name");
  };
  for (const auto& name : options.dns) {  // OpenSSL's own spelling of names, "DNS:x,IP:y", can have no NUL in them
    ASN1_STRING* text = ASN1_IA5STRING_new();
    detail::check(ASN1_STRING_set(text, name.data(), static_cast<int>(name.size())) == 1, "DNS name");
    add(GEN_DNS, text);
  }
  for (const auto& address : options.ip) add(GEN_IPADD, a2i_IPADDRESS(address.c_str()));
  // RFC 5280 4.2.1.6: critical when there is no subject, and strict verification insists on it.
  const int critical = options.common_name.empty() ? 1 : 0;
  detail::check(X509_add1_ext_i2d(x509(), NID_subject_alt_name, names.get(), critical, 0) == 1, "names");
}

inline temporary_file::temporary_file(std::string_view content)
    : path_((std::filesystem::temp_directory_path() / "nango-test-XXXXXX").string()) {
  const int file = ::mkstemp(path_.data());  // makes it with mode 0600
  if (file < 0) throw std::runtime_error("cannot make a temporary file");
  while (!content.empty()) {
    const auto size = (std::min)(content.size(), std::size_t{1} << 20);
    const auto written = ::write(file, content.data(), static_cast<unsigned>(size));
    if (written <= 0) break;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::close(file) == 0 && content.empty()) return;
  ::unlink(path_.c_str());
  throw std::runtime_error("cannot write to a temporary file");
}

}  // namespace nango_test
