// The way down into a directory tree of any depth, with a bounded number of open descriptors.
//
// Levels above the lowest kOpenLevels are closed and opened again through ".." on the way up; if
// somebody moved a directory meanwhile, that is noticed (kAborted), never walked into. Threads:
// one.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/dir.h"

namespace corten::snapshot {

class DirStack {
 public:
  static constexpr size_t kOpenLevels = 64;

  // The top of the tree.
  static Result<DirStack> Create(const Dir& top);
  DirStack(DirStack&&) noexcept = default;

  const Dir& current() const { return levels_.back().dir; }
  size_t depth() const { return levels_.size(); }
  // Goes down into directory `name` of the current one, without following links.
  Status Enter(const std::string& name);
  // Goes back up. REQUIRES: depth() > 1. kAborted: the tree was changed and the way up is gone.
  Status Leave();

 private:
  struct Level {
    Dir dir;
    dev_t device = 0;
    ino_t inode = 0;
  };
  DirStack() = default;
  Status Push(Dir dir);

  std::vector<Level> levels_;
};

}  // namespace corten::snapshot
