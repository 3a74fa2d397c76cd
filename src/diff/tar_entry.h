// One member of a tar archive, as the reader finds it and the writer wants it. A value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace corten::diff {

// Type flags of POSIX.1-2001 and GNU tar. The reader turns '\0' into kRegular (or kDirectory when
// the name ends in '/').
inline constexpr char kRegular = '0';
inline constexpr char kHardLink = '1';
inline constexpr char kSymlink = '2';
inline constexpr char kCharDevice = '3';
inline constexpr char kBlockDevice = '4';
inline constexpr char kDirectory = '5';
inline constexpr char kFifo = '6';
inline constexpr char kContiguous = '7';  // read and written as a regular file
inline constexpr char kPaxGlobal =
    'g';  // its records are in `pax`; they are not applied to later members
inline constexpr char kGnuSparse = 'S';

inline constexpr std::string_view kPaxXattrPrefix = "SCHILY.xattr.";

struct TarEntry {
  char type = kRegular;
  std::string name;  // as archived: may be absolute, hold "..", end in '/'
  std::string link_name;
  std::string user_name;
  std::string group_name;
  int64_t mode =
      0;  // permission bits and set-id bits (07777); writers of old put file type bits above
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;  // of the file, holes included; 0 for types without data
  Time mtime;
  std::optional<Time> atime;
  std::optional<Time> ctime;
  int64_t dev_major = 0;
  int64_t dev_minor = 0;
  bool sparse = false;  // data comes in pieces with holes between
  std::map<std::string, std::string, std::less<>>
      pax;  // extended records, xattrs under kPaxXattrPrefix

  bool has_data() const { return type == kRegular || type == kContiguous || type == kGnuSparse; }
  // Back to the values above, strings keeping their memory.
  void Clear();
};

}  // namespace corten::diff
