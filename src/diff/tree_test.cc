#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/strcat.h"
#include "diff/chunk_source.h"
#include "diff/test_fixture.h"
#include "diff/tree_writer.h"

namespace corten::diff {
namespace {

using testing::Archive;
using testing::EntryOf;
using testing::Exists;
using testing::Picture;
using testing::ReadFile;
using testing::TakePicture;
using testing::TempTree;
using testing::WriteFile;

Status Unpack(const std::string& path, std::string_view bytes, TreeOptions options = {}) {
  Dir root = TRY(Dir::Open(path));
  const std::unique_ptr<TreeWriter> tree =
      TRY(TreeWriter::Open(std::move(root), std::move(options)));
  MemoryChunks chunks(bytes, 700);
  TarReader reader(chunks);
  while (true) {
    const TarEntry* entry = TRY(reader.Next());
    if (entry == nullptr) break;
    TRY(tree->Add(*entry, reader));
  }
  return tree->Finish();
}

void MustUnpack(const std::string& path, std::string_view bytes, TreeOptions options = {}) {
  const Status status = Unpack(path, bytes, std::move(options));
  EXPECT_TRUE(status.ok()) << status.error().text();
}

struct stat Lstat(const std::string& path) {
  struct stat st = {};
  EXPECT_EQ(lstat(path.c_str(), &st), 0) << path;
  return st;
}

// A tree inside a directory that also holds what must not be touched.
class Cage {
 public:
  Cage() {
    CHECK(mkdir((outer_ / "root").c_str(), 0755) == 0);
    CHECK(mkdir((outer_ / "outside").c_str(), 0755) == 0);
    WriteFile(outer_ / "outside/secret", "untouched");
    WriteFile(outer_ / "file", "untouched");
    before_ = Outside();
  }
  // Nothing but the tree itself may have changed, whatever became of the archive.
  ~Cage() { EXPECT_EQ(Outside(), before_); }
  std::string root() const { return outer_ / "root"; }
  std::string operator/(std::string_view name) const { return root() + "/" + std::string(name); }
  std::string outside() const { return outer_ / "outside"; }

