#include "base/hash.h"

// The functions that OpenSSL 3 calls deprecated: the others find theirs through providers, which
// keeps nearly all of libcrypto in a program (and 0.3 MB of tables that every start relocates).
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <array>
#include <variant>

#include "base/strcat.h"

namespace corten {

namespace {

// One algorithm by OpenSSL's functions for it. A value: copies go on by themselves.
template <typename Context, int (*kInit)(Context*), int (*kUpdate)(Context*, const void*, size_t),
          int (*kFinal)(unsigned char*, Context*), size_t kBytes>
struct Method {
  static constexpr size_t kSize = kBytes;
  Context context;
  bool Init() { return kInit(&context) == 1; }
  bool Update(std::string_view data) { return kUpdate(&context, data.data(), data.size()) == 1; }
  bool Final(unsigned char* out) { return kFinal(out, &context) == 1; }
};
using Method256 =
    Method<SHA256_CTX, SHA256_Init, SHA256_Update, SHA256_Final, SHA256_DIGEST_LENGTH>;
using Method384 =
    Method<SHA512_CTX, SHA384_Init, SHA384_Update, SHA384_Final, SHA384_DIGEST_LENGTH>;
using Method512 =
    Method<SHA512_CTX, SHA512_Init, SHA512_Update, SHA512_Final, SHA512_DIGEST_LENGTH>;
constexpr std::array<std::string_view, 3> kNames = {"sha256", "sha384", "sha512"};  // in that order

}  // namespace

struct Hasher::State {
  std::variant<Method256, Method384, Method512> method;
};

Hasher::Hasher(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

Result<Hasher> Hasher::Create(std::string_view algorithm) {
  auto state = std::make_unique<State>();
  if (algorithm == kNames[0]) {
    state->method.emplace<Method256>();
  } else if (algorithm == kNames[1]) {
    state->method.emplace<Method384>();
  } else if (algorithm == kNames[2]) {
    state->method.emplace<Method512>();
  } else {
    return InvalidArgumentError("digest algorithm ", Quoted(algorithm), ": not supported");
  }
  Hasher hasher(std::move(state));
  hasher.Reset();
  return hasher;
}

Hasher Hasher::Sha256() { return Create("sha256").value(); }

void Hasher::Update(std::string_view data) {
  CHECK(std::visit([&](auto& method) { return method.Update(data); }, state_->method));
}

std::string Hasher::Hex() const {
  return std::visit(
      [](auto method) {  // a copy: updates may go on
        unsigned char raw[decltype(method)::kSize];
        CHECK(method.Final(raw));
        return corten::Hex(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw)));
      },
      state_->method);
}

std::string Hasher::Digest() const { return StrCat(algorithm(), ":", Hex()); }

std::string_view Hasher::algorithm() const { return kNames[state_->method.index()]; }

void Hasher::Reset() {
  CHECK(std::visit([](auto& method) { return method.Init(); }, state_->method));
}

std::string Sha256Digest(std::string_view data) {
  Hasher hasher = Hasher::Sha256();
  hasher.Update(data);
  return hasher.Digest();
}

}  // namespace corten
