// A filesystem that is really full. Needs root (mounts a tmpfs in a mount namespace of its own).
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/hash.h"
#include "content/local/local_store.h"

namespace corten::content {
namespace {

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount a tmpfs";
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    char name[] = "/tmp/corten-content-full-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
    ASSERT_EQ(mount("tmpfs", name, "tmpfs", 0, "size=3m"), 0);
    mounted_ = true;
    store_ = LocalStore::Open(StrCat(path_, "/store")).value();
  }
  void TearDown() override {
    store_.reset();
    if (mounted_) {
      EXPECT_EQ(umount(path_.c_str()), 0);
      EXPECT_EQ(rmdir(path_.c_str()), 0);
    }
  }

  std::string path_;
  bool mounted_ = false;
  std::unique_ptr<LocalStore> store_;
};

TEST_F(FullDiskTest, TheErrorNamesPathAndFreeBytesAndTheIngestGoesOnOnceThereIsRoom) {
  const std::string data(2 << 20, 'x');
  std::unique_ptr<Writer> first = store_->OpenWriter({"first", {}, 0}).value();
  ASSERT_TRUE(first->Write(data).ok());
  std::unique_ptr<Writer> second = store_->OpenWriter({"second", {}, 0}).value();
  ASSERT_TRUE(second->Write(data.substr(0, 100'000)).ok());
  const Status full = second->Write(data.substr(100'000));
  ASSERT_FALSE(full.ok());
  EXPECT_TRUE(full.error().Is(Code::kResourceExhausted)) << full.error().text();
  EXPECT_NE(full.error().text().find(path_), std::string::npos) << full.error().text();
  EXPECT_NE(full.error().text().find("bytes free)"), std::string::npos) << full.error().text();
  EXPECT_EQ(second->GetStatus()->offset, 100'000);
  EXPECT_TRUE(store_->GetInfo(model::Digest::Parse(Sha256Digest(data)).value())
                  .error()
                  .Is(Code::kNotFound));
  first.reset();
  ASSERT_TRUE(store_->Abort("first").ok());
  ASSERT_TRUE(second->Write(data.substr(100'000)).ok());
  EXPECT_EQ(second->Commit({}).value().str(), Sha256Digest(data));
}

}  // namespace
}  // namespace corten::content
