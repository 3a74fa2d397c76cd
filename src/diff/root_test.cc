// What needs root: owners, devices, capabilities, overlay mounts; and other programs' opinion of
// our trees.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "base/hash.h"
#include "base/spawn.h"
#include "base/strcat.h"
#include "base/test_trace.h"
#include "content/fake_store.h"
#include "diff/apply.h"
#include "diff/compare.h"
#include "diff/compress.h"
#include "diff/test_fixture.h"
#include "os/mount.h"

namespace corten::diff {
namespace {

using testing::Archive;
using testing::Differences;
using testing::EntryOf;
using testing::Exists;
using testing::MustRun;
using testing::Picture;
using testing::ReadFile;
using testing::StringSink;
using testing::StringSource;
using testing::TakePicture;
using testing::TempTree;
using testing::WriteFile;

class RootTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(geteuid(), 0u) << "these tests need root"; }
};
using RootTree = RootTest;
using OverlayUpper = RootTest;
using RootProperty = RootTest;
using Others = RootTest;

void MakeDirAt(const std::string& path, mode_t mode = 0755) {
  ASSERT_EQ(mkdir(path.c_str(), mode), 0) << path;
}

struct stat Lstat(const std::string& path) {
  struct stat st = {};
  EXPECT_EQ(lstat(path.c_str(), &st), 0) << path;
  return st;
}

std::string Xattr(const std::string& path, const char* name) {
  char value[256];
  const ssize_t size = lgetxattr(path.c_str(), name, value, sizeof(value));
  return size < 0 ? "<none>" : std::string(value, static_cast<size_t>(size));
}

Result<model::Descriptor> Apply(const std::vector<model::Mount>& mounts, std::string_view tar,
                                const ApplyOptions& options = {},
                                EngineOptions engine_options = {}) {
  Engine engine(std::move(engine_options));
  StringSource source(tar, 5000);
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayer;
  return engine.ApplyStream(descriptor, mounts, source, options);
}

void MustApply(const std::vector<model::Mount>& mounts, std::string_view tar) {
  const Result<model::Descriptor> done = Apply(mounts, tar);
  ASSERT_TRUE(done.ok()) << done.error().text();
}

std::vector<model::Mount> Bind(const std::string& path) {
  return {{"bind", path, "", {"rbind", "rw"}}};
}

// Layer directories l0 (lowest), l1 ... and an upper with its work directory, as a snapshotter
// makes them.
class Stack {
 public:
  explicit Stack(int lowers) {
    for (int i = 0; i < lowers; ++i) CHECK(mkdir(Lower(i).c_str(), 0755) == 0);
    for (const char* name : {"upper", "work", "merged"})
      CHECK(mkdir((tree_ / name).c_str(), 0755) == 0);
    lowers_ = lowers;
  }
  std::string Lower(int i) const { return tree_ / StrCat("l", i); }
  std::string Upper() const { return tree_ / "upper"; }
  std::string Merged() const { return tree_ / "merged"; }
  std::vector<model::Mount> Mounts(std::vector<std::string> extra = {}) const {
    model::Mount mount = {"overlay", "overlay", "", std::move(extra)};
    mount.options.push_back("workdir=" + (tree_ / "work"));
    mount.options.push_back("upperdir=" + Upper());
    std::string lower;
    for (int i = lowers_ - 1; i >= 0; --i)
      lower += StrCat(lower.empty() ? "lowerdir=" : ":", Lower(i));
    mount.options.push_back(lower);
    return {mount};
  }
  // What a container would see.
  Picture MergedPicture(const testing::PictureOptions& options = {}) const {
    Picture picture;
    const Status status = os::WithReadOnlyTempMount("/tmp", Mounts(), [&](const std::string& path) {
      picture = TakePicture(path, options);
      return Ok();
    });
    EXPECT_TRUE(status.ok()) << status.error().text();
    return picture;
  }

 private:
  TempTree tree_;
  int lowers_ = 0;
};

