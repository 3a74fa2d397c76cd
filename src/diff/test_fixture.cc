#include "diff/test_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/hash.h"
#include "base/spawn.h"
#include "base/strcat.h"

namespace corten::diff::testing {

Result<size_t> StringSource::Read(std::span<char> buffer) {
  const std::string_view part = data_.substr(0, std::min(piece_, buffer.size()));
  std::copy(part.begin(), part.end(), buffer.begin());
  data_.remove_prefix(part.size());
  return part.size();
}

Result<std::string> ReadWhole(ByteSource& source, size_t piece) {
  std::string all;
  std::string buffer(piece, '\0');
  while (true) {
    const size_t n = TRY(source.Read(buffer));
    if (n == 0) return all;
    all.append(buffer, 0, n);
  }
}

TempTree::TempTree() {
  const char* base = std::getenv("TMPDIR");
  path_ = StrCat(base != nullptr ? base : "/tmp", "/corten-diff-XXXXXX");
  CHECK(mkdtemp(path_.data()) != nullptr);
}

TempTree::~TempTree() {
  const size_t slash = path_.rfind('/');
  const Result<Dir> parent = Dir::Open(path_.substr(0, slash));
  if (parent.ok()) (void)parent->RemoveTree(path_.substr(slash + 1));  // what a failed test left
}

Dir TempTree::Open() const { return Dir::Open(path_).value(); }

TarEntry EntryOf(char type, std::string name, int64_t mode) {
  TarEntry entry;
  entry.type = type;
  entry.name = std::move(name);
  entry.mode = mode;
  entry.uid = getuid();
  entry.gid = getgid();
  entry.mtime = {1600000000, 0};
  return entry;
}

Archive& Archive::Add(TarEntry entry, std::string_view data) {
  entry.size = static_cast<int64_t>(data.size());
  const Status header = writer_.WriteHeader(entry);
  EXPECT_TRUE(header.ok()) << header.error().text();
  EXPECT_TRUE(data.empty() || writer_.WriteData(data).ok());
  return *this;
}
Archive& Archive::Dir(std::string name, int64_t mode) {
  return Add(EntryOf(kDirectory, std::move(name), mode));
}
Archive& Archive::File(std::string name, std::string_view data, int64_t mode) {
  return Add(EntryOf(kRegular, std::move(name), mode), data);
}
Archive& Archive::Symlink(std::string name, std::string target) {
  TarEntry entry = EntryOf(kSymlink, std::move(name), 0777);
  entry.link_name = std::move(target);
  return Add(std::move(entry));
}
Archive& Archive::HardLink(std::string name, std::string target) {
  TarEntry entry = EntryOf(kHardLink, std::move(name), 0644);
  entry.link_name = std::move(target);
  return Add(std::move(entry));
}
std::string Archive::Finish() {
  EXPECT_TRUE(writer_.Finish().ok());
  return std::move(sink_.data);
}

namespace {

std::string XattrsOf(const std::string& path) {
  std::string names(64 << 10, '\0');
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  std::vector<std::string> found;
  for (const char* at = names.data(); size > 0 && at < names.data() + size;
       at += std::strlen(at) + 1)
    found.emplace_back(at);
  std::sort(found.begin(), found.end());
  std::string out;
  for (const std::string& name : found) {
    if (name != "security.capability" && !name.starts_with("user.") &&
        !name.starts_with("trusted.overlay."))
      continue;
    std::string value(64 << 10, '\0');
    const ssize_t length = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    out += StrCat(" ", name, "=",
                  Hex(value.substr(0, static_cast<size_t>(std::max<ssize_t>(length, 0)))));
  }
  return out;
}

void PictureBelow(const std::string& root, const std::string& path, const PictureOptions& options,
                  Picture& picture, std::map<std::pair<dev_t, ino_t>, std::string>& links) {
  std::vector<std::string> names = Dir::Open(root + path).value().List().value();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string below = path + "/" + name;
    const std::string full = root + below;
    struct stat st = {};
    CHECK(lstat(full.c_str(), &st) == 0);
    const bool dir = S_ISDIR(st.st_mode);
    std::string line = StrCat("mode=", st.st_mode, " owner=", st.st_uid, ":", st.st_gid);
    if (options.all_times && (!dir || options.directory_times)) {
      line +=
          StrCat(" mtime=", st.st_mtim.tv_sec, ".", options.nanoseconds ? st.st_mtim.tv_nsec : 0);
    }
    if (S_ISREG(st.st_mode))
      line += StrCat(" size=", st.st_size, " content=", Sha256Digest(ReadFile(full)));
    if (S_ISLNK(st.st_mode)) {
      char target[PATH_MAX];
      const ssize_t size = readlink(full.c_str(), target, sizeof(target));
      line += StrCat(" target=", std::string_view(target, static_cast<size_t>(size)));
    }
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) line += StrCat(" device=", st.st_rdev);
    if (options.links && !dir && st.st_nlink > 1)
      line += StrCat(" link=", links.try_emplace({st.st_dev, st.st_ino}, below).first->second);
    picture[below] = line + XattrsOf(full);
    if (dir) PictureBelow(root, below, options, picture, links);
  }
}

}  // namespace

