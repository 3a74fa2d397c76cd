// Maps of user and group ids into a user namespace, by specification and on files. Any thread.
// Source: user_namespaces(7); OCI runtime specification, config-linux.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "oci/json.h"
#include "os/mount_options.h"

namespace corten::oci {

using IdMaps = std::vector<os::IdRange>;

// "C:H:N" for each, joined by commas.
std::string IdMapText(const IdMaps& maps);

// The host's id for `id` in the container. kInvalidArgument: no map has it.
Result<uint32_t> ToHost(const IdMaps& maps, uint32_t id);

// A user namespace of these maps in `linux`.
void SetUserNamespace(Json& linux, const IdMaps& uids, const IdMaps& gids);

// Gives every file below `root`, and `root` itself, the owner that its ids have on the host; modes,
// setuid bits included, stay. Never leaves `root`, follows no link, changes a file with several
// names once. On error some files are changed.
Status ShiftOwners(const Dir& root, const IdMaps& uids, const IdMaps& gids);

}  // namespace corten::oci
