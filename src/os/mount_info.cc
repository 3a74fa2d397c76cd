#include "os/mount_info.h"

#include "base/dir.h"

namespace corten::os {

namespace {

constexpr size_t kMaxMountInfo = size_t{64}
                                 << 20;  // far above 100,000 mounts, the kernel's default limit

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

std::string Unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string_view NextWord(std::string_view* line) {
  const size_t space = line->find(' ');
  const std::string_view word = line->substr(0, space);
  line->remove_prefix(space == std::string_view::npos ? line->size() : space + 1);
  return word;
}

bool ParseLine(std::string_view line, MountEntry* entry) {
  if (!ParseU64(NextWord(&line), &entry->id) || !ParseU64(NextWord(&line), &entry->parent))
    return false;
  (void)NextWord(&line);  // major:minor
  entry->root = Unescape(NextWord(&line));
  entry->mount_point = Unescape(NextWord(&line));
  entry->options = std::string(NextWord(&line));
  while (true) {
    if (line.empty()) return false;
    const std::string_view word = NextWord(&line);
    if (word == "-") break;
    if (!entry->propagation.empty()) entry->propagation.push_back(' ');
    entry->propagation.append(word);
  }
  entry->fs_type = Unescape(NextWord(&line));
  entry->source = Unescape(NextWord(&line));
  entry->super_options = Unescape(line);
  return !entry->mount_point.empty() && !entry->fs_type.empty();
}

}  // namespace

Result<std::vector<MountEntry>> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    MountEntry entry;
    if (!ParseLine(line, &entry))
      return InvalidArgumentError("mount table: cannot read line ", Quoted(line));
    out.push_back(std::move(entry));
  }
  return out;
}

Result<std::vector<MountEntry>> ReadMountInfo() {
  const std::string text = TRY(ReadFileAt("/proc/self/mountinfo", kMaxMountInfo));
  return ParseMountInfo(text);
}

std::vector<MountEntry> MountsAtOrBelow(const std::vector<MountEntry>& table,
                                        std::string_view path) {
  std::vector<MountEntry> out;
  for (const MountEntry& entry : table) {
    const std::string_view point = entry.mount_point;
    if (!point.starts_with(path)) continue;
    if (point.size() == path.size() || path == "/" || point[path.size()] == '/')
      out.push_back(entry);
  }
  return out;
}

Result<bool> IsMountPoint(const std::string& path) {
  const std::vector<MountEntry> table = TRY(ReadMountInfo());
  for (const MountEntry& entry : table) {
    if (entry.mount_point == path) return true;
  }
  return false;
}

}  // namespace corten::os
