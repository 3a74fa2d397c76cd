// Overlay mounts whose options may be longer than a page. Internal to os/mount.cc; declared for its
// test.
#pragma once

#include <string>

#include "base/error.h"
#include "os/mount_options.h"

namespace corten::os {

// By fsopen/fsconfig: `lowerdir+` once per directory, no limit of the whole. kUnimplemented when
// the kernel lacks the calls or the key (before 6.7), then nothing has been mounted.
Status MountOverlayByParts(const std::string& source, const OverlayWords& words,
                           unsigned long flags, const std::string& target);

// By mount(2) with directories relative to their common one, from a thread of its own that stands
// there. kInvalidArgument `mount options is too long` when even that exceeds a page.
Status MountOverlayFromCommonDirectory(const std::string& source, const OverlayWords& words,
                                       unsigned long flags, const std::string& target);

}  // namespace corten::os
