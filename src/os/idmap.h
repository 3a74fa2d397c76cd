// Id-mapped mounts: the same tree with other owners.
//
// Source: mount_setattr(2), user_namespaces(7). Threads: any. Needs root and a filesystem that
// supports it.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "os/mount_options.h"

namespace corten::os {

// A user namespace that has these maps and no process in it. The descriptor keeps it alive.
Result<Fd> MakeUserNamespace(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids);

// A detached clone of the mount tree at `source`, id-mapped by `user_namespace`, read-only if
// asked. Errors by errno: EINVAL means that the filesystem cannot do it (kInvalidArgument).
enum class Access { kReadWrite, kReadOnly };
Result<Fd> CloneIdMapped(const std::string& source, FdRef user_namespace, Access access);

// Puts a detached mount at `target`.
Status AttachMount(FdRef mount, const std::string& target);

}  // namespace corten::os
