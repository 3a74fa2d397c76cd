#include "bolt/lock_holder.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "base/strcat.h"

namespace corten::bolt {

namespace {

constexpr size_t kMaxLocks = size_t{4} << 20;  // bytes of /proc/locks that are looked at
constexpr size_t kMaxCommand = 256;

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = line.find_first_not_of(' ');
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const size_t end = std::min(line.find(' '), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

template <typename T>
std::optional<T> Number(std::string_view text, int base) {
  T value{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Lock {
  pid_t pid = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t inode = 0;
};

// proc(5): `1: FLOCK  ADVISORY  WRITE 708 08:02:130 0 EOF`; waiters have `->` as their second word.
std::optional<Lock> ParseLock(std::string_view line) {
  const std::vector<std::string_view> words = Words(line);
  if (words.size() < 6 || words[1] != "FLOCK") return std::nullopt;
  const std::string_view place = words[5];
  const size_t first = place.find(':');
  const size_t second = place.find(':', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  const auto pid = Number<pid_t>(words[4], 10);
  const auto major_number = Number<uint32_t>(place.substr(0, first), 16);
  const auto minor_number = Number<uint32_t>(place.substr(first + 1, second - first - 1), 16);
  const auto inode = Number<uint64_t>(place.substr(second + 1), 10);
  if (!pid || !major_number || !minor_number || !inode) return std::nullopt;
  return Lock{*pid, *major_number, *minor_number, *inode};
}

}  // namespace

pid_t FindLockHolder(std::string_view locks, dev_t device, ino_t inode) {
  pid_t by_inode = 0;
  size_t same_inode = 0;
  while (!locks.empty()) {
    const size_t end = std::min(locks.find('\n'), locks.size());
    const std::optional<Lock> lock = ParseLock(locks.substr(0, end));
    locks.remove_prefix(std::min(end + 1, locks.size()));
    if (!lock || lock->inode != inode || lock->pid <= 0) continue;
    if (lock->major == major(device) && lock->minor == minor(device)) return lock->pid;
    by_inode = lock->pid;
    ++same_inode;
  }
  return same_inode == 1 ? by_inode : 0;
}

std::string DescribeLockHolder(int fd) {
  struct stat info{};
  const Result<std::string> locks = ReadFileAt("/proc/locks", kMaxLocks);
  if (!locks.ok() || fstat(fd, &info) != 0) return "another process";
  const pid_t pid = FindLockHolder(*locks, info.st_dev, info.st_ino);
  if (pid == 0) return "another process";
  const Result<std::string> command = ReadFileAt(StrCat("/proc/", pid, "/comm"), kMaxCommand);
  if (!command.ok()) return StrCat("process ", pid);
  return StrCat("process ", pid, " (", command->substr(0, command->find('\n')), ")");
}

}  // namespace corten::bolt
