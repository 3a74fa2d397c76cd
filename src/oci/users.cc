#include "oci/users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

namespace corten::oci {

namespace {

constexpr size_t kMaxDatabase = 4 << 20;  // bytes of a passwd or group file
constexpr uint64_t kMaxId = 0x7fffffff;   // larger numbers count as names, as in containerd

struct PasswdEntry {
  std::string name;
  User ids;
};
struct GroupEntry {
  std::string name;
  uint32_t gid = 0;
  std::vector<std::string> members;
};

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (true) {
    const size_t at = text.find(separator);
    out.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

// The file's text; empty when there is none. kInvalidArgument: no regular file, too long.
Result<std::string> ReadDatabase(const Dir& root, const char* name) {
  const Result<Fd> file = root.OpenInRoot(name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file.ok()) {
    if (file.error().Is(Code::kNotFound)) return std::string();
    return file.error().Clone();
  }
  struct stat st = {};
  if (fstat(file->get(), &st) != 0) return ErrnoError(errno, "stat ", name);
  if (!S_ISREG(st.st_mode)) return InvalidArgumentError(name, ": not a regular file");
  std::string text;
  char block[16384];
  while (true) {
    const ssize_t n = read(file->get(), block, sizeof(block));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read ", name);
    if (n == 0) return text;
    text.append(block, static_cast<size_t>(n));
    if (text.size() > kMaxDatabase) return InvalidArgumentError(name, ": too long");
  }
}

bool ParseId(std::string_view text, uint32_t* id) {
  uint64_t value = 0;
  if (!ParseU64(text, &value) || value > UINT32_MAX) return false;
  *id = static_cast<uint32_t>(value);
  return true;
}

Result<std::vector<PasswdEntry>> ReadPasswd(const Dir& root) {
  const std::string text = TRY(ReadDatabase(root, "etc/passwd"));
  std::vector<PasswdEntry> out;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> fields = Split(line, ':');
    PasswdEntry entry;
    if (fields.size() < 4 || !ParseId(fields[2], &entry.ids.uid) ||
        !ParseId(fields[3], &entry.ids.gid))
      continue;
    entry.name = fields[0];
    out.push_back(std::move(entry));
  }
  return out;
}

Result<std::vector<GroupEntry>> ReadGroups(const Dir& root) {
  const std::string text = TRY(ReadDatabase(root, "etc/group"));
  std::vector<GroupEntry> out;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> fields = Split(line, ':');
    GroupEntry entry;
    if (fields.size() < 3 || !ParseId(fields[2], &entry.gid)) continue;
    entry.name = fields[0];
    if (fields.size() > 3 && !fields[3].empty()) entry.members = Split(fields[3], ',');
    out.push_back(std::move(entry));
  }
  return out;
}

// What `text` says by itself: numbers, or names to look up.
struct Wanted {
  std::optional<uint32_t> uid;
  std::string user;
  bool has_group = false;
  std::optional<uint32_t> gid;
  std::string group;
};

// Whether `text` is a number as Go's Atoi takes it.
bool IsNumber(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// A number, a name (nullopt), or an empty part, which is 0. `what` is "uid" or "gid".
Result<std::optional<uint32_t>> ParsePart(std::string_view part, std::string_view text,
                                          std::string_view what) {
  if (part.empty()) return std::optional<uint32_t>(0);
  if (!IsNumber(part)) return std::optional<uint32_t>();
  uint64_t value = 0;
  if (!ParseU64(part[0] == '+' ? part.substr(1) : part, &value) || value > kMaxId)
    return InvalidArgumentError("invalid USER value ", Quoted(text), ": ", what, " out of range");
  return std::optional<uint32_t>(static_cast<uint32_t>(value));
}

Result<Wanted> ParseWanted(std::string_view text) {
  const std::vector<std::string> parts = Split(text, ':');
  if (parts.size() > 2) return InvalidArgumentError("invalid USER value ", text);
  Wanted wanted;
  wanted.uid = TRY(ParsePart(parts[0], text, "uid"));
  if (!wanted.uid.has_value()) wanted.user = parts[0];
  wanted.has_group = parts.size() == 2;
  if (wanted.has_group) {
    wanted.gid = TRY(ParsePart(parts[1], text, "gid"));
    if (!wanted.gid.has_value()) wanted.group = parts[1];
  }
  return wanted;
}

Result<User> Resolve(const Dir& root, const Wanted& wanted) {
  User user;
  const std::vector<PasswdEntry> entries = TRY(ReadPasswd(root));
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const PasswdEntry& entry) {
    return wanted.uid.has_value() ? entry.ids.uid == *wanted.uid : entry.name == wanted.user;
  });
  if (found != entries.end()) {
    user = found->ids;
  } else if (wanted.uid.has_value()) {
    user.uid = *wanted.uid;
  } else {
    return NotFoundError("no users found");
  }
  if (!wanted.has_group) return user;
  if (wanted.gid.has_value()) {
    user.gid = *wanted.gid;
    return user;
  }
  const std::vector<GroupEntry> groups = TRY(ReadGroups(root));
  const auto group = std::find_if(groups.begin(), groups.end(), [&](const GroupEntry& entry) {
    return entry.name == wanted.group;
  });
  if (group == groups.end()) return NotFoundError("no groups found");
  user.gid = group->gid;
  return user;
}

void Put(Json& process, const User& user) {
  Json& json = ObjectOf(process, "user");
  json["uid"] = user.uid;
  json["gid"] = user.gid;
}

}  // namespace

Result<User> FindUser(const Dir& root, std::string_view text) {
  const Wanted wanted = TRY(ParseWanted(text));
  return Resolve(root, wanted);
}

Result<std::vector<uint32_t>> FindGroups(const Dir& root, std::string_view text) {
  std::string name(text);
  uint64_t uid = 0;
  if (ParseU64(text, &uid)) {
    const std::vector<PasswdEntry> entries = TRY(ReadPasswd(root));
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const PasswdEntry& entry) { return entry.ids.uid == uid; });
    if (found != entries.end()) name = found->name;
  }
  std::vector<uint32_t> out;
  if (name.empty()) return out;
  const std::vector<GroupEntry> groups = TRY(ReadGroups(root));
  for (const GroupEntry& group : groups) {
    if (std::find(group.members.begin(), group.members.end(), name) != group.members.end())
      out.push_back(group.gid);
  }
  return out;
}

Status SetUser(Json& process, std::string_view text, const WithRoot& with_root) {
  const Wanted wanted = TRY(ParseWanted(text));
  if (wanted.uid.has_value() && wanted.gid.has_value()) {
    Put(process, {*wanted.uid, *wanted.gid});
    return Ok();
  }
  return with_root([&](const Dir& root) -> Status {
    const User user = TRY(Resolve(root, wanted));
    Put(process, user);
    return Ok();
  });
}

Status SetAdditionalGroups(Json& process, std::string_view text, const WithRoot& with_root) {
  return with_root([&](const Dir& root) -> Status {
    std::vector<uint32_t> groups = TRY(FindGroups(root, text));
    Json& user = ObjectOf(process, "user");
    const auto gid = user.find("gid");
    const uint32_t primary =
        gid != user.end() && gid->is_number_unsigned() ? gid->get<uint32_t>() : 0;
    std::erase(groups, primary);
    groups.insert(groups.begin(), primary);
    user["additionalGids"] = groups;
    return Ok();
  });
}

}  // namespace corten::oci
