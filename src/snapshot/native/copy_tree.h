// Copies a directory tree as it is: owners, modes, times, hard links, devices, extended attributes.
#pragma once

#include "base/dir.h"

namespace corten::snapshot::native {

// Copies what is below `from`, and the attributes of `from` itself, to the empty directory `to`.
// File data is shared where the filesystem can (FICLONE) and holes stay holes. Sockets are left
// out. Extended attributes security.* and trusted.* that the target refuses are left out. Nothing
// is flushed. Descriptors: bounded. On error `to` holds a part of the tree. kAborted: `from` is
// changed meanwhile.
Status CopyTree(const Dir& from, const Dir& to);

}  // namespace corten::snapshot::native
