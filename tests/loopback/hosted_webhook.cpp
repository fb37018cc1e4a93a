// Hosted API: webhooks. The signatures are those of `printf BODY | openssl dgst -sha256 -hmac KEY`.

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "nango.hpp"

namespace hosted_webhook_tests {

using nango::hosted::verify_webhook;

namespace {
struct vector {
  std::string_view body, key, signature;
};
constexpr vector vectors[] = {
    {"{\"type\":\"sync\",\"success\":true}", "a-signing-key",
     "23014199cc6e4194af1b84c6bae2bf695ca406e4da0505cc34da34511b79d0f0"},
    {"", "k", "8bb990c40a7d61cb97597a942125025be50ac8beb74436e3735b98893a7f6620"},
    {"a\n", "some other key with spaces", "f08ce562014bcfbb0768fe40c3e16f64694e978238cfb3327c6e90a49c05747c"},
    {"é😀", "ключ", "9a3e752c74b91e1a9b38cb01c69e30a66232354744cfbf97afab012845f80d75"},
};
constexpr std::string_view signature_with_empty_key =
    "772323dd6aea96cc366759d2676ebf1c5ea98f0cdc17b1c7513a5f57a93de88c";
}  // namespace

TEST_CASE("a webhook with its signature is the service's") {
  for (const auto& one : vectors) {
    CAPTURE(one.body);
    CHECK(verify_webhook(one.body, one.signature, one.key));
    std::string upper(one.signature);
    for (char& c : upper) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
    CHECK(verify_webhook(one.body, upper, one.key));
  }
}

TEST_CASE("a webhook with another body, key or signature is refused") {
  const auto& one = vectors[0];
  CHECK_FALSE(verify_webhook(std::string(one.body) + ' ', one.signature, one.key));
  CHECK_FALSE(verify_webhook(one.body, one.signature, std::string(one.key) + ' '));
  for (std::size_t i = 0; i < one.signature.size(); ++i) {
    auto other = std::string(one.signature);
    other[i] = other[i] == '0' ? '1' : '0';
    CHECK_FALSE(verify_webhook(one.body, other, one.key));
    other[i] = 'g';
    CHECK_FALSE(verify_webhook(one.body, other, one.key));
  }
}

TEST_CASE("a malformed signature returns false and throws nothing") {
  const auto& one = vectors[0];
  const std::string signature(one.signature);
  for (const auto& bad : {std::string(), std::string("00"), signature.substr(1), signature + '0', signature + signature,
                          "0x" + signature.substr(2), ' ' + signature.substr(1), std::string(64, '\0'),
                          std::string(64, 'x'), std::string(1'000'000, 'a')}) {
    CHECK_FALSE(verify_webhook(one.body, bad, one.key));
  }
  CHECK_FALSE(verify_webhook("", "", ""));
  CHECK_FALSE(verify_webhook(one.body, one.signature, std::string(70'000, 'k')));
}

TEST_CASE("an empty key is refused, even with its own signature") {
  CHECK_FALSE(verify_webhook(vectors[0].body, signature_with_empty_key, ""));
}

}  // namespace hosted_webhook_tests