 private:
  Picture Outside() const {
    Picture picture = TakePicture(outer_.path(), {.directory_times = true});
    std::erase_if(picture, [](const auto& item) { return item.first.starts_with("/root"); });
    return picture;
  }
  TempTree outer_;
  Picture before_;
};

TEST(CleanPath, StaysBelowTheRoot) {
  EXPECT_EQ(CleanPath("a//b/./c/"), "a/b/c");
  EXPECT_EQ(CleanPath("/a/../b"), "b");
  EXPECT_EQ(CleanPath("../../etc/passwd"), "etc/passwd");
  EXPECT_EQ(CleanPath("a/b/../../.."), "");
  EXPECT_EQ(CleanPath("./"), "");
  EXPECT_EQ(CleanPath(""), "");
  EXPECT_EQ(CleanPath("..."), "...");
}

TEST(TreeWriter, WritesFilesWithModeTimesAndContent) {
  const TempTree tree;
  const mode_t before = umask(077);
  TarEntry entry = EntryOf(kRegular, "d/f", 0664);
  entry.mtime = {1234567890, 123456789};
  Archive archive;
  archive.Dir("d/", 0751).Add(entry, "content").File("d/exec", "#!", 0755).File("empty", "", 0600);
  MustUnpack(tree.path(), archive.Finish());
  umask(before);
  EXPECT_EQ(ReadFile(tree / "d/f"), "content");
  const struct stat st = Lstat(tree / "d/f");
  EXPECT_EQ(st.st_mode & 07777, 0664u);
  EXPECT_EQ(st.st_mtim.tv_sec, 1234567890);
  EXPECT_EQ(st.st_mtim.tv_nsec, 123456789);
  EXPECT_EQ(Lstat(tree / "d/exec").st_mode & 07777, 0755u);
  EXPECT_EQ(Lstat(tree / "d").st_mode & 07777, 0751u);
  EXPECT_EQ(Lstat(tree / "d").st_mtim.tv_sec, 1600000000) << "directory times come last";
}

TEST(TreeWriter, SetIdBitsSurviveOwnerAndData) {
  const TempTree tree;
  MustUnpack(tree.path(), Archive()
                              .File("suid", "data", 04755)
                              .File("sgid", "data", 02755)
                              .Dir("sticky/", 01777)
                              .Finish());
  EXPECT_EQ(Lstat(tree / "suid").st_mode & 07777, 04755u);
  EXPECT_EQ(Lstat(tree / "sgid").st_mode & 07777, 02755u);
  EXPECT_EQ(Lstat(tree / "sticky").st_mode & 07777, 01777u);
}

TEST(TreeWriter, MissingParentsAreMade) {
  const TempTree tree;
  const mode_t before = umask(077);
  MustUnpack(tree.path(), Archive().File("a/b/c/f", "x").Finish());
  umask(before);
  EXPECT_EQ(Lstat(tree / "a/b/c").st_mode & 07777, 0755u);
  EXPECT_EQ(ReadFile(tree / "a/b/c/f"), "x");
}

TEST(TreeWriter, AParentThatIsAFileIsAnError) {
  const TempTree tree;
  const Status status = Unpack(tree.path(), Archive().File("a", "x").File("a/b", "y").Finish());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().sys_errno(), ENOTDIR);
}

TEST(TreeWriter, TheRootsOwnEntryIsIgnored) {
  const TempTree tree;
  ASSERT_EQ(chmod(tree.path().c_str(), 0700), 0);
  MustUnpack(tree.path(),
             Archive().Dir("./", 0777).Dir("/", 0777).Dir("a/..", 0777).File("f").Finish());
  EXPECT_EQ(Lstat(tree.path()).st_mode & 07777, 0700u);
  EXPECT_FALSE(Exists(tree / "a"));
}

TEST(TreeWriter, AnExistingPathIsReplacedUnlessBothAreDirectories) {
  const TempTree tree;
  ASSERT_EQ(mkdir((tree / "dir").c_str(), 0700), 0);
  WriteFile(tree / "dir/kept", "kept");
  ASSERT_EQ(mkdir((tree / "gone").c_str(), 0700), 0);
  WriteFile(tree / "gone/inside", "lost");
  WriteFile(tree / "file", "a longer content than the new one");
  ASSERT_EQ(symlink("file", (tree / "link").c_str()), 0);
  WriteFile(tree / "todir", "x");
  MustUnpack(tree.path(), Archive()
                              .Dir("dir/", 0755)
                              .File("gone", "now a file")
                              .File("file", "short")
                              .File("link", "now a file")
                              .Dir("todir/")
                              .Finish());
  EXPECT_EQ(ReadFile(tree / "dir/kept"), "kept");
  EXPECT_EQ(Lstat(tree / "dir").st_mode & 07777, 0755u);
  EXPECT_EQ(ReadFile(tree / "gone"), "now a file");
  EXPECT_EQ(ReadFile(tree / "file"), "short");
  EXPECT_EQ(ReadFile(tree / "link"), "now a file");
  EXPECT_TRUE(S_ISDIR(Lstat(tree / "todir").st_mode));
}

TEST(TreeWriter, ADirectoryReplacedBetweenItsMembersIsNotUsedAnyMore) {
  Cage cage;
  Archive archive;
  archive.Dir("d/")
      .File("d/one", "1")
      .Symlink("d", cage.outside())
      .File("d/two", "2")
      .File("d", "a file at last");
  MustUnpack(cage.root(), archive.Finish());
  EXPECT_EQ(ReadFile(cage / "d"), "a file at last");
  // "d/two" went where the link leads inside the tree.
  EXPECT_EQ(ReadFile(cage.root() + cage.outside() + "/two"), "2");
}

TEST(TreeWriter, ARememberedPathThroughALinkIsForgottenWithTheLink) {
  const TempTree tree;
  Archive archive;
  archive.Dir("real/")
      .Symlink("link", "real")
      .File("link/one", "1")
      .Dir("other/")
      .Symlink("link", "other")
      .File("link/two", "2");
  MustUnpack(tree.path(), archive.Finish());
  EXPECT_EQ(ReadFile(tree / "real/one"), "1");
  EXPECT_EQ(ReadFile(tree / "other/two"), "2");
  EXPECT_FALSE(Exists(tree / "real/two"));
}

TEST(TreeWriter, ManyDirectoriesDoNotRunOutOfDescriptors) {
  const TempTree tree;
  Archive archive;
  for (int i = 0; i < 300; ++i) archive.Dir(StrCat("d", i, "/"));
  for (int i = 299; i >= 0; --i) archive.File(StrCat("d", i, "/f"), StrCat(i));
  MustUnpack(tree.path(), archive.Finish());
  EXPECT_EQ(ReadFile(tree / "d123/f"), "123");
  EXPECT_EQ(Lstat(tree / "d77").st_mtim.tv_sec, 1600000000);
}

// --- hostile archives
// -----------------------------------------------------------------------------------------------

TEST(HostileArchive, NamesWithDotsAndAbsoluteNamesStayInside) {
  Cage cage;
  MustUnpack(cage.root(), Archive()
                              .File("../file", "a")
                              .File("../../../outside/secret", "b")
                              .File("/abs/f", "c")
                              .File("x/../../y", "d")
                              .Finish());
  EXPECT_EQ(ReadFile(cage / "file"), "a");
  EXPECT_EQ(ReadFile(cage / "outside/secret"), "b");
  EXPECT_EQ(ReadFile(cage / "abs/f"), "c");
  EXPECT_EQ(ReadFile(cage / "y"), "d");
}

TEST(HostileArchive, LinksInParentsAreFollowedInsideOnly) {
  for (const bool absolute : {true, false}) {
    Cage cage;
    const std::string target = absolute ? cage.outside() : "../outside";
    (void)Unpack(cage.root(), Archive()
                                  .Symlink("l", target)
                                  .File("l/secret", "overwritten")
                                  .Dir("l/new/")
                                  .Symlink("l/s", "x")
                                  .Finish());
    (void)Unpack(cage.root(), Archive()
                                  .Symlink("up", "../../..")
                                  .File("up/outside/secret", "x")
                                  .HardLink("up/file", "up/outside/secret")
                                  .Finish());
    (void)Unpack(cage.root(), Archive()
                                  .Symlink("a", "..")
                                  .Symlink("b", "a/..")
                                  .Dir("b/outside/", 0777)
                                  .File("b/outside/secret", "x")
                                  .Finish());
    (void)Unpack(
        cage.root(),
        Archive().Symlink("l2", target).File("l2/.wh.secret").File("l2/.wh..wh..opq").Finish());
  }
}

TEST(HostileArchive, ALinkAsTheLastStepIsReplacedNotFollowed) {
  Cage cage;
  MustUnpack(cage.root(), Archive()
                              .Symlink("f", cage.outside() + "/secret")
                              .File("f", "new")
                              .Symlink("d", cage.outside())
                              .Dir("d/", 0700)
                              .Finish());
  EXPECT_EQ(ReadFile(cage / "f"), "new");
  EXPECT_TRUE(S_ISDIR(Lstat(cage / "d").st_mode));
}

TEST(HostileArchive, HardLinksReachNothingOutside) {
  Cage cage;
  for (const std::string& target :
       {cage.outside() + "/secret", std::string("../outside/secret"),
        std::string("../../../../../../etc/passwd"), std::string("l/secret"), std::string(".."),
        std::string("."), std::string("/"), std::string("")}) {
    const Status status = Unpack(
        cage.root(), Archive().Symlink("l", cage.outside()).HardLink("stolen", target).Finish());
    EXPECT_FALSE(status.ok()) << target;
    EXPECT_FALSE(Exists(cage / "stolen")) << target;
  }
}

TEST(HostileArchive, AHardLinkToASymbolicLinkIsTheLinkItself) {
  Cage cage;
  TarEntry link = EntryOf(kHardLink, "h", 0777);
  link.link_name = "l";
  MustUnpack(cage.root(), Archive().Symlink("l", cage.outside() + "/secret").Add(link).Finish());
  EXPECT_TRUE(S_ISLNK(Lstat(cage / "h").st_mode));
}

TEST(HostileArchive, AHardLinkOntoItselfDoesNotDestroyTheFile) {
  Cage cage;
  EXPECT_FALSE(Unpack(cage.root(), Archive().File("f", "data").HardLink("f", "f").Finish()).ok());
  EXPECT_EQ(ReadFile(cage / "f"), "data");
}

TEST(HostileArchive, WhiteoutsCannotNameTheDirectoryOrItsParent) {
  Cage cage;
  for (const Whiteouts kind : {Whiteouts::kPlain, Whiteouts::kOverlay}) {
    for (const std::string name : {".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."}) {
      TreeOptions options;
      options.whiteouts = kind;
      const Status status = Unpack(cage.root(), Archive().Dir("d/").File(name).Finish(), options);
      ASSERT_FALSE(status.ok()) << name;
      EXPECT_EQ(status.error().code(), Code::kInvalidArgument) << name;
      EXPECT_NE(status.error().text().find("invalid whiteout name"), std::string::npos) << name;
    }
  }
}

TEST(HostileArchive, WhiteoutsThroughLinksDeleteNothingOutside) {
  Cage cage;
  MustUnpack(cage.root(), Archive().Symlink("l", cage.outside()).File("l/.wh.secret").Finish());
  MustUnpack(cage.root(), Archive().Symlink("m", "../outside").File("m/.wh..wh..opq").Finish());
  ASSERT_EQ(symlink(cage.outside().c_str(), (cage / "n").c_str()), 0);
  MustUnpack(cage.root(), Archive().File(".wh.n").Finish());
  EXPECT_FALSE(Exists(cage / "n"));
}

TEST(HostileArchive, RemovingATreeDoesNotFollowLinksInIt) {
  Cage cage;
  ASSERT_EQ(mkdir((cage / "d").c_str(), 0755), 0);
  ASSERT_EQ(symlink(cage.outside().c_str(), (cage / "d/l").c_str()), 0);
  MustUnpack(cage.root(), Archive().File("d", "a file").Finish());
}

TEST(HostileArchive, LinksInACircleAreAnError) {
  Cage cage;
  EXPECT_FALSE(
      Unpack(cage.root(), Archive().Symlink("a", "b").Symlink("b", "a").File("a/f", "x").Finish())
          .ok());
  EXPECT_FALSE(Unpack(cage.root(), Archive().Symlink("c", "c/x").File("c/f", "x").Finish()).ok());
}

TEST(HostileArchive, ADanglingLinkAsParentIsMadeInside) {
  Cage cage;
  MustUnpack(cage.root(), Archive().Symlink("l", "/not/there").File("l/f", "x").Finish());
  EXPECT_EQ(ReadFile(cage / "not/there/f"), "x");
}

TEST(HostileArchive, EndlessNamesAreErrors) {
  Cage cage;
  EXPECT_FALSE(Unpack(cage.root(), Archive().File(std::string(300, 'n'), "x").Finish()).ok());
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "d/";
  EXPECT_FALSE(Unpack(cage.root(), Archive().File(deep + "f", "x").Finish()).ok());
}

TEST(HostileArchive, ImpossibleOwnersAndUnknownTypesAreRefused) {
  Cage cage;
  for (const int64_t id : {int64_t{-1}, int64_t{UINT32_MAX}, int64_t{1} << 40}) {
    TarEntry entry = EntryOf(kRegular, "f", 0644);
    entry.uid = id;
    const Status status = Unpack(cage.root(), Archive().Add(entry).Finish());
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code(), Code::kInvalidArgument);
  }
  EXPECT_FALSE(Unpack(cage.root(), Archive().Add(EntryOf('Z', "z", 0644)).Finish()).ok());
}

