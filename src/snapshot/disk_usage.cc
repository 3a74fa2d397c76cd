#include "snapshot/disk_usage.h"

#include <fcntl.h>

#include <cerrno>
#include <set>

#include "snapshot/dir_stack.h"

namespace corten::snapshot {

namespace {

constexpr int64_t kBlock = 512;  // bytes, the unit of st_blocks
constexpr int kAttempts = 3;     // of a walk whose ground moves

class Measure {
 public:
  Result<Usage> Run(const Dir& top) {
    DirStack stack = TRY(DirStack::Create(top));
    struct stat st = {};
    if (fstat(stack.current().fd().get(), &st) != 0) return ErrnoError(errno, "stat ", top.path());
    device_ = st.st_dev;
    Count(st);
    std::vector<std::vector<std::string>> waiting;  // directories still to enter, by level
    std::vector<std::string> directories = TRY(CountEntries(stack.current()));
    waiting.push_back(std::move(directories));
    while (!waiting.empty()) {
      if (waiting.back().empty()) {
        waiting.pop_back();
        if (!waiting.empty()) TRY(stack.Leave());
        continue;
      }
      const std::string name = std::move(waiting.back().back());
      waiting.back().pop_back();
      const Status entered = stack.Enter(name);
      if (!entered.ok()) {
        const int err = entered.error().sys_errno();
        if (err == ENOENT || err == ENOTDIR || err == ELOOP)
          continue;  // gone, or something else stands there now
        return entered.error().Clone();
      }
      directories = TRY(CountEntries(stack.current()));
      waiting.push_back(std::move(directories));
    }
    return usage_;
  }

 private:
  void Count(const struct stat& st) {
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !linked_.insert(st.st_ino).second) return;
    ++usage_.inodes;
    usage_.size += st.st_blocks * kBlock;
  }

  // Counts what stands in `dir` and returns the directories among it.
  Result<std::vector<std::string>> CountEntries(const Dir& dir) {
    const std::vector<std::string> names = TRY(dir.List());
    std::vector<std::string> directories;
    for (const std::string& name : names) {
      struct stat st = {};
      if (fstatat(dir.fd().get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return ErrnoError(errno, "stat ", dir.path(), "/.../", name);
      }
      if (st.st_dev != device_) continue;
      Count(st);
      if (S_ISDIR(st.st_mode)) directories.push_back(name);
    }
    return directories;
  }

  dev_t device_ = 0;
  std::set<ino_t> linked_;  // inodes with several links that were seen
  Usage usage_;
};

}  // namespace

Result<Usage> MeasureTree(const Dir& dir) {
  for (int attempt = 1;; ++attempt) {
    Result<Usage> usage = Measure().Run(dir);
    if (usage.ok() || !usage.error().Is(Code::kAborted) || attempt == kAttempts) return usage;
  }
}

}  // namespace corten::snapshot