TEST_F(RootTree, OwnersDevicesAndCapabilitiesAreSet) {
  const TempTree tree;
  TarEntry owned = EntryOf(kRegular, "owned", 04755);
  owned.uid = 1234;
  owned.gid = 4000000;
  owned.pax["SCHILY.xattr.security.capability"] =
      std::string("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  TarEntry link = EntryOf(kSymlink, "link", 0777);
  link.link_name = "owned";
  link.uid = 77;
  TarEntry device = EntryOf(kCharDevice, "null", 0666);
  device.dev_major = 1;
  device.dev_minor = 3;
  TarEntry block = EntryOf(kBlockDevice, "block", 0660);
  block.dev_major = 259;
  block.dev_minor = 70000;
  MustApply(Bind(tree.path()),
            Archive().Add(owned, "data").Add(link).Add(device).Add(block).Finish());
  EXPECT_EQ(Lstat(tree / "owned").st_uid, 1234u);
  EXPECT_EQ(Lstat(tree / "owned").st_gid, 4000000u);
  EXPECT_EQ(Lstat(tree / "owned").st_mode & 07777, 04755u);
  EXPECT_EQ(Xattr(tree / "owned", "security.capability").size(), 20u);
  EXPECT_EQ(Lstat(tree / "link").st_uid, 77u);
  EXPECT_EQ(Lstat(tree / "null").st_rdev, makedev(1, 3));
  EXPECT_EQ(Lstat(tree / "null").st_mode & 07777, 0666u);
  EXPECT_EQ(Lstat(tree / "block").st_rdev, makedev(259, 70000));
}

TEST_F(RootTree, AnInheritedGroupIsNotTakenForTheRightOne) {
  const TempTree tree;
  TarEntry dir = EntryOf(kDirectory, "d/", 02775);
  dir.gid = 500;
  MustApply(Bind(tree.path()),
            Archive().Add(dir).File("d/f").Dir("d/sub/").Symlink("d/l", "f").Finish());
  EXPECT_EQ(Lstat(tree / "d/f").st_gid, 0u);
  EXPECT_EQ(Lstat(tree / "d/sub").st_gid, 0u);
  EXPECT_EQ(Lstat(tree / "d/sub").st_mode & 07777, 0755u);
  EXPECT_EQ(Lstat(tree / "d/l").st_gid, 0u);
}

TEST_F(RootTree, InAUserNamespaceDevicesAreLeftOutWithAWarning) {
  const TempTree tree;
  std::vector<std::string> warnings;
  EngineOptions options;
  options.warn = [&](std::string_view text) { warnings.emplace_back(text); };
  Engine engine(options);
  const std::string tar = Archive().Add(EntryOf(kCharDevice, "null", 0666)).File("f", "x").Finish();
  StringSource source(tar);
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayer;
  TreeOptions in_namespace;
  in_namespace.in_user_namespace = true;
  ASSERT_TRUE(engine.ApplyToDirectory(descriptor, tree.path(), in_namespace, source, {}).ok());
  EXPECT_FALSE(Exists(tree / "null"));
  EXPECT_EQ(ReadFile(tree / "f"), "x");
  EXPECT_EQ(warnings.size(), 1u);
}

TEST_F(OverlayUpper, WhiteoutsBecomeDevicesAndOpaqueMarks) {
  Stack stack(1);
  MakeDirAt(stack.Lower(0) + "/d");
  WriteFile(stack.Lower(0) + "/d/old", "x");
  WriteFile(stack.Lower(0) + "/gone", "x");
  TarEntry whiteout = EntryOf(kRegular, ".wh.gone", 0);
  whiteout.uid = 5;
  MustApply(stack.Mounts(),
            Archive().Add(whiteout).File("d/.wh..wh..opq").File("d/new", "n").Finish());
  EXPECT_TRUE(S_ISCHR(Lstat(stack.Upper() + "/gone").st_mode));
  EXPECT_EQ(Lstat(stack.Upper() + "/gone").st_rdev, makedev(0, 0));
  EXPECT_EQ(Lstat(stack.Upper() + "/gone").st_uid, 5u);
  EXPECT_EQ(Xattr(stack.Upper() + "/d", "trusted.overlay.opaque"), "y");
  const Picture merged = stack.MergedPicture();
  EXPECT_EQ(merged.size(), 2u);
  EXPECT_TRUE(merged.contains("/d/new"));
  EXPECT_EQ(ReadFile(stack.Lower(0) + "/gone"), "x") << "lower trees are never touched";
}

TEST_F(OverlayUpper, MissingParentsAreMadeLikeTheTopmostLowerOnes) {
  Stack stack(2);
  MakeDirAt(stack.Lower(0) + "/p");
  MakeDirAt(stack.Lower(0) + "/p/q");
  MakeDirAt(stack.Lower(1) + "/p");
  ASSERT_EQ(chown((stack.Lower(1) + "/p").c_str(), 11, 12), 0);
  ASSERT_EQ(chmod((stack.Lower(1) + "/p").c_str(), 02750), 0);
  ASSERT_EQ(chown((stack.Lower(0) + "/p/q").c_str(), 21, 22), 0);
  ASSERT_EQ(setxattr((stack.Lower(1) + "/p").c_str(), "user.k", "v", 1, 0), 0);
  ASSERT_EQ(setxattr((stack.Lower(1) + "/p").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (stack.Lower(1) + "/p").c_str(), times, 0), 0);
  MustApply(stack.Mounts(), Archive().File("p/q/r/f", "x").Finish());
  const struct stat p = Lstat(stack.Upper() + "/p");
  EXPECT_EQ(p.st_uid, 11u);
  EXPECT_EQ(p.st_gid, 12u);
  EXPECT_EQ(p.st_mode & 07777, 02750u);
  EXPECT_EQ(p.st_mtim.tv_sec, 2000);
  EXPECT_EQ(Xattr(stack.Upper() + "/p", "user.k"), "v");
  EXPECT_EQ(Xattr(stack.Upper() + "/p", "trusted.overlay.opaque"), "<none>");
  EXPECT_EQ(Lstat(stack.Upper() + "/p/q").st_uid, 21u);
  EXPECT_EQ(Lstat(stack.Upper() + "/p/q/r").st_mode & 07777, 0755u);
  EXPECT_EQ(Lstat(stack.Upper() + "/p/q/r").st_gid, 0u)
      << "made plain, but for what the set-group-id bit would give";
}

TEST_F(OverlayUpper, AFileInAMiddleLayerHidesTheDirectoryBelowIt) {
  Stack stack(2);
  MakeDirAt(stack.Lower(0) + "/p", 0700);
  WriteFile(stack.Lower(1) + "/p", "a file");
  MustApply(stack.Mounts(), Archive().File("p/f", "x").Finish());
  EXPECT_EQ(Lstat(stack.Upper() + "/p").st_mode & 07777, 0755u);
}

TEST_F(OverlayUpper, ADirectoryInThePlaceOfItsWhiteoutHidesWhatWasBelow) {
  for (const bool whiteout_first : {true, false}) {
    Stack stack(1);
    MakeDirAt(stack.Lower(0) + "/d");
    WriteFile(stack.Lower(0) + "/d/old", "x");
    WriteFile(stack.Lower(0) + "/f", "old");
    Archive archive;
    if (whiteout_first) archive.File(".wh.d").File(".wh.f");
    archive.Dir("d/").File("d/new", "n").File("f", "new");
    if (!whiteout_first) archive.File(".wh.d").File(".wh.f");
    MustApply(stack.Mounts(), archive.Finish());
    const Picture merged = stack.MergedPicture();
    EXPECT_FALSE(merged.contains("/d/old")) << whiteout_first;
    EXPECT_TRUE(merged.contains("/d/new")) << whiteout_first;
    EXPECT_EQ(ReadFile(stack.Upper() + "/f"), "new") << whiteout_first;
  }
}

TEST_F(OverlayUpper, AnUpperAloneTakesMarksForALaterParent) {
  const TempTree upper;
  MustApply({{"overlay", "overlay", "", {"upperdir=" + upper.path()}}},
            Archive().File(".wh.gone").File("d/.wh..wh..opq").Finish());
  EXPECT_TRUE(S_ISCHR(Lstat(upper / "gone").st_mode));
  EXPECT_EQ(Xattr(upper / "d", "trusted.overlay.opaque"), "y");
}

TEST_F(OverlayUpper, WithUserXattrsTheMarksAreUserAttributesAndArchivesMayNotForgeThem) {
  const TempTree upper;
  TarEntry forged = EntryOf(kDirectory, "f/", 0755);
  forged.pax["SCHILY.xattr.user.overlay.redirect"] = "/elsewhere";
  MustApply({{"overlay", "overlay", "", {"upperdir=" + upper.path(), "userxattr"}}},
            Archive().File("d/.wh..wh..opq").Add(forged).Finish());
  EXPECT_EQ(Xattr(upper / "d", "user.overlay.opaque"), "y");
  EXPECT_EQ(Xattr(upper / "f", "user.overlay.redirect"), "<none>");
}

TEST_F(RootTree, OtherMountsAreMountedForTheCall) {
  // A tmpfs that exists only while it is mounted: what was written is gone, and nothing is left
  // behind.
  const TempTree temp;
  EngineOptions options;
  options.temp_dir = temp.path();
  const std::string tar = Archive().File("f", "x").Finish();
  const Result<model::Descriptor> done =
      Apply({{"tmpfs", "tmpfs", "", {"size=1m"}}}, tar, {}, options);
  ASSERT_TRUE(done.ok()) << done.error().text();
  EXPECT_EQ(done->digest.str(), Sha256Digest(tar));
  EXPECT_TRUE(temp.Open().List()->empty());
}

TEST_F(RootTree, AFullFilesystemIsAClearErrorAndIsUnmounted) {
  const TempTree temp;
  EngineOptions options;
  options.temp_dir = temp.path();
  const Result<model::Descriptor> done =
      Apply({{"tmpfs", "tmpfs", "", {"size=1m"}}},
            Archive().File("big", std::string(3 << 20, 'x')).Finish(), {}, options);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kResourceExhausted) << done.error().text();
  EXPECT_TRUE(temp.Open().List()->empty());
}

