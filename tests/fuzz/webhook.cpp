// Hosted API: verify_webhook() believes what is signed, and nothing else.
// Bytes: what is done to the signature; key, body, a signature.
#include <openssl/evp.h>

#include "fuzz.hpp"

namespace {

using nango_fuzz::check;

// By OpenSSL's other interface.
std::string sign(std::string_view body, std::string_view key) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  std::size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
  const bool made = EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(), bytes, body.size(),
                              mac.data(), mac.size(), &size) != nullptr;
  check(made && size == 32, "OpenSSL signs");
  std::string hex;
  for (std::size_t i = 0; i < size; ++i) {
    for (const int half : {mac[i] >> 4, mac[i] & 15}) hex += "0123456789abcdef"[half];
  }
  return hex;
}

std::string lowered(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nango_fuzz::bytes in(data, size);
  const auto change = in.below(6), place = in.below(64);
  const auto key = in.text(), body = in.text();
  const auto given = in.text();
  if (key.empty()) {
    check(!nango::hosted::verify_webhook(body, sign(body, "key"), key), "nothing is signed without a key");
    return 0;
  }
  const auto due = sign(body, key);
  auto signature = due;
  if (change == 1) signature[place] = static_cast<char>(signature[place] ^ (1 << (place % 8)));
  if (change == 2) signature.resize(place);
  if (change == 3) signature += '0';
  if (change == 4) signature = given;
  if (change == 5) signature[place] = static_cast<char>(std::toupper(static_cast<unsigned char>(signature[place])));
  const bool right = lowered(signature) == due;
  check(nango::hosted::verify_webhook(body, signature, key) == right, "the signature, the whole one and nothing else");
  return 0;
}
