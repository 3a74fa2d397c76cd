// What the metadata layer tells after a commit, so that somebody who knows the wire can publish it
// as an event.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "metadata/stores.h"

namespace corten::metadata {

// One committed change. Which members are set follows the kind; metadata.md 4 lists the events they
// become.
struct Change {
  enum class Kind {
    kNamespaceCreate,
    kNamespaceUpdate,
    kNamespaceDelete,  // name, labels (as in the request)
    kContainerCreate,  // name (id), image, runtime
    kContainerUpdate,  // name (id), image, labels, snapshot_key
    kContainerDelete,  // name (id)
    kImageCreate,
    kImageUpdate,      // name, labels
    kImageDelete,      // name
    kContentCreate,    // digest, size
    kContentDelete,    // digest
    kSnapshotPrepare,  // name (key), parent, snapshotter
    kSnapshotCommit,   // snapshot_key (old key), name, snapshotter
    kSnapshotRemove,   // name (key), snapshotter
  };
  Kind kind = Kind::kNamespaceCreate;
  model::Namespace ns;
  std::string name;
  std::string image;
  RuntimeInfo runtime;
  model::Labels labels;
  std::string snapshot_key;
  std::string snapshotter;
  std::string parent;
  model::Digest digest;
  int64_t size = 0;
};

// Called after the commit, outside every lock, on the caller's thread (or the collector's). Must
// not call back into the metadata layer with a write.
using ChangeObserver = std::function<void(const Change&)>;

}  // namespace corten::metadata
