#include "snapshot/id_owner.h"

#include "os/mount_options.h"
#include "snapshot/snapshotter.h"

namespace corten::snapshot {

namespace {
Result<uint32_t> HostRoot(const std::string& map) {
  const std::vector<os::IdRange> ranges = TRY(os::ParseIdMap(map));
  for (const os::IdRange& range : ranges) {
    if (range.container == 0 && range.size > 0) return range.host;
  }
  return InvalidArgumentError("id map ", Quoted(map), " has no root");
}
}  // namespace

Result<std::optional<Owner>> MappedRoot(const model::Labels& labels) {
  const auto uids = labels.find(kUidMappingLabel);
  const auto gids = labels.find(kGidMappingLabel);
  if (uids == labels.end() && gids == labels.end()) return std::optional<Owner>();
  if (uids == labels.end() || gids == labels.end())
    return InvalidArgumentError("only one of the two id maps is given");
  Owner owner;
  owner.uid = TRY(HostRoot(uids->second));
  owner.gid = TRY(HostRoot(gids->second));
  return std::optional<Owner>(owner);
}

}  // namespace corten::snapshot
