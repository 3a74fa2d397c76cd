#include "oci/id_maps.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

namespace corten::oci {

namespace {

constexpr size_t kMaxDepth = 1024;  // directories open at once

Json MapJson(const IdMaps& maps) {
  Json out = Json::array();
  for (const os::IdRange& map : maps)
    out.push_back({{"containerID", map.container}, {"hostID", map.host}, {"size", map.size}});
  return out;
}

struct Shift {
  const IdMaps& uids;
  const IdMaps& gids;
  std::set<std::pair<dev_t, ino_t>> linked;  // files with several names, changed already

  Status One(FdRef dir, const char* name, const struct stat& st) {
    const uint32_t uid = TRY(ToHost(uids, st.st_uid));
    const uint32_t gid = TRY(ToHost(gids, st.st_gid));
    if (fchownat(dir.get(), name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0)
      return ErrnoError(errno, "change owner of ", name);
    // A change of owner takes setuid and setgid bits away.
    if (S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID)) != 0 &&
        fchmodat(dir.get(), name, st.st_mode & 07777, 0) != 0)
      return ErrnoError(errno, "restore mode of ", name);
    return Ok();
  }

  Status Below(const Dir& dir, size_t depth) {
    if (depth > kMaxDepth) return InvalidArgumentError(dir.path(), ": too deep");
    const std::vector<std::string> names = TRY(dir.List());
    for (const std::string& name : names) {
      const struct stat st = TRY(dir.Stat(name));
      if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !linked.emplace(st.st_dev, st.st_ino).second)
        continue;
      TRY(One(dir.fd(), name.c_str(), st));
      if (!S_ISDIR(st.st_mode)) continue;
      const Dir below = TRY(dir.OpenDir(name));
      TRY(Below(below, depth + 1));
    }
    return Ok();
  }
};

}  // namespace

std::string IdMapText(const IdMaps& maps) {
  std::string out;
  for (const os::IdRange& map : maps)
    out += StrCat(out.empty() ? "" : ",", map.container, ":", map.host, ":", map.size);
  return out;
}

Result<uint32_t> ToHost(const IdMaps& maps, uint32_t id) {
  for (const os::IdRange& map : maps) {
    if (id >= map.container && id - map.container < map.size)
      return map.host + (id - map.container);
  }
  return InvalidArgumentError("id ", id, ": no map has it");
}

void SetUserNamespace(Json& linux, const IdMaps& uids, const IdMaps& gids) {
  bool there = false;
  for (const Json& entry : ArrayOf(linux, "namespaces")) there |= String(entry, "type") == "user";
  if (!there) ArrayOf(linux, "namespaces").push_back({{"type", "user"}});
  linux["uidMappings"] = MapJson(uids);
  linux["gidMappings"] = MapJson(gids);
}

Status ShiftOwners(const Dir& root, const IdMaps& uids, const IdMaps& gids) {
  Shift shift{uids, gids, {}};
  struct stat st = {};
  if (fstat(root.fd().get(), &st) != 0) return ErrnoError(errno, "stat ", root.path());
  TRY(shift.One(root.fd(), "", st));
  return shift.Below(root, 0);
}

}  // namespace corten::oci
