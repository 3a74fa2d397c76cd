#include "os/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace corten::os {

namespace {

struct FlagWord {
  std::string_view word;
  unsigned long flag;
  bool clear;
};

// Sorted by word for a binary search.
constexpr FlagWord kFlags[] = {
    {"async", MS_SYNCHRONOUS, true},
    {"atime", MS_NOATIME, true},
    {"bind", MS_BIND, false},
    {"defaults", 0, false},
    {"dev", MS_NODEV, true},
    {"diratime", MS_NODIRATIME, true},
    {"dirsync", MS_DIRSYNC, false},
    {"exec", MS_NOEXEC, true},
    {"lazytime", MS_LAZYTIME, false},
    {"mand", MS_MANDLOCK, false},
    {"noatime", MS_NOATIME, false},
    {"nodev", MS_NODEV, false},
    {"nodiratime", MS_NODIRATIME, false},
    {"noexec", MS_NOEXEC, false},
    {"nolazytime", MS_LAZYTIME, true},
    {"nomand", MS_MANDLOCK, true},
    {"norelatime", MS_RELATIME, true},
    {"nostrictatime", MS_STRICTATIME, true},
    {"nosuid", MS_NOSUID, false},
    {"rbind", MS_BIND | MS_REC, false},
    {"relatime", MS_RELATIME, false},
    {"remount", MS_REMOUNT, false},
    {"ro", MS_RDONLY, false},
    {"rw", MS_RDONLY, true},
    {"silent", MS_SILENT, false},
    {"strictatime", MS_STRICTATIME, false},
    {"suid", MS_NOSUID, true},
    {"sync", MS_SYNCHRONOUS, false},
};

struct PropagationWord {
  std::string_view word;
  unsigned long flag;
};
constexpr PropagationWord kPropagation[] = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
    {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
    {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};

constexpr size_t kMaxIdRanges = 340;  // user_namespaces(7)

const FlagWord* FindFlag(std::string_view word) {
  const auto* found =
      std::lower_bound(std::begin(kFlags), std::end(kFlags), word,
                       [](const FlagWord& entry, std::string_view w) { return entry.word < w; });
  return found != std::end(kFlags) && found->word == word ? found : nullptr;
}

bool ReadU32(std::string_view* rest, char end, uint32_t* value) {
  const size_t stop = end == 0 ? rest->size() : rest->find(end);
  if (stop == std::string_view::npos) return false;
  uint64_t wide = 0;
  if (!ParseU64(rest->substr(0, stop), &wide) || wide > UINT32_MAX) return false;
  *value = static_cast<uint32_t>(wide);
  rest->remove_prefix(std::min(stop + 1, rest->size()));
  return true;
}

// Splits at colons that no backslash stands before; the escapes are undone.
std::vector<std::string> SplitLower(std::string_view text) {
  std::vector<std::string> out;
  std::string part;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ':' || text[i + 1] == '\\')) {
      part.push_back(text[++i]);
    } else if (text[i] == ':') {
      out.push_back(std::move(part));
      part.clear();
    } else {
      part.push_back(text[i]);
    }
  }
  out.push_back(std::move(part));
  return out;
}

bool IsOverlay(const model::Mount& mount) { return mount.type == "overlay"; }

}  // namespace

Result<MountWords> ParseMountOptions(const std::vector<std::string>& options) {
  MountWords out;
  for (const std::string& word : options) {
    if (const FlagWord* flag = FindFlag(word); flag != nullptr) {
      out.flags = flag->clear ? out.flags & ~flag->flag : out.flags | flag->flag;
      continue;
    }
    const auto* propagation =
        std::find_if(std::begin(kPropagation), std::end(kPropagation),
                     [&](const PropagationWord& entry) { return entry.word == word; });
    if (propagation != std::end(kPropagation)) {
      out.propagation.push_back(propagation->flag);
    } else if (word == "loop") {
      out.loop = true;
    } else if (word == "direct-io") {
      out.direct_io = true;
    } else if (word.starts_with("uidmap=")) {
      out.uid_map = word.substr(7);
    } else if (word.starts_with("gidmap=")) {
      out.gid_map = word.substr(7);
    } else if (word.starts_with("X-containerd.")) {
      return InvalidArgumentError("mount option ", Quoted(word),
                                  " was not handled by the mount manager");
    } else if (!word.empty()) {
      out.data.push_back(word);
    }
  }
  if (out.uid_map.empty() != out.gid_map.empty()) {
    return InvalidArgumentError("mount options uidmap and gidmap must be given together");
  }
  return out;
}

