#include "oci/devices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/dir.h"

namespace corten::oci {

namespace {

constexpr int kMaxDepth = 64;
constexpr const char* kSkippedDirs[] = {"pts",  "shm",         "fd",   "mqueue",
                                        ".lxc", ".lxd-mounts", ".udev"};

Json Rule(const char* type, std::optional<int> major, std::optional<int> minor) {
  Json rule = {{"allow", true}, {"type", type}};
  if (major.has_value()) rule["major"] = *major;
  if (minor.has_value()) rule["minor"] = *minor;
  rule["access"] = "rwm";
  return rule;
}

// An entry of linux.devices; null for what is not a character or block device.
Json Entry(const std::string& path, const struct stat& st) {
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) return {};
  Json entry = {{"path", path},
                {"type", S_ISCHR(st.st_mode) ? "c" : "b"},
                {"major", major(st.st_rdev)},
                {"minor", minor(st.st_rdev)}};
  entry["fileMode"] = st.st_mode & 07777;
  entry["uid"] = st.st_uid;
  entry["gid"] = st.st_gid;
  return entry;
}

bool Skipped(const std::string& name) {
  return std::find(std::begin(kSkippedDirs), std::end(kSkippedDirs), name) !=
         std::end(kSkippedDirs);
}

Status Walk(const Dir& dir, int depth, Json* out) {
  if (depth > kMaxDepth) return InvalidArgumentError(dir.path(), ": too deep");
  std::vector<std::string> names = TRY(dir.List());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const Result<struct stat> st = dir.Stat(name);
    if (!st.ok()) {
      if (st.error().Is(Code::kNotFound)) continue;
      return st.error().Clone();
    }
    if (S_ISDIR(st->st_mode)) {
      if (Skipped(name)) continue;
      const Result<Dir> below = dir.OpenDir(name);
      if (below.ok()) TRY(Walk(*below, depth + 1, out));
    } else if (name != "console") {
      Json entry = Entry(dir.Path(name), *st);
      if (!entry.is_null()) out->push_back(std::move(entry));
    }
  }
  return Ok();
}

}  // namespace

Json DefaultDeviceRules() {
  Json rules = Json::array();
  rules.push_back(Rule("c", 1, 3));               // null
  rules.push_back(Rule("c", 1, 8));               // random
  rules.push_back(Rule("c", 1, 7));               // full
  rules.push_back(Rule("c", 5, 0));               // tty
  rules.push_back(Rule("c", 1, 5));               // zero
  rules.push_back(Rule("c", 1, 9));               // urandom
  rules.push_back(Rule("c", 5, 1));               // console
  rules.push_back(Rule("c", 136, std::nullopt));  // pts/*
  rules.push_back(Rule("c", 5, 2));               // ptmx
  return rules;
}

Result<Json> DeviceEntry(const std::string& path) {
  struct stat st = {};
  if (lstat(path.c_str(), &st) != 0) return ErrnoError(errno, "lstat ", path);
  Json entry = Entry(path, st);
  if (entry.is_null()) return InvalidArgumentError(path, ": not a device node");
  return entry;
}

Result<Json> DevicesBelow(const std::string& directory) {
  const Dir dir = TRY(Dir::Open(directory));
  Json out = Json::array();
  TRY(Walk(dir, 0, &out));
  return out;
}

Status AddDevice(Json& linux, const std::string& path) {
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0)
    return ErrnoError(errno, "error stating device path: stat ", path);
  Json found = Json::array();
  if (S_ISDIR(st.st_mode)) {
    found = TRY(DevicesBelow(path));
  } else {
    Json entry = Entry(path, st);
    if (entry.is_null())
      return InvalidArgumentError("get device path: ", Quoted(path),
                                  " containerPath: \"\" error: not a device node");
    found.push_back(std::move(entry));
  }
  Json& rules = ArrayOf(ObjectOf(linux, "resources"), "devices");
  for (const Json& entry : found) {
    rules.push_back(Rule(entry["type"] == "c" ? "c" : "b", entry["major"].get<int>(),
                         entry["minor"].get<int>()));
  }
  // Only now: a new member moves the others.
  for (Json& entry : found) ArrayOf(linux, "devices").push_back(std::move(entry));
  return Ok();
}

}  // namespace corten::oci
