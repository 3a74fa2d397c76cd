#include "cli/progress_picture.h"

#include <gtest/gtest.h>

namespace corten::cli {
namespace {

constexpr const char* kManifest =
    "manifest-sha256:395fef56bb93e259957f7c22b2e522f5dc1a194b501e479abae68c13f0da3b43";
constexpr const char* kLayer =
    "layer-sha256:68da3995f430f4e1270263dc474c3806ae4349999265e04b7941507a7a116268";

image::Progress Told(const std::string& event, const std::string& name,
                     std::vector<std::string> parents = {}, int64_t bytes = 0, int64_t total = 0) {
  image::Progress out;
  out.event = event;
  out.name = name;
  out.parents = std::move(parents);
  out.progress = bytes;
  out.total = total;
  return out;
}

const std::string kFull = "|\033[32m" + std::string(38, '+') + "\033[0m|";

TEST(TransferTree, LooksAsTheOriginals) {
  TransferTree tree;
  EXPECT_FALSE(tree.Apply(Told("Pulling from OCI Registry (r/many-gzip:1)", "")));
  EXPECT_TRUE(tree.Apply(Told("fetching image content", "r/many-gzip:1")));
  EXPECT_TRUE(tree.Apply(Told("complete", kManifest, {"r/many-gzip:1"}, 405, 405)));
  EXPECT_TRUE(tree.Apply(Told("downloading", kLayer, {kManifest}, 262144, 1036186)));
  EXPECT_EQ(tree.Picture(Elapsed(0.2)),
            "r/many gzip:1                           \tfetching image content\t\n"
            "└──manifest (395fef56bb93)              \tcomplete   \t" +
                kFull +
                "\t\n"
                "   └──layer (68da3995f430)              \tdownloading\t|\033[32m" +
                std::string(9, '+') + "\033[0m" + std::string(29, '-') +
                "|\t256.0 Ki/1011.9 KiB\t\n"
                "Pulling from OCI Registry (r/many-gzip:1)\telapsed: 0.2 s\ttotal:  256.4 \t(1.3 "
                "MiB/s)\t\n");
}

TEST(TransferTree, PutsWhatHasSeveralParentsBelowEach) {
  TransferTree tree;
  tree.Apply(Told("saved", "image"));
  tree.Apply(Told("complete", "a", {"image"}));
  tree.Apply(Told("complete", "b", {"image"}));
  tree.Apply(Told("waiting", "shared", {"a"}));
  tree.Apply(Told("already exists", "shared", {"a", "b"}));
  const std::string picture = tree.Picture(Elapsed(1));
  EXPECT_NE(picture.find("├──a "), std::string::npos) << picture;
  EXPECT_NE(picture.find("│  └──shared"), std::string::npos) << picture;
  EXPECT_NE(picture.find("\n   └──shared"), std::string::npos) << picture;
}

TEST(TransferTree, EndsForAnObjectThatIsItsOwnParent) {
  TransferTree tree;
  tree.Apply(Told("waiting", "a"));
  tree.Apply(Told("waiting", "b", {"a"}));
  tree.Apply(Told("waiting", "a", {"b", "a"}));
  EXPECT_FALSE(tree.Picture(Elapsed(1)).empty());
}

TEST(FetchTable, LooksAsTheOriginals) {
  FetchTable table("127.0.0.1:49933/busybox:1");
  table.Apply(Told("Resolving from x", ""));
  table.Apply(Told("Pulling from x", ""));
  table.Apply(Told("fetching image content", "127.0.0.1:49933/busybox:1"));
  table.Apply(Told("already exists", kManifest, {"127.0.0.1:49933/busybox:1"}));
  EXPECT_EQ(table.Picture(Elapsed(0.1)),
            "127.0.0.1:49933/busybox:1:                                                        "
            "resolved       " +
                kFull +
                " \n"
                "manifest-sha256:395fef56bb93e259957f7c22b2e522f5dc1a194b501e479abae68c13f0da3b43: "
                "exists         " +
                kFull +
                " \n"
                "elapsed: 0.1 s                                                                    "
                "total:   0.0 B "
                "(0.0 B/s)                                         \n");
}

TEST(LinesOnScreen, CountsWhatATerminalShows) {
  EXPECT_EQ(LinesOnScreen("a\nb\n", 80), 2);
  EXPECT_EQ(LinesOnScreen(std::string(80, 'x') + "\n", 80), 1);
  EXPECT_EQ(LinesOnScreen(std::string(81, 'x') + "\n", 80), 2);
  EXPECT_EQ(LinesOnScreen("\033[32m" + std::string(80, '+') + "\033[0m\n", 80), 1);
  EXPECT_EQ(LinesOnScreen("1234567\t\t\tx\n", 10), 3);
}

}  // namespace
}  // namespace corten::cli
