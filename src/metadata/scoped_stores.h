// Contract: views of blobs and snapshots on behalf of one caller (namespace and lease).
// Implementations: metadata_db and client. Views are cheap, made per request, and must not outlive
// their maker.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "content/store.h"
#include "model/scope.h"
#include "snapshot/snapshotter.h"

namespace corten::metadata {

class ScopedStores {
 public:
  virtual ~ScopedStores() = default;
  virtual std::unique_ptr<content::Store> Content(const model::Scope& scope) = 0;
  // kInvalidArgument "snapshotter argument missing" or "snapshotter not loaded: NAME".
  virtual Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(
      const model::Scope& scope, const std::string& snapshotter) = 0;
};

}  // namespace corten::metadata
