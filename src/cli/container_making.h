// Making a container's record and snapshot as the flags of the ctr tree say.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/session.h"
#include "model/mount.h"
#include "oci/id_maps.h"

namespace corten::cli {

// What the flags of RuntimeFlags say, for the runtime they name.
std::optional<model::Any> RuntimeOptionsOf(const Values& values);

struct MadeContainer {
  metadata::Container container;
  std::vector<model::Mount> rootfs;  // empty: the specification's root is where it is
  oci::IdMaps uids;                  // of --uidmap
  oci::IdMaps gids;
};

// Positional arguments: IMAGE|ROOTFS ID [COMMAND ARG...], with --config only ID. The image must be
// there; it is unpacked if needed. On an error nothing is left behind but unpacked layers.
Result<MadeContainer> MakeContainer(Session& session, const Values& values);

// Removes the record and, unless `keep_snapshot`, its snapshot. kNotFound.
Status RemoveContainer(Session& session, const model::ContainerId& id, bool keep_snapshot);

}  // namespace corten::cli
