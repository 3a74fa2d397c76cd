#include "base/dir.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace corten {
namespace {

class DirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/corten-dir-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = Dir::Open(name).value();
  }
  void TearDown() override {
    ASSERT_TRUE(dir_.RemoveChildren().ok());
    ASSERT_EQ(rmdir(dir_.path().c_str()), 0);
  }
  Dir dir_;
};

TEST_F(DirTest, ReplaceIsAllOrNothing) {
  ASSERT_TRUE(ReplaceFile(dir_, "a", "one", 0640).ok());
  {
    auto replacer = FileReplacer::Create(dir_, "a", 0640).value();
    ASSERT_TRUE(replacer.Write("two").ok());
  }
  EXPECT_EQ(dir_.ReadFile("a", 100).value(), "one");
  EXPECT_EQ(dir_.List().value().size(), 1u);
  EXPECT_EQ(dir_.Stat("a").value().st_mode & 07777, 0640u);
}

TEST_F(DirTest, UntrustedNamesStayInside) {
  ASSERT_TRUE(dir_.MakeDir("in", 0755).ok());
  ASSERT_EQ(symlinkat("/etc", dir_.fd().get(), "out"), 0);
  ASSERT_EQ(symlinkat("../../..", dir_.fd().get(), "up"), 0);
  EXPECT_EQ(dir_.OpenBeneath("out/passwd", O_RDONLY).error().code(), Code::kPermissionDenied);
  EXPECT_EQ(dir_.OpenBeneath("../x", O_RDONLY).error().code(), Code::kPermissionDenied);
  EXPECT_EQ(dir_.OpenBeneath("up", O_RDONLY).error().code(), Code::kPermissionDenied);
  EXPECT_EQ(dir_.OpenInRoot("out/passwd", O_RDONLY).error().code(), Code::kNotFound);
  EXPECT_TRUE(dir_.OpenInRoot("up/in", O_RDONLY).ok());
}

TEST_F(DirTest, RemoveTreeHandlesDepthAndLinks) {
  Fd at(fcntl(dir_.fd().get(), F_DUPFD_CLOEXEC, 0));
  ASSERT_EQ(mkdirat(at.get(), "deep", 0755), 0);
  Fd current(openat(at.get(), "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(mkdirat(current.get(), "d", 0755), 0);
    ASSERT_EQ(symlinkat("/etc", current.get(), "link"), 0);
    current = Fd(openat(current.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(current.valid());
  }
  EXPECT_TRUE(dir_.RemoveTree("deep").ok());
  EXPECT_FALSE(dir_.Exists("deep"));
  EXPECT_EQ(access("/etc/passwd", F_OK), 0);
  EXPECT_TRUE(dir_.RemoveTree("missing").ok());
}

TEST_F(DirTest, ReadFileRefusesMoreThanTheLimit) {
  ASSERT_TRUE(ReplaceFile(dir_, "big", std::string(100, 'x'), 0600).ok());
  EXPECT_EQ(dir_.ReadFile("big", 99).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(dir_.ReadFile("big", 100).value().size(), 100u);
}

TEST_F(DirTest, MakeDirsMakesParents) {
  EXPECT_TRUE(MakeDirs(dir_.Path("a/b/c"), 0700).ok());
  EXPECT_TRUE(MakeDirs(dir_.Path("a/b/c"), 0700).ok());
  EXPECT_TRUE(dir_.Exists("a/b/c"));
}

TEST_F(DirTest, DeepTreesAreRemovedWithFewDescriptors) {
  struct rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  const struct rlimit few = {256, old.rlim_max};
  {
    Dir dir = dir_.MakeDir("deep", 0755).value();
    for (int i = 0; i < 1000; ++i) {
      ASSERT_TRUE(dir.MakeDir("beside", 0755).ok());
      ASSERT_TRUE(ReplaceFile(dir, "file", "x", 0644, FileReplacer::Durable::kNo).ok());
      dir = dir.MakeDir("deeper", 0755).value();
    }
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const Status removed = dir_.RemoveTree("deep");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_TRUE(removed.ok()) << removed.error().text();
  EXPECT_FALSE(dir_.Exists("deep"));
}

}  // namespace
}  // namespace corten