// --- whiteouts in a merged view
// -------------------------------------------------------------------------------------

TEST(PlainWhiteouts, DeleteWhatWasThere) {
  const TempTree tree;
  ASSERT_EQ(mkdir((tree / "d").c_str(), 0755), 0);
  WriteFile(tree / "d/f", "x");
  WriteFile(tree / "g", "x");
  MustUnpack(
      tree.path(),
      Archive().File(".wh.d").File(".wh.g").File(".wh.never-there").File(".wh..wh.plnk").Finish());
  EXPECT_TRUE(TakePicture(tree.path()).empty());
}

TEST(PlainWhiteouts, AnOpaqueDirectoryKeepsWhatTheLayerHoldsInAnyOrder) {
  for (const bool first : {true, false}) {
    const TempTree tree;
    ASSERT_EQ(mkdir((tree / "d").c_str(), 0755), 0);
    ASSERT_EQ(mkdir((tree / "d/sub").c_str(), 0755), 0);
    ASSERT_EQ(mkdir((tree / "d/sub2").c_str(), 0755), 0);
    for (const char* name : {"d/old", "d/both", "d/sub/old", "d/sub2/old"})
      WriteFile(tree / name, "old");
    Archive archive;
    if (first) archive.File("d/.wh..wh..opq");
    archive.File("d/new", "new").File("d/both", "new").File("d/sub/new", "new");
    if (!first) archive.File("d/.wh..wh..opq");
    MustUnpack(tree.path(), archive.Finish());
    EXPECT_FALSE(Exists(tree / "d/old")) << first;
    EXPECT_FALSE(Exists(tree / "d/sub/old")) << first;
    EXPECT_FALSE(Exists(tree / "d/sub2")) << first;
    EXPECT_EQ(ReadFile(tree / "d/new"), "new") << first;
    EXPECT_EQ(ReadFile(tree / "d/both"), "new") << first;
    EXPECT_EQ(ReadFile(tree / "d/sub/new"), "new") << first;
  }
}