// Run by the next one under strace.
TEST_F(RootTree, DISABLED_AppliesWithSync) {
  const TempTree tree;
  ApplyOptions options;
  options.sync_fs = true;
  EXPECT_TRUE(Apply(Bind(tree.path()), Archive().File("f", "x").Finish(), options).ok());
}
TEST_F(RootTree, SyncReachesTheFilesystem) {
  const TempTree temp;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto calls = TraceCalls(
      {self, "--gtest_also_run_disabled_tests", "--gtest_filter=RootTree.DISABLED_AppliesWithSync"},
      "syncfs", temp / "log");
  ASSERT_TRUE(calls.ok()) << calls.error().text();
  EXPECT_LT(FindCall(*calls, 0, "syncfs(", {}), calls->size());
}

// --- properties
// -----------------------------------------------------------------------------------------------------

std::string Diff(const std::string& lower, const std::string& upper) {
  StringSink sink;
  const Status status = CompareTrees(Dir::Open(lower).value(), Dir::Open(upper).value(), sink, {});
  EXPECT_TRUE(status.ok()) << status.error().text();
  return sink.data;
}

TEST_F(RootProperty, ATreeOfRootSurvivesBecomingALayer) {
  for (uint64_t seed = 100; seed < 115; ++seed) {
    std::mt19937_64 random(seed);
    const TempTree empty;
    const TempTree tree;
    const TempTree copy;
    testing::MakeRandomTree(tree.path(), random, 150, /*as_root=*/true);
    MustApply(Bind(copy.path()), Diff(empty.path(), tree.path()));
    EXPECT_EQ(Differences(TakePicture(copy.path()), TakePicture(tree.path())), "")
        << "seed " << seed;
  }
}

