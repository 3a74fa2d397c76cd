// What daemon and shim tell each other while a shim starts, in every generation of the protocol.
//
// Going in (stdin of `SHIM start`): BootstrapParams, or the bare options Any for shims before 2.3.
// Coming out (stdout and stderr together, and the file bootstrap.json): BootstrapResult in
// protobuf, JSON, or a plain address. Values and pure functions; any thread. Source: containerd 2.3
// runtime v2; runtime.md 6.1, wire notes 7.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/labels.h"

namespace corten::runtime {

// Where a shim listens and what it speaks.
struct Endpoint {
  int version = 0;       // of the task service: 2 or 3
  std::string address;   // "unix:///path", abstract name, "vsock://..."; a plain path with grpc
  std::string protocol;  // "ttrpc" or "grpc", as the shim wrote it
  bool operator==(const Endpoint&) const = default;
};

// The newest task service that is spoken here.
inline constexpr int kMaxTaskVersion = 3;
// Larger answers of a shim are not an address.
inline constexpr size_t kMaxAnswer = size_t{1} << 20;

// Reads an answer in the order protobuf, JSON with version >= 2, plain text (ttrpc, version 2).
// Errors: kUnimplemented (version above 3), kInvalidArgument (empty answer, no address, no
// protocol).
Result<Endpoint> ParseEndpoint(std::string_view answer);
// The text of bootstrap.json: {"version":3,"address":"...","protocol":"ttrpc"}, no newline.
std::string EncodeEndpoint(const Endpoint& endpoint);

struct BootstrapInput {
  std::string id;
  std::string ns;
  bool debug = false;
  std::string daemon_version;
  std::string ttrpc_address;
  std::string grpc_address;
  std::string daemon_binary;
  std::optional<model::Any> options;  // goes along as an extension, byte for byte
  std::string socket_dir;             // empty: not told
};

// The bytes for the stdin of `binary start`: BootstrapParams; the options Any alone (nothing
// without options) for binaries whose base name contains `shim-runc-v1` or `shim-runhcs-v1`.
std::string EncodeBootstrapInput(const BootstrapInput& input, std::string_view binary);

}  // namespace corten::runtime