TEST(PlainWhiteouts, NeverHideWhatTheirOwnLayerHolds) {
  for (const bool first : {true, false}) {
    const TempTree tree;
    ASSERT_EQ(mkdir((tree / "d").c_str(), 0755), 0);
    WriteFile(tree / "d/old", "old");
    Archive archive;
    if (first) archive.File(".wh.d").File(".wh.f");
    archive.Dir("d/").File("d/new", "new").File("f", "new");
    if (!first) archive.File(".wh.d").File(".wh.f");
    MustUnpack(tree.path(), archive.Finish());
    EXPECT_FALSE(Exists(tree / "d/old")) << first;
    EXPECT_EQ(ReadFile(tree / "d/new"), "new") << first;
    EXPECT_EQ(ReadFile(tree / "f"), "new") << first;
  }
}

TEST(TreeWriter, HolesStayHoles) {
  const TempTree tree;
  const TempTree source;
  const Fd fd(open((source / "holes").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(PwriteAll(fd, std::string(8192, 'x'), 32 << 20, "holes").ok());
  ASSERT_TRUE(PwriteAll(fd, "y", 40 << 20, "holes").ok());
  ASSERT_EQ(ftruncate(fd.get(), 64 << 20), 0);
  for (const std::string form : {"--sparse-version=0.0", "--sparse-version=1.0"}) {
    testing::MustRun({"tar", "--format=posix", form, "-C", source.path(), "-S", "-cf",
                      source / "a.tar", "holes"});
    MustUnpack(tree.path(), ReadFile(source / "a.tar"));
    EXPECT_EQ(Lstat(tree / "holes").st_size, 64 << 20);
    EXPECT_LT(Lstat(tree / "holes").st_blocks * 512, 1 << 20);
    EXPECT_TRUE(ReadFile(tree / "holes") == ReadFile(source / "holes"));
  }
}

TEST(TreeWriter, TimesOutsideTheRangeBecomeTheEpochAndAccessIsNeverBeforeChange) {
  const TempTree tree;
  TarEntry old = EntryOf(kRegular, "old", 0644);
  old.mtime = {-5, 0};
  TarEntry far = EntryOf(kRegular, "far", 0644);
  far.mtime = {10000000000, 0};
  TarEntry read = EntryOf(kRegular, "read", 0644);
  read.atime = Time{1700000000, 5};
  TarEntry unread = EntryOf(kSymlink, "unread", 0777);
  unread.link_name = "x";
  unread.atime = Time{1, 0};
  MustUnpack(tree.path(), Archive().Add(old).Add(far).Add(read).Add(unread).Finish());
  EXPECT_EQ(Lstat(tree / "old").st_mtim.tv_sec, 0);
  EXPECT_EQ(Lstat(tree / "far").st_mtim.tv_sec, 0);
  EXPECT_EQ(Lstat(tree / "read").st_atim.tv_sec, 1700000000);
  EXPECT_EQ(Lstat(tree / "read").st_mtim.tv_sec, 1600000000);
  EXPECT_EQ(Lstat(tree / "unread").st_atim.tv_sec, 1600000000);
}

TEST(TreeWriter, FifosAndTheirModes) {
  const TempTree tree;
  MustUnpack(tree.path(), Archive().Add(EntryOf(kFifo, "p", 0622)).Finish());
  EXPECT_TRUE(S_ISFIFO(Lstat(tree / "p").st_mode));
  EXPECT_EQ(Lstat(tree / "p").st_mode & 07777, 0622u);
}

TEST(TreeWriter, TrustedXattrsAreLeftOutWithAWarning) {
  const TempTree tree;
  std::vector<std::string> warnings;
  TreeOptions options;
  options.warn = [&](std::string_view text) { warnings.emplace_back(text); };
  TarEntry entry = EntryOf(kRegular, "f", 0644);
  entry.pax["SCHILY.xattr.trusted.overlay.opaque"] = "y";
  entry.pax["SCHILY.xattr.user.kept"] = "value";
  MustUnpack(tree.path(), Archive().Add(entry).Finish(), options);
  ASSERT_GE(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("trusted.overlay.opaque"), std::string::npos);
  if (warnings.size() == 1) {  // the filesystem knows user attributes
    EXPECT_NE(TakePicture(tree.path()).at("/f").find("user.kept=" + Hex("value")),
              std::string::npos);
  }
}

}  // namespace
}  // namespace corten::diff