TEST_F(RootProperty, ALayerOnAnOverlayShowsTheUpperTree) {
  for (uint64_t seed = 200; seed < 212; ++seed) {
    std::mt19937_64 random(seed);
    const TempTree empty;
    const TempTree upper;
    Stack stack(1);
    testing::MakeRandomTree(stack.Lower(0), random, 80, /*as_root=*/true);
    MustApply(Bind(upper.path()), Diff(empty.path(), stack.Lower(0)));
    testing::ChangeRandomly(upper.path(), random, 30, /*as_root=*/true);
    MustApply(stack.Mounts(), Diff(stack.Lower(0), upper.path()));
    // Overlay shows links between layers as separate files, and its own times for merged
    // directories.
    const testing::PictureOptions options = {.directory_times = false, .links = false};
    EXPECT_EQ(Differences(stack.MergedPicture(options), TakePicture(upper.path(), options)), "")
        << "seed " << seed;
  }
}

TEST_F(RootProperty, ADiffOfMountedOverlaysTurnsTheLowerIntoTheUpper) {
  for (uint64_t seed = 300; seed < 310; ++seed) {
    std::mt19937_64 random(seed);
    Stack stack(1);
    testing::MakeRandomTree(stack.Lower(0), random, 60, /*as_root=*/true);
    {
      os::TempMount mounted = os::TempMount::Create("/tmp", stack.Mounts()).value();
      testing::ChangeRandomly(mounted.path(), random, 20, /*as_root=*/true);
      ASSERT_TRUE(mounted.Close().ok());
    }
    content::FakeStore store;
    Engine engine({});
    WalkingDiffer differ(store, engine, {});
    const Result<model::Descriptor> made =
        differ.Compare({{"bind", stack.Lower(0), "", {"rbind", "ro"}}}, stack.Mounts(), {});
    ASSERT_TRUE(made.ok()) << made.error().text();
    const TempTree empty;
    const TempTree copy;
    MustApply(Bind(copy.path()), Diff(empty.path(), stack.Lower(0)));
    ASSERT_TRUE(differ.Apply(*made, Bind(copy.path()), {}).ok());
    // The walk compares whole seconds with whole seconds; names made through the overlay keep the
    // links it still sees.
    const testing::PictureOptions options = {.directory_times = false, .links = false};
    EXPECT_EQ(Differences(TakePicture(copy.path(), options), stack.MergedPicture(options)), "")
        << "seed " << seed;
  }
}

