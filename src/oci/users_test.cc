#include "oci/users.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/test_dir.h"

namespace corten::oci {
namespace {

class Users : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mkdir((path_ + "/etc").c_str(), 0755), 0);
    Write("passwd",
          "root:x:0:0::/:/bin/sh\nbroken "
          "line\nme:x:1000:1001::/home:/bin/sh\nbig:x:9999999999:1::/:\n");
    Write("group", "root:x:0:\nwheel:x:10:root,me\naudio:x:29:you,me\nmine:x:1001:\n");
    root_ = Dir::Open(path_).value();
  }
  void Write(const char* name, const std::string& text) {
    std::ofstream(path_ + "/etc/" + name) << text;
  }
  TestDir tmp_;
  const std::string path_ = tmp_.dir().path();
  Dir root_;
};

TEST_F(Users, ANameANumberAndAPairAreFound) {
  EXPECT_EQ(FindUser(root_, "me").value(), (User{1000, 1001}));
  EXPECT_EQ(FindUser(root_, "1000").value(), (User{1000, 1001}));
  EXPECT_EQ(FindUser(root_, "4242").value(), (User{4242, 0}));
  EXPECT_EQ(FindUser(root_, "me:audio").value(), (User{1000, 29}));
  EXPECT_EQ(FindUser(root_, "7:wheel").value(), (User{7, 10}));
  EXPECT_EQ(FindUser(root_, "me:77").value(), (User{1000, 77}));
  EXPECT_EQ(FindUser(root_, "5:").value(), (User{5, 0}));
}

TEST_F(Users, WhoIsUnknownOrNonsenseIsRefused) {
  EXPECT_EQ(FindUser(root_, "you").error().text(), "no users found");
  EXPECT_EQ(FindUser(root_, "me:none").error().text(), "no groups found");
  EXPECT_EQ(FindUser(root_, "big").error().code(), Code::kNotFound);  // its line is not understood
  EXPECT_EQ(FindUser(root_, "1:2:3").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(FindUser(root_, "-1").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(FindUser(root_, "99999999999").error().code(), Code::kInvalidArgument);
}

TEST_F(Users, GroupsAreThoseThatNameTheUser) {
  EXPECT_EQ(FindGroups(root_, "me").value(), (std::vector<uint32_t>{10, 29}));
  EXPECT_EQ(FindGroups(root_, "1000").value(), (std::vector<uint32_t>{10, 29}));
  EXPECT_EQ(FindGroups(root_, "root").value(), (std::vector<uint32_t>{10}));
  EXPECT_TRUE(FindGroups(root_, "me:audio").value().empty());
}

TEST_F(Users, ALinkOutOfTheRootStaysInsideIt) {
  TestDir outside;
  std::ofstream(outside.dir().path() + "/passwd") << "me:x:66:66::/:\n";
  ASSERT_EQ(unlink((path_ + "/etc/passwd").c_str()), 0);
  ASSERT_EQ(symlink((outside.dir().path() + "/passwd").c_str(), (path_ + "/etc/passwd").c_str()),
            0);
  EXPECT_EQ(FindUser(root_, "me").error().text(), "no users found");
}

TEST_F(Users, AFifoIsNotWaitedFor) {
  ASSERT_EQ(unlink((path_ + "/etc/passwd").c_str()), 0);
  ASSERT_EQ(mkfifo((path_ + "/etc/passwd").c_str(), 0644), 0);
  EXPECT_EQ(FindUser(root_, "me").error().code(), Code::kInvalidArgument);
}

TEST_F(Users, NumbersNeedNoRoot) {
  Json process;
  const WithRoot never = [](const auto&) { return Status(InternalError("asked")); };
  ASSERT_TRUE(SetUser(process, "5:6", never).ok());
  EXPECT_EQ(process["user"], (Json{{"uid", 5}, {"gid", 6}}));
  EXPECT_FALSE(SetUser(process, "me", never).ok());
}

TEST_F(Users, ThePrimaryGroupComesFirst) {
  Json process;
  const WithRoot here = [this](const auto& body) { return body(root_); };
  ASSERT_TRUE(SetUser(process, "me", here).ok());
  ASSERT_TRUE(SetAdditionalGroups(process, "me", here).ok());
  EXPECT_EQ(process["user"]["additionalGids"], Json({1001, 10, 29}));
}

}  // namespace
}  // namespace corten::oci
