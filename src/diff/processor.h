// From a layer's media type to plain tar: the chain of stream processors.
//
// Built in: OCI and Docker layers, sniffed where the type speaks of compression (decompress.h).
// Configured: external programs (standard input: data; standard output: the result; environment:
// ours, STREAM_PROCESSOR_MEDIATYPE=<type of the input> and the configured variables; the payload, a
// serialised google.protobuf.Any, on descriptor 3). A later program precedes an earlier one, and
// all precede what is built in. Source: containerd stream processors, as of 2.3 (storage.md 6).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "diff/decompress.h"
#include "diff/differ.h"

namespace corten::diff {

struct ProcessorConfig {
  std::string id;
  std::vector<std::string> accepts;  // media types it takes
  std::string returns;               // media type it makes
  std::string path;                  // the program
  std::vector<std::string> args;
  std::vector<std::string> env;  // KEY=VALUE, beside our own environment
};

// Sources stacked on each other; the last one gives plain tar. One thread.
class ProcessorChain final : public ByteSource {
 public:
  using Payloads = std::map<std::string, model::Any, std::less<>>;

  // `source` is borrowed for the chain's life. Programs are started here and killed by the
  // destructor. kUnimplemented: `failed to get stream processor for TYPE: no processor for
  // media-type`; kInvalidArgument: programs that lead to each other for ever.
  static Result<std::unique_ptr<ProcessorChain>> Open(
      ByteSource& source, std::string_view media_type,
      const std::vector<ProcessorConfig>& processors, const Payloads& payloads,
      GzipEngine engine = GzipEngine::kBest);
  // A program that ends with a status other than 0 makes the last Read an error carrying what it
  // wrote to standard error.
  Result<size_t> Read(std::span<char> buffer) override { return sources_.back()->Read(buffer); }

 private:
  ProcessorChain() = default;
  std::vector<std::unique_ptr<ByteSource>> sources_;  // each reads the one before
};

}  // namespace corten::diff
