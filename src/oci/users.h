// Users and groups of a container by its own /etc/passwd and /etc/group.
//
// The files belong to the container: they are opened inside its root (no link leads out, no magic
// link, nothing but a regular file) and read up to a bound. A missing file has no entries. Lines
// that are not understood are passed over. Threads: any, the functions keep nothing. Source:
// passwd(5), group(5); containerd 2.3's rules for --user, seen from outside.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

// Runs the body with the container's root open; Mounting it for that long is the caller's matter.
using WithRoot = std::function<Status(const std::function<Status(const Dir& root)>& body)>;

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool operator==(const User&) const = default;
};

// `text` is UID, NAME, UID:GID or any mix with names; an empty part beside a colon is 0. A UID
// alone takes its group from passwd, or 0. kInvalidArgument: two colons, a number out of range;
// kNotFound "no users found", "no groups found" for a name.
Result<User> FindUser(const Dir& root, std::string_view text);

// The groups that name the user as a member, in the order of /etc/group. `text` is a UID or a NAME
// as a whole: with a colon it names nobody.
Result<std::vector<uint32_t>> FindGroups(const Dir& root, std::string_view text);

// Sets `process.user` to `text`; UID:GID in numbers does not need the root.
Status SetUser(Json& process, std::string_view text, const WithRoot& with_root);
// Adds the primary group and FindGroups to `process.user.additionalGids`.
Status SetAdditionalGroups(Json& process, std::string_view text, const WithRoot& with_root);

}  // namespace corten::oci
