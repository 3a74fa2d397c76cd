// How much a directory tree takes: blocks and inodes, hard links counted once.
#pragma once

#include "base/dir.h"
#include "snapshot/snapshotter.h"

namespace corten::snapshot {

// Counts `dir` itself and everything below it on the same filesystem, without following links.
// Names that go while the tree is read are left out. Descriptors: bounded (DirStack); memory: one
// entry for each inode with several links. Errors by errno; kAborted (directories are moved faster
// than they can be read).
Result<Usage> MeasureTree(const Dir& dir);

}  // namespace corten::snapshot
