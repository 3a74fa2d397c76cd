// What the tests of this room share: bytes in memory, trees on disk, and a picture of a tree that
// can be compared.
#pragma once

#include <sys/types.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "diff/differ.h"
#include "diff/tar_entry.h"
#include "diff/tar_writer.h"

namespace corten::diff::testing {

// Gives out at most `piece` bytes per Read.
class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string_view data, size_t piece = SIZE_MAX)
      : data_(data), piece_(piece) {}
  Result<size_t> Read(std::span<char> buffer) override;

 private:
  std::string_view data_;
  size_t piece_;
};

class StringSink final : public ByteSink {
 public:
  Status Write(std::string_view part) override {
    data.append(part);
    return Ok();
  }
  std::string data;
};

// Everything until the end; the error if there is one.
Result<std::string> ReadWhole(ByteSource& source, size_t piece = 64 << 10);

// A directory of its own, removed at the end.
class TempTree {
 public:
  TempTree();
  ~TempTree();
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  Dir Open() const;

 private:
  std::string path_;
};

// Builds an archive entry by entry; owners are ours unless set, so that no test needs root without
// saying so.
class Archive {
 public:
  Archive() : writer_(sink_) {}
  Archive& Dir(std::string name, int64_t mode = 0755);
  Archive& File(std::string name, std::string_view data = {}, int64_t mode = 0644);
  Archive& Symlink(std::string name, std::string target);
  Archive& HardLink(std::string name, std::string target);
  Archive& Add(TarEntry entry, std::string_view data = {});
  std::string Finish();

 private:
  StringSink sink_;
  TarWriter writer_;
};
TarEntry EntryOf(char type, std::string name, int64_t mode);

// path -> everything about it that a layer carries: type, mode, owner, times, size, device, link
// target, content digest, xattrs (security.capability and user.*), and the first path of its hard
// link group.
struct PictureOptions {
  bool directory_times = true;
  bool nanoseconds = true;
  bool all_times = true;
  bool links = true;
};
using Picture = std::map<std::string, std::string>;
Picture TakePicture(const std::string& path, const PictureOptions& options = {});
// The lines that differ, "" when there are none: what a test prints.
std::string Differences(const Picture& have, const Picture& want);

// A random tree below `path`: directories, files, links of both kinds, fifos, odd names and modes;
// with `as_root` also devices, foreign owners and file capabilities. The same generator state gives
// the same tree.
void MakeRandomTree(const std::string& path, std::mt19937_64& random, int entries, bool as_root);
// Changes some of a tree: edits, deletes, replaces by other types, adds, touches, relinks.
void ChangeRandomly(const std::string& path, std::mt19937_64& random, int changes, bool as_root);

void WriteFile(const std::string& path, std::string_view data);
std::string ReadFile(const std::string& path);
bool Exists(const std::string& path);

// Runs a program and expects success; its standard output.
std::string MustRun(const std::vector<std::string>& args);

}  // namespace corten::diff::testing
