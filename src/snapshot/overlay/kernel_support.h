// What the kernel and the filesystem below a root can do for overlay mounts. Nothing stays mounted.
#pragma once

#include "base/dir.h"

namespace corten::snapshot::overlay {

// Whether listings tell file types, which overlayfs needs of its upper filesystem.
Result<bool> ListsFileTypes(const Dir& dir);
// Whether the overlay module has an `index` switch (and so may have it on by default).
bool HasIndexSwitch();
bool InUserNamespace();
// In a user namespace overlayfs must keep its marks in user.* attributes: `userxattr`, since
// Linux 5.11. Tries a mount on directories of its own in `dir`. False outside of user namespaces.
bool NeedsUserXattr(const Dir& dir);
// Whether id-mapped directories may be lower layers (Linux 5.19, and a filesystem that can be
// id-mapped).
bool TakesIdMappedLayers(const Dir& dir);

}  // namespace corten::snapshot::overlay
