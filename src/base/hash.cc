#include "base/hash.h"

#include <openssl/evp.h>

#include "base/strcat.h"

namespace corten {

struct Hasher::State {
  EVP_MD_CTX* context = nullptr;
  const EVP_MD* method = nullptr;
  std::string algorithm;
  ~State() { EVP_MD_CTX_free(context); }
};

namespace {
// Fetched once: OpenSSL 3 looks methods up by name on each use otherwise.
const EVP_MD* Method(std::string_view algorithm) {
  if (algorithm == "sha256") {
    static const EVP_MD* method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return method;
  }
  if (algorithm == "sha384") {
    static const EVP_MD* method = EVP_MD_fetch(nullptr, "SHA384", nullptr);
    return method;
  }
  if (algorithm == "sha512") {
    static const EVP_MD* method = EVP_MD_fetch(nullptr, "SHA512", nullptr);
    return method;
  }
  return nullptr;
}
}  // namespace

Hasher::Hasher(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

Result<Hasher> Hasher::Create(std::string_view algorithm) {
  const EVP_MD* method = Method(algorithm);
  if (method == nullptr)
    return InvalidArgumentError("digest algorithm ", Quoted(algorithm), ": not supported");
  auto state = std::make_unique<State>();
  state->context = EVP_MD_CTX_new();
  state->method = method;
  state->algorithm = algorithm;
  CHECK(state->context != nullptr && EVP_DigestInit_ex2(state->context, method, nullptr) == 1);
  return Hasher(std::move(state));
}

Hasher Hasher::Sha256() { return Create("sha256").value(); }

void Hasher::Update(std::string_view data) {
  CHECK(EVP_DigestUpdate(state_->context, data.data(), data.size()) == 1);
}

std::string Hasher::Hex() const {
  EVP_MD_CTX* copy = EVP_MD_CTX_new();
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(copy != nullptr && EVP_MD_CTX_copy_ex(copy, state_->context) == 1 &&
        EVP_DigestFinal_ex(copy, raw, &size) == 1);
  EVP_MD_CTX_free(copy);
  return corten::Hex(std::string_view(reinterpret_cast<const char*>(raw), size));
}

std::string Hasher::Digest() const { return StrCat(state_->algorithm, ":", Hex()); }
std::string_view Hasher::algorithm() const { return state_->algorithm; }
void Hasher::Reset() { CHECK(EVP_DigestInit_ex2(state_->context, state_->method, nullptr) == 1); }

std::string Sha256Digest(std::string_view data) {
  Hasher hasher = Hasher::Sha256();
  hasher.Update(data);
  return hasher.Digest();
}

}  // namespace corten
