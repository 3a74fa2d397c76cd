// OCI JSON as the daemon and the client read it: an image's configuration and a container's spec.
// Any text gives an answer or kInvalidArgument; a spec that was made is a spec that can be read.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "oci/spec.h"
#include "runtime/bundle.h"

namespace {

constexpr size_t kMaxInput = size_t{64} << 10;

void TryInput(const std::string& text) {
  (void)corten::runtime::ReadSpecFacts(text);
  corten::oci::SpecRequest request;
  request.ns = "default";
  request.id = "c";
  request.image_config = text;
  const corten::Result<std::string> spec = corten::oci::MakeSpec(request);
  if (spec.ok()) {
    (void)corten::runtime::ReadSpecFacts(*spec);
    CHECK(corten::oci::MakeExecProcess(*spec, {"true"}, {"A=b"}, false, "").ok());
  } else {
    CHECK(spec.error().Is(corten::Code::kInvalidArgument));
  }
  const auto process = corten::oci::MakeExecProcess(text, {"true"}, {}, true, "/");
  if (!process.ok()) CHECK(process.error().Is(corten::Code::kInvalidArgument));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size <= kMaxInput) TryInput(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
