// Contract: how a room that keeps things outside the database (mounts, streams) takes part in
// garbage collection.
//
// A run asks each collector once for everything it holds, follows `gc.ref.LABEL` labels of rows to
// them and their own `gc.bref.*` labels back, keeps what a live lease names, and in the end removes
// the rest. Things that appear after Resources was called are not touched by that run. Threads: the
// collector's methods are called from the thread of the run, one run at a time; its owner may be
// busy with other calls meanwhile, Remove must therefore answer kNotFound for what is gone and may
// refuse what is in use.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "model/ids.h"
#include "model/labels.h"

namespace corten::metadata {

struct CollectedResource {
  model::Namespace ns;
  std::string key;
  std::vector<model::LeaseId> leases;  // that hold it, expired or not
  model::Labels labels;                // gc.bref.* keep it while those objects live
  bool active = false;                 // a root of its own
};

class Collector {
 public:
  virtual ~Collector() = default;
  // The word after `containerd.io/gc.ref.` that names things of this collector ("mount"); empty:
  // they cannot be named.
  virtual std::string ReferenceLabel() const = 0;
  virtual Result<std::vector<CollectedResource>> Resources() = 0;
  // Removes one resource that nothing keeps. kNotFound is no failure.
  virtual Status Remove(const model::Namespace& ns, const std::string& key) = 0;
};

}  // namespace corten::metadata
