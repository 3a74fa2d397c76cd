// Writes the entries of a layer into a directory tree, and nowhere else.
//
// Life cycle: Open -> Add* -> Finish. Directory times are set by Finish, everything else as it
// comes. On any error the tree is in an undefined state. Nothing is flushed to disk.
//
// Rules (storage.md 6, containerd 2.3 archive extraction; OCI image layer specification 1.1):
//   names        cleaned; parents resolved inside the root; the root's own entry is ignored;
//   missing parents are made existing     removed with all below, unless both are directories
//   .wh.NAME     overlay: character device 0/0; plain: NAME is removed. What this layer itself put
//   there stays .wh..wh..opq overlay: opaque mark; plain: all but what this layer unpacked is
//   removed, in whatever order they come hard links   to something inside the root only; a link to
//   a symbolic link is one owner, xattrs, mode, times in this order; numbers only; times outside
//   1970..2262 become the epoch
// Beyond containerd: a directory that takes the place of a whiteout of the same layer is made
// opaque, holes stay holes, parents made after lower trees keep their times, and whiteouts never
// hide what their own layer holds.
//
// Threads: one. Source of bytes: the tar reader that gave the entry.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "diff/tar_entry.h"
#include "diff/tar_reader.h"
#include "diff/tree_dirs.h"

namespace corten::diff {

enum class Whiteouts {
  kPlain,    // the tree is the merged view: deletions are carried out
  kOverlay,  // the tree is an overlay's upper directory: deletions are recorded
};

struct TreeOptions {
  Whiteouts whiteouts = Whiteouts::kPlain;
  std::vector<std::string> lowers;  // overlay: directories below, topmost first
  bool user_xattrs = false;         // overlay: mounted with userxattr, marks are user.overlay.*
  bool in_user_namespace = false;   // device nodes cannot be made: skipped with a warning
  WarnFunction warn;                // what was left out; may be empty
};

class TreeWriter {
 public:
  // `root` must be a directory. Whether it is empty decides whether unpacked names must be
  // remembered (8 bytes and change each): in an empty tree everything is this layer's.
  static Result<std::unique_ptr<TreeWriter>> Open(Dir root, TreeOptions options);

  // Writes one member; `data` has just returned it. kInvalidArgument: unknown type, bad whiteout
  // name, bad owner; else by errno.
  Status Add(const TarEntry& entry, TarReader& data);
  // Sets the times of directories.
  Status Finish();

 private:
  struct Place;

  TreeWriter(Dir root, const struct stat& st, bool fresh, TreeOptions options);

  Status AddWhiteout(const TarEntry& entry, const Place& place);
  Status MakeOpaque(const TarEntry& entry, const Place& place);
  Status SetOpaque(const Dir& dir) const;
  Result<bool> KeepUnpacked(const TreeDirs::OpenDir& dir);

  Status Create(const TarEntry& entry, const Place& place, TarReader& data);
  Status CreateDirectory(const TarEntry& entry, const Place& place);
  Status CreateRegular(const TarEntry& entry, const Place& place, TarReader& data);
  Status CreateHardLink(const TarEntry& entry, const Place& place);
  Status CreateSymlink(const TarEntry& entry, const Place& place);
  Status CreateNode(const TarEntry& entry, const Place& place);
  Status FillFile(const TarEntry& entry, const Fd& file, TarReader& data);
  Status SetFileAttributes(const TarEntry& entry, const Fd& file, const struct stat& st,
                           bool regular_or_dir);
  Status SetNodeAttributes(const TarEntry& entry, const Place& place);

  // Takes away what stands at the place. `was_whiteout` (may be null): it was an overlay whiteout.
  Status Clear(const Place& place, bool* was_whiteout);
  // Runs `make` (0 or errno); when something stands there already it is cleared first.
  template <typename F>
  Status MakeAt(const Place& place, const F& make);
  void MarkUnpacked(const Place& place);
  bool IsUnpacked(const TreeDirs::OpenDir& parent, std::string_view base) const;

  TreeOptions options_;
  const bool fresh_;                       // the tree was empty: everything in it is unpacked
  std::unordered_set<uint64_t> unpacked_;  // hashes of (directory inode, name); empty when fresh_
  std::vector<TreeDirs::MadeTimes> times_;
  TreeDirs dirs_;
};

}  // namespace corten::diff
