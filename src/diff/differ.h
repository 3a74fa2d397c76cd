// Contract: a Differ applies layers to trees and makes layers from trees.
//
// Two heights. Differ works on descriptors, as the API does: blobs come from and go to the content
// store it was made with. StreamApplier is the engine beneath: bytes in, tree out, so that a pull
// can unpack while it downloads. Threads: any; one call works on one tree. Source: containerd diff
// API, services/diff/v1, as of 2.3 (storage.md 6 and 7).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/descriptor.h"
#include "model/labels.h"
#include "model/mount.h"

namespace corten::diff {

// Bytes from somewhere, in order.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills at most buffer.size() bytes; 0 is the end.
  virtual Result<size_t> Read(std::span<char> buffer) = 0;
};

// Bytes to somewhere, in order.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status Write(std::string_view data) = 0;
};

struct ApplyOptions {
  bool sync_fs = false;                              // flush the target filesystem before returning
  std::function<void(int64_t bytes_read)> progress;  // compressed bytes so far; may be empty
  std::function<bool()> canceled;  // asked often; true ends with kCanceled; may be empty
  int64_t max_bytes = 0;           // > 0: kResourceExhausted when the tar grows beyond
  std::map<std::string, model::Any, std::less<>> processor_payloads;  // by stream processor id
};

class StreamApplier {
 public:
  virtual ~StreamApplier() = default;
  // Unpacks the layer `source` (of descriptor.media_type, compressed or not; sniffed as containerd
  // does) onto `mounts`. Returns the descriptor of the uncompressed layer: its digest is the diff
  // ID. kUnimplemented: no processor for the media type. kInvalidArgument: not a valid archive.
  // Nothing outside the tree is ever touched, whatever the archive says. On error the tree is in an
  // undefined state and must be removed.
  virtual Result<model::Descriptor> ApplyStream(const model::Descriptor& descriptor,
                                                const std::vector<model::Mount>& mounts,
                                                ByteSource& source,
                                                const ApplyOptions& options) = 0;
};

struct CompareOptions {
  std::string media_type;                 // empty: OCI gzip; OCI tar, tar+gzip, tar+zstd are known
  std::string reference;                  // ingest ref; empty: one is made up
  model::Labels labels;                   // of the blob
  std::optional<Time> source_date_epoch;  // caps all times in the layer
  std::function<bool()> canceled;
};

class Differ {
 public:
  virtual ~Differ() = default;
  // Unpacks blob `descriptor` onto `mounts`. Errors as ApplyStream, and kNotFound (no such blob).
  virtual Result<model::Descriptor> Apply(const model::Descriptor& descriptor,
                                          const std::vector<model::Mount>& mounts,
                                          const ApplyOptions& options) = 0;
  // Writes what differs between two trees as a layer blob and returns its descriptor; a compressed
  // one carries the label and annotation containerd.io/uncompressed. kUnimplemented: media type.
  virtual Result<model::Descriptor> Compare(const std::vector<model::Mount>& lower,
                                            const std::vector<model::Mount>& upper,
                                            const CompareOptions& options) = 0;
};

}  // namespace corten::diff
