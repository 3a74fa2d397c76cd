// What a long operation on an image tells while it works. The words are containerd's transfer
// events; clients draw bars from them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/descriptor.h"

namespace corten::image {

struct Progress {
  std::string
      event;         // "Resolving from OCI Registry (REF)", "downloading", "extracted", "saved" ...
  std::string name;  // of the object: its ingest reference; empty for lines about the whole
  std::vector<std::string> parents;  // names of the objects that refer to it
  int64_t progress = 0;              // bytes
  int64_t total = 0;                 // bytes; 0: unknown
  model::Descriptor descriptor;
};

// May be called from any thread, one call at a time is not promised; must not block. Empty: nobody
// listens.
using ProgressSink = std::function<void(const Progress&)>;

// Asked between steps and chunks; true ends the operation with kCanceled. Empty: never.
using Canceled = std::function<bool()>;

}  // namespace corten::image
