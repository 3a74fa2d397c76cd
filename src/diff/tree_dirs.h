// The directories of a tree that is being written: found, made and remembered by descriptor.
//
// Paths come from archives. They are resolved by openat2 as if the tree were the whole system:
// "..", absolute and relative links end inside it, whatever stands there. What was resolved once is
// remembered as an open directory (at most kCached); the memory is dropped as a whole when a
// directory or link is taken out of the tree (Forget), since any remembered path might have led
// through it. New names never change where an existing path leads. Threads: one.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/dir.h"
#include "base/error.h"

namespace corten::diff {

// "a//b/../c/." -> "a/c": a path relative to the root, "" for the root itself; ".." beyond the root
// stays at the root.
std::string CleanPath(std::string_view path);
// {"a/b", "c"} of the clean path "a/b/c".
std::pair<std::string_view, std::string_view> SplitPath(std::string_view clean);

// nullopt-like: what a warning is told to; may be empty.
using WarnFunction = std::function<void(std::string_view)>;

// Sets one extended attribute as the rules of layer extraction have it (storage.md 6): `trusted.`
// names are refused, a filesystem without them is tolerated, both with a warning; user attributes
// on special files are dropped with one. `set` does the system call. `overlay_user`: user.overlay.*
// has a meaning on this tree and is refused too.
Status SetLayerXattr(std::string_view path, const std::string& name, bool overlay_user,
                     bool regular_or_dir, const WarnFunction& warn,
                     const std::function<int()>& set);

class TreeDirs {
 public:
  static constexpr size_t kCached = 64;

  struct OpenDir {
    Dir dir;  // opened for reading
    dev_t dev = 0;
    ino_t ino = 0;
  };
  using Handle =
      std::shared_ptr<const OpenDir>;  // shared: the cache may drop it while a caller works in it

  struct MadeTimes {  // a directory that was made after one of the lower trees: these times are due
                      // at the end
    std::string path;
    Time atime;
    Time mtime;
  };

  // `lowers`: directories of the trees below, topmost first; a parent that is missing here is made
  // like its namesake there.
  TreeDirs(Dir root, dev_t dev, ino_t ino, std::vector<std::string> lowers, bool overlay_user,
           WarnFunction warn);

  const Handle& root() const { return root_; }
  // The directory at `clean`. kNotFound, or ENOTDIR as kUnknown.
  Result<Handle> Find(std::string_view clean);
  // The same, making what is missing: mode 0755, or owner, mode, attributes and times of the
  // topmost lower tree's directory. A parent that is no directory is an error (ENOTDIR).
  Result<Handle> FindOrMake(std::string_view clean);
  // Remembers a directory that was just opened.
  void Remember(std::string_view clean, const Handle& handle);
  void Forget();

  static Result<Handle> Adopt(Fd fd, std::string path);

  // Parents made after lower trees since the last call.
  std::vector<MadeTimes> TakeMadeTimes() { return std::move(made_); }

 private:
  Result<Handle> Make(std::string_view clean, int depth);
  Status CopyFromLower(std::string_view clean, const OpenDir& made);
  Status CopyAttributes(const Fd& from, const OpenDir& made, std::string_view clean);
  Status OpenLowers();

  Handle root_;
  std::vector<std::string> lower_paths_;
  std::vector<Dir> lowers_;  // opened when first needed
  bool lowers_open_ = false;
  const bool overlay_user_;
  const WarnFunction warn_;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, Handle, Hash, std::equal_to<>> cache_;
  std::string
      last_path_;  // the parent that was asked for last: members of one directory stand together
  Handle last_;
  std::vector<MadeTimes> made_;
};

}  // namespace corten::diff
