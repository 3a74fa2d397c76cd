// Any bytes as an image reference: no crash; what is accepted is written back as it was read, and
// Docker's long form of a name is its own long form.
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/descriptor.h"
#include "model/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto parsed = corten::model::ParseReference(text);
  if (parsed.ok()) {
    if (parsed->str() != text || parsed->host().empty()) __builtin_trap();
    (void)parsed->path();
    (void)parsed->tag();
    (void)parsed->digest();
  }
  const auto full = corten::model::NormalizeDockerReference(text);
  if (full.ok()) {
    const auto again = corten::model::NormalizeDockerReference(*full);
    if (!again.ok() || *again != *full || !corten::model::ParseReference(*full).ok())
      __builtin_trap();
  }
  (void)corten::model::ParsePlatform(text);
  return 0;
}
