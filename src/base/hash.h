// Streaming digests for bulk data (OpenSSL; target corten::base_hash, not for the shim).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten {

// One running digest. One thread at a time. Movable; Copy forks the state.
class Hasher {
 public:
  // "sha256", "sha384" or "sha512"; kInvalidArgument otherwise.
  static Result<Hasher> Create(std::string_view algorithm);
  static Hasher Sha256();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  void Update(std::string_view data);
  void Update(const void* data, size_t size) {
    Update(std::string_view(static_cast<const char*>(data), size));
  }
  // The digest so far as lower-case hex; updates may go on.
  std::string Hex() const;
  // algorithm() ":" Hex().
  std::string Digest() const;
  std::string_view algorithm() const;
  void Reset();

 private:
  struct State;
  explicit Hasher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "sha256:<hex>" of `data`.
std::string Sha256Digest(std::string_view data);

}  // namespace corten