Picture TakePicture(const std::string& path, const PictureOptions& options) {
  Picture picture;
  std::map<std::pair<dev_t, ino_t>, std::string> links;
  PictureBelow(path, "", options, picture, links);
  return picture;
}

std::string Differences(const Picture& have, const Picture& want) {
  std::string out;
  for (const auto& [path, line] : have) {
    const auto found = want.find(path);
    if (found == want.end()) {
      out += StrCat("\nunexpected ", Quoted(path), " ", line);
    } else if (found->second != line) {
      out += StrCat("\n", Quoted(path), "\n  is     ", line, "\n  wanted ", found->second);
    }
  }
  for (const auto& [path, line] : want) {
    if (!have.contains(path)) out += StrCat("\nmissing ", Quoted(path), " ", line);
  }
  return out;
}

void WriteFile(const std::string& path, std::string_view data) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  CHECK(fd.valid());
  CHECK(WriteAll(fd, data, path).ok());
}

std::string ReadFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return StrCat("<cannot be opened: ", errno, ">");
  return ReadAll(fd, 1 << 30, path).value();
}

bool Exists(const std::string& path) {
  struct stat st = {};
  return lstat(path.c_str(), &st) == 0;
}

std::string MustRun(const std::vector<std::string>& args) {
  SpawnOptions options;
  options.args = args;
  Result<RunOutput> run = RunProgram(options, "", std::chrono::seconds(60), 64 << 20);
  EXPECT_TRUE(run.ok()) << run.error().text();
  if (!run.ok()) return {};
  EXPECT_TRUE(run->status.ok()) << args[0] << ": " << run->err;
  return run->out;
}

namespace {

std::string RandomName(std::mt19937_64& random) {
  static constexpr const char* kOdd[] = {
      "a",   "a.b",      "a-b",   "with space", "\xc3\xa4\xc3\xb6", "back\\slash", "\xff\xfe raw",
      "x=y", "..hidden", "-dash", "new\nline"};
  std::string name = kOdd[random() % std::size(kOdd)];
  name += StrCat(random() % 40);
  if (random() % 12 == 0) name += std::string(120 + random() % 100, 'n');
  return name;
}

struct Below {
  std::vector<std::string> dirs = {""};
  std::vector<std::string> files;
  std::vector<std::string> all;
};

void Collect(const std::string& root, const std::string& path, Below& below) {
  std::vector<std::string> names = Dir::Open(root + path).value().List().value();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string next = path + "/" + name;
    struct stat st = {};
    CHECK(lstat((root + next).c_str(), &st) == 0);
    below.all.push_back(next);
    if (S_ISREG(st.st_mode)) below.files.push_back(next);
    if (S_ISDIR(st.st_mode)) {
      below.dirs.push_back(next);
      Collect(root, next, below);
    }
  }
}

