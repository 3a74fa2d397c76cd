#include "snapshot/native/native.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test_dir.h"
#include "snapshot/contract.h"
#include "snapshot/native/copy_tree.h"

namespace corten::snapshot::native {
namespace {

class NativeHarness final : public SnapshotterHarness {
 public:
  NativeHarness() : driver_(Open({temp_.Path("root")}).value()) {}
  Snapshotter& snapshotter() override { return *driver_; }

 private:
  TestDir temp_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(Native, SnapshotterContract,
                         ::testing::Values(SnapshotterCase{
                             "Default", [] { return std::make_unique<NativeHarness>(); }, false}),
                         SnapshotterCaseName);

class NativeTest : public ::testing::Test {
 protected:
  void SetUp() override { driver_ = Open({temp_.Path("root")}).value(); }
  std::string Tree(const std::string& rest) { return temp_.Path("root/snapshots/" + rest); }
  static void Put(const std::string& path, const std::string& text) {
    const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd.valid()) << path;
    ASSERT_TRUE(WriteAll(fd, text, path).ok());
  }

  TestDir temp_;
  std::unique_ptr<Driver> driver_;
};

// As `ctr snapshots mounts` of containerd 2.3.4 shows them.
TEST_F(NativeTest, MountsAndTreesAreContainerds) {
  const std::vector<model::Mount> first = driver_->Prepare("a1", "", {}).value();
  EXPECT_EQ(first, (std::vector<model::Mount>{{"bind", Tree("1"), "", {"rbind", "rw"}}}));
  struct stat st = {};
  ASSERT_EQ(stat(Tree("1").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
  Put(Tree("1/file"), "content");
  ASSERT_TRUE(driver_->Commit("c1", "a1", {}).ok());
  EXPECT_EQ(driver_->View("v", "c1", {}).value(),
            (std::vector<model::Mount>{{"bind", Tree("1"), "", {"rbind", "ro"}}}));
  EXPECT_NE(stat(Tree("2").c_str(), &st), 0) << "a view has no tree of its own";
  EXPECT_EQ(driver_->Prepare("a2", "c1", {}).value(),
            (std::vector<model::Mount>{{"bind", Tree("3"), "", {"rbind", "rw"}}}));
  EXPECT_EQ(ReadFileAt(Tree("3/file"), 100).value(), "content");
  EXPECT_EQ(driver_->View("v0", "", {}).value(),
            (std::vector<model::Mount>{{"bind", Tree("4"), "", {"rbind", "ro"}}}));
  EXPECT_EQ(stat(Tree("4").c_str(), &st), 0);
  ASSERT_TRUE(driver_->Remove("a2").ok());
  EXPECT_NE(stat(Tree("3").c_str(), &st), 0);
}

TEST_F(NativeTest, SettingAParentAtCommitIsNotBuilt) {
  ASSERT_TRUE(driver_->Prepare("a", "", {}).ok());
  EXPECT_TRUE(driver_->Commit("b", "a", {{}, "x"}).error().Is(Code::kUnimplemented));
  EXPECT_EQ(driver_->Stat("a")->kind, Kind::kActive);
}

TEST(CopyTree, TheCopyIsLikeTheOriginal) {
  const TestDir temp;
  const Dir from = temp.dir().MakeDir("from", 0750).value();
  const Dir to = temp.dir().MakeDir("to", 0700).value();
  const Dir below = from.MakeDir("below", 0701).value();
  ASSERT_TRUE(ReplaceFile(below, "file", std::string(300'000, 'x'), 0640).ok());
  ASSERT_EQ(linkat(below.fd().get(), "file", from.fd().get(), "second-name", 0), 0);
  ASSERT_EQ(symlinkat("/etc/passwd", from.fd().get(), "link"), 0);
  ASSERT_EQ(mkfifoat(from.fd().get(), "fifo", 0600), 0);
  {
    const Fd sparse = from.OpenFile("sparse", O_WRONLY | O_CREAT, 0600).value();
    ASSERT_TRUE(PwriteAll(sparse, "in the middle", 40 << 20, "sparse").ok());
    ASSERT_EQ(ftruncate(sparse.get(), 100 << 20), 0);
  }
  const struct timespec old[2] = {{1000000000, 1}, {1000000001, 2}};
  ASSERT_EQ(utimensat(from.fd().get(), "below", old, 0), 0);
  ASSERT_EQ(futimens(from.fd().get(), old), 0);
  const Status copied = CopyTree(from, to);
  ASSERT_TRUE(copied.ok()) << copied.error().text();
  EXPECT_EQ(to.ReadFile("below/file", 1 << 20).value(), std::string(300'000, 'x'));
  EXPECT_EQ(to.Stat("below/file")->st_ino, to.Stat("second-name")->st_ino);
  EXPECT_EQ(to.Stat("below/file")->st_mode & 07777, 0640u);
  EXPECT_EQ(to.Stat("below")->st_mode & 07777, 0701u);
  EXPECT_EQ(to.Stat("below")->st_mtim.tv_sec, 1000000001);
  EXPECT_EQ(to.Stat(".")->st_mode & 07777, 0750u);
  EXPECT_EQ(to.Stat(".")->st_mtim.tv_sec, 1000000001);
  EXPECT_TRUE(S_ISFIFO(to.Stat("fifo")->st_mode));
  char text[32] = {};
  ASSERT_EQ(readlinkat(to.fd().get(), "link", text, sizeof(text)), 11);
  EXPECT_STREQ(text, "/etc/passwd");
  EXPECT_EQ(to.Stat("sparse")->st_size, 100 << 20);
  EXPECT_LT(to.Stat("sparse")->st_blocks * 512, 10 << 20) << "holes were filled";
  const Fd sparse = to.OpenFile("sparse", O_RDONLY).value();
  char middle[13];
  ASSERT_EQ(pread(sparse.get(), middle, sizeof(middle), 40 << 20), 13);
  EXPECT_EQ(std::string_view(middle, 13), "in the middle");
}

TEST(CopyTree, DepthIsNotBoundedByDescriptorsOrPaths) {
  const TestDir temp;
  const Dir from = temp.dir().MakeDir("from", 0755).value();
  const Dir to = temp.dir().MakeDir("to", 0755).value();
  constexpr int kDepth = 1500;
  Dir dir = from.MakeDir("deeper", 0755).value();
  for (int i = 1; i < kDepth; ++i) dir = dir.MakeDir("deeper", 0755).value();
  ASSERT_TRUE(ReplaceFile(dir, "bottom", "reached", 0644).ok());
  const Status copied = CopyTree(from, to);
  ASSERT_TRUE(copied.ok()) << copied.error().text();
  Dir copy = to.OpenDir("deeper").value();
  for (int i = 1; i < kDepth; ++i) copy = copy.OpenDir("deeper").value();
  EXPECT_EQ(copy.ReadFile("bottom", 100).value(), "reached");
}

}  // namespace
}  // namespace corten::snapshot::native