Result<std::vector<IdRange>> ParseIdMap(const std::string& text) {
  std::vector<IdRange> out;
  std::string_view all = text;
  while (true) {
    const size_t comma = all.find(',');
    std::string_view part = all.substr(0, comma);
    IdRange range;
    if (!ReadU32(&part, ':', &range.container) || !ReadU32(&part, ':', &range.host) ||
        !ReadU32(&part, 0, &range.size) || range.size == 0) {
      return InvalidArgumentError("id map ", Quoted(text), ": expected container:host:size");
    }
    out.push_back(range);
    if (out.size() > kMaxIdRanges)
      return InvalidArgumentError("id map: more than ", kMaxIdRanges, " ranges");
    if (comma == std::string_view::npos) return out;
    all.remove_prefix(comma + 1);
  }
}

OverlayWords ParseOverlay(const std::vector<std::string>& data) {
  OverlayWords out;
  for (const std::string& word : data) {
    if (word.starts_with("lowerdir=")) {
      out.lower = SplitLower(std::string_view(word).substr(9));
    } else if (word.starts_with("upperdir=")) {
      out.upper = word.substr(9);
    } else if (word.starts_with("workdir=")) {
      out.work = word.substr(8);
    } else {
      out.others.push_back(word);
    }
  }
  return out;
}

std::vector<std::string> FormatOverlay(const OverlayWords& words) {
  std::vector<std::string> out = words.others;
  if (!words.work.empty()) out.push_back(StrCat("workdir=", words.work));
  if (!words.upper.empty()) out.push_back(StrCat("upperdir=", words.upper));
  std::string lower = "lowerdir=";
  for (size_t i = 0; i < words.lower.size(); ++i) {
    if (i != 0) lower.push_back(':');
    for (const char c : words.lower[i]) {
      if (c == ':' || c == '\\') lower.push_back('\\');
      lower.push_back(c);
    }
  }
  out.push_back(std::move(lower));
  return out;
}

std::string CommonDirectory(const std::vector<std::string>& paths) {
  if (paths.empty()) return "";
  std::string common =
      paths[0].substr(0, paths[0].rfind('/') == std::string::npos ? 0 : paths[0].rfind('/'));
  for (const std::string& path : paths) {
    while (!common.empty() && !(path.starts_with(common) && path.size() > common.size() &&
                                path[common.size()] == '/')) {
      common.resize(common.rfind('/') == std::string::npos ? 0 : common.rfind('/'));
    }
  }
  return common;
}

std::vector<model::Mount> ReadOnlyMounts(std::vector<model::Mount> mounts) {
  for (model::Mount& mount : mounts) {
    if (!IsOverlay(mount)) {
      std::erase(mount.options, "rw");
      if (std::find(mount.options.begin(), mount.options.end(), "ro") == mount.options.end())
        mount.options.emplace_back("ro");
      continue;
    }
    std::erase_if(mount.options, [](const std::string& word) {
      return word == "volatile" || word.starts_with("uidmap=") || word.starts_with("gidmap=");
    });
    OverlayWords words = ParseOverlay(mount.options);
    if (words.upper.empty()) continue;
    words.lower.insert(words.lower.begin(), std::move(words.upper));
    words.upper.clear();
    words.work.clear();
    mount.options = FormatOverlay(words);
  }
  return mounts;
}

std::vector<model::Mount> WithoutVolatile(std::vector<model::Mount> mounts) {
  for (model::Mount& mount : mounts) {
    if (IsOverlay(mount)) std::erase(mount.options, "volatile");
  }
  return mounts;
}

}  // namespace corten::os
