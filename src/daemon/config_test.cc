#include "daemon/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/dir.h"

namespace corten::daemon {
namespace {

struct Settings {
  std::string address = "/default.sock";
  int64_t uid = 7;
  std::vector<std::string> list = {"a"};
};

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/corten-config-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = Dir::Open(name).value();
  }
  void TearDown() override {
    ASSERT_TRUE(dir_.RemoveChildren().ok());
    ASSERT_EQ(rmdir(dir_.path().c_str()), 0);
  }
  std::string Write(const std::string& name, const std::string& text) {
    const size_t slash = name.find('/');
    const Dir below = slash == std::string::npos
                          ? Dir::Open(dir_.path()).value()
                          : dir_.MakeDir(name.substr(0, slash), 0755).value();
    EXPECT_TRUE(ReplaceFile(below, name.substr(slash + 1), text, 0644).ok());
    return dir_.Path(name);
  }
  std::vector<plugin::Descriptor> List() {
    plugin::Descriptor descriptor;
    descriptor.type = "io.containerd.server.v1";
    descriptor.id = "grpc";
    descriptor = plugin::WithConfig<Settings>(
        std::move(descriptor), [this](Settings& settings, plugin::ConfigTable& table) {
          settings_ = &settings;
          table.Add("address", &settings.address)
              .Add("uid", &settings.uid)
              .Add("list", &settings.list);
        });
    std::vector<plugin::Descriptor> list;
    list.push_back(std::move(descriptor));
    return list;
  }
  Dir dir_;
  Settings* settings_ = nullptr;
};

TEST_F(ConfigTest, AMissingFileIsAnErrorUnlessItIsTheDefaultOne) {
  EXPECT_EQ(LoadConfig(dir_.Path("none.toml"), false).error().code(), Code::kNotFound);
  EXPECT_EQ(LoadConfig(dir_.Path("none.toml"), true).value().root, "/var/lib/containerd");
}

TEST_F(ConfigTest, SyntaxErrorsNameFileRowAndColumn) {
  const std::string path = Write("c.toml", "version = 2\nroot = [\n");
  const auto config = LoadConfig(path, false);
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().text().find(path), std::string::npos);
  EXPECT_NE(config.error().text().find("row 2"), std::string::npos) << config.error().text();
}

TEST_F(ConfigTest, ALetterBeyondAsciiInABareKeyIsASyntaxError) {
  const auto config = LoadConfig(Write("c.toml", "version = 4\n\u00e9 = 1\n"), false);
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().text().find("row 2"), std::string::npos) << config.error().text();
}

TEST_F(ConfigTest, UnknownKeysAreNamedWithLineAndHint) {
  Config config =
      LoadConfig(
          Write(
              "c.toml",
              "version = 4\nrooot = 'x'\n[plugins.'io.containerd.server.v1.grpc']\nadress = 'y'\n"),
          false)
          .value();
  auto list = List();
  ASSERT_TRUE(ApplyPluginTables(config, list).ok());
  ASSERT_EQ(config.warnings.size(), 2u);
  EXPECT_EQ(config.warnings[0].fields["row"], "2");
  EXPECT_EQ(config.warnings[0].fields["hint"], "did you mean \"root\"?");
  EXPECT_EQ(config.warnings[1].fields["file"], dir_.Path("c.toml") + ":4");
  EXPECT_NE(config.warnings[1].fields["error"].find("did you mean \"address\"?"),
            std::string::npos);
}

TEST_F(ConfigTest, WrongTypesAreErrorsWithFileAndLine) {
  EXPECT_NE(
      LoadConfig(Write("a.toml", "version = 4\nroot = 3\n"), false).error().text().find("a.toml:2"),
      std::string::npos);
  Config config =
      LoadConfig(Write("b.toml",
                       "version = 4\n[plugins.'io.containerd.server.v1.grpc']\n  uid = 'root'\n"),
                 false)
          .value();
  auto list = List();
  const Status applied = ApplyPluginTables(config, list);
  ASSERT_FALSE(applied.ok());
  EXPECT_NE(applied.error().text().find("b.toml:3"), std::string::npos) << applied.error().text();
}

TEST_F(ConfigTest, OldVersionsMigrate) {
  Config two =
      LoadConfig(Write("2.toml",
                       "version = 2\n[grpc]\n  address = '/x.sock'\n  uid = "
                       "5\n[plugins.'io.containerd.grpc.v1.cri']\n  sandbox_image = 'p'\n"),
                 false)
          .value();
  auto list = List();
  ASSERT_TRUE(ApplyPluginTables(two, list).ok());
  EXPECT_EQ(settings_->address, "/x.sock");
  EXPECT_EQ(settings_->uid, 5);
  Config one =
      LoadConfig(Write("1.toml", "disabled_plugins = ['cri', 'overlayfs']\n"), false).value();
  EXPECT_EQ(one.disabled_plugins,
            (std::vector<std::string>{"io.containerd.grpc.v1.cri",
                                      "io.containerd.snapshotter.v1.overlayfs"}));
  EXPECT_NE(LoadConfig(Write("9.toml", "version = 9\n"), false)
                .error()
                .text()
                .find("equal to or less than `4`, got `9`"),
            std::string::npos);
}

TEST_F(ConfigTest, DropInsMergeByTheRules) {
  Write("conf.d/10.toml",
        "version = 3\noom_score = 0\n[debug]\n "
        "level='debug'\n[plugins.'io.containerd.server.v1.grpc']\n list = []\n uid = 0\n");
  const std::string root = Write(
      "c.toml",
      "version = 4\nimports = ['conf.d/*.toml', 'c.toml']\noom_score = -5\n"
      "[plugins.'io.containerd.server.v1.grpc']\n address = '/a'\n list = ['x', 'y']\n uid = 9\n");
  Config config = LoadConfig(root, false).value();
  auto list = List();
  ASSERT_TRUE(ApplyPluginTables(config, list).ok());
  EXPECT_EQ(config.oom_score, -5);
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(settings_->address, "/a");
  EXPECT_EQ(settings_->uid, 0);
  EXPECT_TRUE(settings_->list.empty());
  Write("conf.d/10.toml", "version = 4\n");
  const std::string old_root = Write("c.toml", "version = 3\nimports = ['conf.d/*.toml']\n");
  EXPECT_NE(LoadConfig(old_root, false).error().text().find("higher than root config version 3"),
            std::string::npos);
}

TEST_F(ConfigTest, WhatIsPrintedReadsBackAsItself) {
  Config config = LoadConfig("/nonexistent", true).value();
  auto list = List();
  settings_->address = "it's";
  const std::string text = PrintConfig(config, list);
  Config again = LoadConfig(Write("p.toml", text), false).value();
  auto other = List();
  ASSERT_TRUE(ApplyPluginTables(again, other).ok());
  EXPECT_TRUE(again.warnings.empty());
  EXPECT_EQ(settings_->address, "it's");
  EXPECT_EQ(PrintConfig(again, other), text);
}

}  // namespace
}  // namespace corten::daemon