void SetRandomAttributes(const std::string& path, std::mt19937_64& random, bool as_root) {
  struct stat st = {};
  CHECK(lstat(path.c_str(), &st) == 0);
  const bool link = S_ISLNK(st.st_mode);
  if (as_root && random() % 2 == 0) {
    const auto uid =
        static_cast<uid_t>(random() % 3 == 0 ? 3000000 + random() % 5 : random() % 2000);
    CHECK(lchown(path.c_str(), uid, static_cast<gid_t>(random() % 2000)) == 0);
  }
  static constexpr mode_t kModes[] = {0644,  0755,  0600,  0700, 0444,
                                      04755, 02755, 01777, 0750, 0664};
  if (!link)
    CHECK(chmod(path.c_str(),
                (kModes[random() % std::size(kModes)] | (S_ISDIR(st.st_mode) ? 0700 : 0))) == 0);
  if (as_root && S_ISREG(st.st_mode) && random() % 6 == 0) {
    std::string capability(
        "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
    capability[5] = static_cast<char>(random() % 16);
    CHECK(lsetxattr(path.c_str(), "security.capability", capability.data(), capability.size(), 0) ==
          0);
  }
  // Whole seconds: a layer made by walking carries no more.
  const timespec times[2] = {{1500000000, 0},
                             {static_cast<time_t>(1500000000 + random() % 100000), 0}};
  CHECK(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

// A new entry below one of the directories, of a random type. Existing names are left alone.
void AddRandomly(const std::string& root, Below& below, std::mt19937_64& random, bool as_root) {
  const std::string path =
      StrCat(below.dirs[random() % below.dirs.size()], "/", RandomName(random));
  const std::string full = root + path;
  if (full.size() > 2000 || Exists(full)) return;
  const uint64_t kind = random() % 12;
  if (kind < 3) {
    CHECK(mkdir(full.c_str(), 0755) == 0);
    below.dirs.push_back(path);
  } else if (kind < 8 || (kind == 8 && below.files.empty())) {
    std::string data(random() % 3 == 0 ? 0 : random() % 5000, '\0');
    for (char& c : data) c = static_cast<char>(random());
    WriteFile(full, data);
    below.files.push_back(path);
  } else if (kind == 8) {
    CHECK(link((root + below.files[random() % below.files.size()]).c_str(), full.c_str()) == 0);
    return;  // it has attributes
  } else if (kind == 9) {
    CHECK(symlink(StrCat("../", RandomName(random), std::string(random() % 4 == 0 ? 150 : 0, 'l'))
                      .c_str(),
                  full.c_str()) == 0);
  } else if (kind == 10 || !as_root) {
    CHECK(mkfifo(full.c_str(), 0600) == 0);
  } else {
    const auto device =
        makedev(static_cast<unsigned>(1 + random() % 300), static_cast<unsigned>(random() % 70000));
    CHECK(mknod(full.c_str(), (random() % 2 == 0 ? S_IFCHR : S_IFBLK) | 0600, device) == 0);
  }
  SetRandomAttributes(full, random, as_root);
}

// Times of directories change with every child: set them again when all is done, deepest last or
// first alike.
void SettleDirectories(const std::string& root, const Below& below, std::mt19937_64& random) {
  for (const std::string& dir : below.dirs) {
    if (dir.empty() || !Exists(root + dir)) continue;
    const timespec times[2] = {{1500000000, 0},
                               {static_cast<time_t>(1400000000 + random() % 100000), 0}};
    CHECK(utimensat(AT_FDCWD, (root + dir).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  }
}

}  // namespace

void MakeRandomTree(const std::string& path, std::mt19937_64& random, int entries, bool as_root) {
  Below below;
  for (int i = 0; i < entries; ++i) AddRandomly(path, below, random, as_root);
  SettleDirectories(path, below, random);
}

void ChangeRandomly(const std::string& path, std::mt19937_64& random, int changes, bool as_root) {
  for (int i = 0; i < changes; ++i) {
    Below below;
    Collect(path, "", below);
    const uint64_t kind = random() % 6;
    if (below.all.empty() || kind >= 4) {
      AddRandomly(path, below, random, as_root);
      continue;
    }
    const std::string victim = path + below.all[random() % below.all.size()];
    struct stat st = {};
    CHECK(lstat(victim.c_str(), &st) == 0);
    if (kind == 0 && S_ISREG(st.st_mode)) {
      WriteFile(victim, StrCat("changed ", random()));
      SetRandomAttributes(victim, random, as_root);
    } else if (kind == 1) {
      SetRandomAttributes(victim, random, as_root);
    } else {  // deleted, and perhaps something else put there
      const size_t slash = victim.rfind('/');
      CHECK(Dir::Open(victim.substr(0, slash)).value().RemoveTree(victim.substr(slash + 1)).ok());
      if (kind == 3 && random() % 2 == 0) {
        WriteFile(victim, "a file now");
        SetRandomAttributes(victim, random, as_root);
      } else if (kind == 3) {
        CHECK(mkdir(victim.c_str(), 0711) == 0);
        WriteFile(victim + "/inside", "in a directory now");
        SetRandomAttributes(victim + "/inside", random, as_root);
      }
    }
  }
  Below below;
  Collect(path, "", below);
  SettleDirectories(path, below, random);
}

}  // namespace corten::diff::testing