// --- other programs
// -------------------------------------------------------------------------------------------------

TEST_F(Others, GnuTarUnpacksOurLayersToTheSameTree) {
  for (uint64_t seed = 400; seed < 406; ++seed) {
    std::mt19937_64 random(seed);
    const TempTree empty;
    const TempTree tree;
    const TempTree theirs;
    const TempTree work;
    testing::MakeRandomTree(tree.path(), random, 120, /*as_root=*/true);
    WriteFile(work / "layer.tar", Diff(empty.path(), tree.path()));
    MustRun({"tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-p", "-C", theirs.path(),
             "-xf", work / "layer.tar"});
    EXPECT_EQ(Differences(TakePicture(theirs.path()), TakePicture(tree.path())), "")
        << "seed " << seed;
  }
}

TEST_F(Others, WeUnpackGnuTarsArchivesToTheSameTree) {
  for (const std::string format : {"gnu", "posix"}) {
    std::mt19937_64 random(500);
    const TempTree tree;
    const TempTree ours;
    const TempTree work;
    testing::MakeRandomTree(tree.path(), random, 200, /*as_root=*/true);
    std::vector<std::string> args = {"tar",
                                     "--format=" + format,
                                     "--numeric-owner",
                                     "-S",
                                     "-C",
                                     tree.path(),
                                     "-cf",
                                     work / "a.tar",
                                     "."};
    if (format == "posix") args.insert(args.end(), {"--xattrs", "--xattrs-include=*"});
    MustRun(args);
    MustApply(Bind(ours.path()), ReadFile(work / "a.tar"));
    Picture want = TakePicture(tree.path());
    if (format == "gnu") {  // has no attributes
      for (auto& [path, line] : want) line = line.substr(0, line.find(" security."));
    }
    EXPECT_EQ(Differences(TakePicture(ours.path()), want), "") << format;
  }
}

TEST_F(Others, UmociUnpacksTwoOfOurLayersToTheSameTree) {
  std::mt19937_64 random(600);
  const TempTree empty;
  const TempTree lower;
  const TempTree upper;
  const TempTree work;
  testing::MakeRandomTree(lower.path(), random, 80, /*as_root=*/true);
  MustApply(Bind(upper.path()), Diff(empty.path(), lower.path()));
  testing::ChangeRandomly(upper.path(), random, 25, /*as_root=*/true);
  WriteFile(work / "0.tar", Diff(empty.path(), lower.path()));
  WriteFile(work / "1.tar", Diff(lower.path(), upper.path()));
  const std::string image = (work / "image") + ":t";
  MustRun({"umoci", "init", "--layout", work / "image"});
  MustRun({"umoci", "new", "--image", image});
  MustRun({"umoci", "raw", "add-layer", "--image", image, work / "0.tar"});
  MustRun({"umoci", "raw", "add-layer", "--image", image, work / "1.tar"});
  MustRun({"umoci", "raw", "unpack", "--image", image, work / "rootfs"});
  const testing::PictureOptions options = {.directory_times = false};
  EXPECT_EQ(Differences(TakePicture(work / "rootfs", options), TakePicture(upper.path(), options)),
            "");
}

}  // namespace
}  // namespace corten::diff
