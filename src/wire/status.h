// Errors on the wire: google.rpc.Status, the same in gRPC's trailers and in ttrpc's responses.
//
// One table for both directions. The message is the whole chain of contexts, ending in the code's
// marker
// (`container "x": not found`); a receiver drops the marker again, so that passing an error on does
// not pile them up. Threads: plain functions. Source: containerd 2.3 errdefs, `docs/` wire notes,
// section errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::wire {

// Longer texts are cut in the middle, so that subject and marker survive. gRPC carries the text in
// trailers, and peers refuse large ones.
inline constexpr size_t kMaxStatusText = 4096;

struct RpcStatus {
  int32_t code = 0;  // 0: success
  std::string message;
  std::vector<std::string> details;  // each a serialised google.protobuf.Any, opaque here

  bool operator==(const RpcStatus&) const = default;
};

// Code and Error::WireText, made valid UTF-8 and cut at kMaxStatusText. No details.
RpcStatus StatusFromError(const Error& error);

// The error that a peer meant. A trailing `: MARKER` of the code is dropped (WireText adds it
// again); `: conflict` and
// `: not modified` stay, because with FAILED_PRECONDITION the text decides. Code numbers unknown to
// us become kUnknown. REQUIRES: code != 0.
Error ErrorFromStatus(int32_t code, std::string_view message);
inline Error ErrorFromStatus(const RpcStatus& status) {
  return ErrorFromStatus(status.code, status.message);
}

// The message google.rpc.Status, as bytes.
std::string EncodeStatus(const RpcStatus& status);
// kInvalidArgument if `bytes` is no such message. Unknown fields are skipped.
Result<RpcStatus> DecodeStatus(std::string_view bytes);

}  // namespace corten::wire
