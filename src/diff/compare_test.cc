#include "diff/compare.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "base/hash.h"
#include "base/strcat.h"
#include "content/fake_store.h"
#include "diff/apply.h"
#include "diff/chunk_source.h"
#include "diff/tar_reader.h"
#include "diff/test_fixture.h"

namespace corten::diff {
namespace {

using testing::Differences;
using testing::Picture;
using testing::StringSink;
using testing::StringSource;
using testing::TakePicture;
using testing::TempTree;
using testing::WriteFile;

std::vector<model::Mount> Bind(const std::string& path, const char* mode = "rw") {
  return {{"bind", path, "", {"rbind", mode}}};
}

std::string Diff(const TempTree& lower, const TempTree& upper,
                 const TreeCompareOptions& options = {}) {
  StringSink sink;
  const Status status = CompareTrees(lower.Open(), upper.Open(), sink, options);
  EXPECT_TRUE(status.ok()) << status.error().text();
  return sink.data;
}

// "name type[ -> link]" of each member.
std::vector<std::string> Listing(std::string_view tar) {
  MemoryChunks chunks(tar);
  TarReader reader(chunks);
  std::vector<std::string> lines;
  while (true) {
    const Result<const TarEntry*> entry = reader.Next();
    EXPECT_TRUE(entry.ok());
    if (!entry.ok() || *entry == nullptr) return lines;
    lines.push_back(StrCat((*entry)->name, " ", (*entry)->type,
                           (*entry)->link_name.empty() ? "" : " -> ", (*entry)->link_name));
  }
}
using Lines = std::vector<std::string>;

void Touch(const std::string& path, int64_t seconds, int64_t nanos = 0) {
  const timespec times[2] = {{seconds, nanos}, {seconds, nanos}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

void MakeDirAt(const std::string& path) { ASSERT_EQ(mkdir(path.c_str(), 0755), 0); }

TEST(CompareTrees, EqualTreesGiveAnEmptyArchive) {
  const TempTree a;
  const TempTree b;
  for (const TempTree* tree : {&a, &b}) {
    MakeDirAt(*tree / "d");
    WriteFile(*tree / "d/f", "same");
    Touch(*tree / "d/f", 1000);
  }
  EXPECT_EQ(Diff(a, b), std::string(1024, '\0'));
}

TEST(CompareTrees, NewChangedAndDeletedEntriesWithTheirParents) {
  const TempTree a;
  const TempTree b;
  for (const TempTree* tree : {&a, &b}) {
    MakeDirAt(*tree / "d");
    MakeDirAt(*tree / "d/e");
    WriteFile(*tree / "d/e/same", "same");
    Touch(*tree / "d/e/same", 1000);
  }
  WriteFile(a / "d/e/gone", "x");
  MakeDirAt(a / "gonedir");
  WriteFile(a / "gonedir/inside", "x");
  WriteFile(b / "d/e/new", "x");
  WriteFile(b / "a", "x");
  MakeDirAt(b / "z");
  ASSERT_EQ(symlink("../a", (b / "z/l").c_str()), 0);
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"a 0", "d/ 5", "d/e/ 5", "d/e/.wh.gone 0", "d/e/new 0",
                                        ".wh.gonedir 0", "z/ 5", "z/l 2 -> ../a"}));
}

TEST(CompareTrees, PathOrderPutsTheSlashFirst) {
  const TempTree a;
  const TempTree b;
  MakeDirAt(b / "a");
  WriteFile(b / "a/z", "");
  WriteFile(b / "a-b", "");
  WriteFile(b / "a.c", "");
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"a/ 5", "a/z 0", "a-b 0", "a.c 0"}));
}

TEST(CompareTrees, ATypeChangeIsOneEntry) {
  const TempTree a;
  const TempTree b;
  MakeDirAt(a / "was-dir");
  WriteFile(a / "was-dir/inside", "x");
  WriteFile(b / "was-dir", "a file");
  WriteFile(a / "was-file", "x");
  MakeDirAt(b / "was-file");
  WriteFile(b / "was-file/inside", "x");
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"was-dir 0", "was-file/ 5", "was-file/inside 0"}));
}

TEST(CompareTrees, TheContentDecidesWhenBothTimesAreWholeSeconds) {
  const TempTree a;
  const TempTree b;
  for (const TempTree* tree : {&a, &b}) {
    WriteFile(*tree / "whole-same", "same");
    WriteFile(*tree / "whole-differs", tree == &a ? "aaaa" : "bbbb");
    WriteFile(*tree / "fraction", tree == &a ? "aaaa" : "bbbb");
    WriteFile(*tree / "one-fraction", "same");
    ASSERT_EQ(symlink(tree == &a ? "aaaa" : "bbbb", (*tree / "link").c_str()), 0);
    for (const char* name : {"whole-same", "whole-differs", "link"}) Touch(*tree / name, 1000);
    Touch(*tree / "fraction", 1000, 5);
    Touch(*tree / "one-fraction", 1000, tree == &a ? 0 : 5);
  }
  // A file of equal size and equal nanoseconds counts as the same: that is the rule, whatever it
  // holds.
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"link 2 -> bbbb", "one-fraction 0", "whole-differs 0"}));
}

TEST(CompareTrees, DirectoriesIgnoreTheirTimesButNotTheirMode) {
  const TempTree a;
  const TempTree b;
  MakeDirAt(a / "d");
  MakeDirAt(b / "d");
  MakeDirAt(a / "m");
  MakeDirAt(b / "m");
  Touch(b / "d", 77);
  ASSERT_EQ(chmod((b / "m").c_str(), 0700), 0);
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"m/ 5"}));
}

TEST(CompareTrees, HardLinksPointToTheFirstNameAndBringUnchangedOnesAlong) {
  const TempTree a;
  const TempTree b;
  WriteFile(b / "b", "x");
  ASSERT_EQ(link((b / "b").c_str(), (b / "c").c_str()), 0);
  EXPECT_EQ(Listing(Diff(a, b)), (Lines{"b 0", "c 1 -> b"}));
  // "m" is there before and after with the same data; only the new name changes the set.
  const TempTree c;
  const TempTree d;
  for (const TempTree* tree : {&c, &d}) {
    MakeDirAt(*tree / "k");
    WriteFile(*tree / "k/m", "x");
    Touch(*tree / "k/m", 1000);
  }
  ASSERT_EQ(link((d / "k/m").c_str(), (d / "n").c_str()), 0);
  Touch(d / "n", 1000);
  EXPECT_EQ(Listing(Diff(c, d)), (Lines{"n 0", "k/ 5", "k/m 1 -> n"}));
}

TEST(CompareTrees, HeadersCarryWholeSecondsNoNamesAndTheEpochCap) {
  const TempTree a;
  const TempTree b;
  WriteFile(b / "f", "x");
  Touch(b / "f", 2000, 999);
  WriteFile(a / "gone", "x");
  for (const bool capped : {false, true}) {
    TreeCompareOptions options;
    if (capped) options.source_date_epoch = Time{1500, 5};
    const std::string tar = Diff(a, b, options);
    MemoryChunks chunks(tar);
    TarReader reader(chunks);
    const TarEntry file = **reader.Next();
    EXPECT_EQ(file.mtime, (Time{capped ? 1500 : 2000, 0}));
    EXPECT_EQ(file.user_name, "");
    EXPECT_TRUE(file.pax.empty());
    EXPECT_FALSE(file.atime.has_value());
    const TarEntry whiteout = **reader.Next();
    EXPECT_EQ(whiteout.name, ".wh.gone");
    EXPECT_EQ(whiteout.mtime, (Time{0, 0}));
    EXPECT_EQ(whiteout.size, 0);
    EXPECT_EQ(whiteout.mode, 0);
  }
}

TEST(CompareTrees, CancelingEndsIt) {
  const TempTree a;
  const TempTree b;
  WriteFile(b / "f", "x");
  StringSink sink;
  TreeCompareOptions options;
  options.canceled = [] { return true; };
  const Status status = CompareTrees(a.Open(), b.Open(), sink, options);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), Code::kCanceled);
}

class WalkingDifferTest : public ::testing::Test {
 protected:
  content::FakeStore store_;
  Engine engine_{EngineOptions{}};
  WalkingDiffer differ_{store_, engine_, {}};
  TempTree lower_;
  TempTree upper_;

  std::string Blob(const model::Digest& digest) {
    return content::ReadBlob(store_, digest, 1 << 20).value();
  }
  model::Labels LabelsOf(const model::Digest& digest) { return store_.GetInfo(digest)->labels; }
  size_t Ingests() { return store_.ListStatuses({})->size(); }
};

TEST_F(WalkingDifferTest, ALayerMadeIsALayerThatCanBeApplied) {
  WriteFile(lower_ / "deleted", "x");
  WriteFile(upper_ / "added", "hello");
  for (const std::string type :
       {"", "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd"}) {
    CompareOptions options;
    options.media_type = type;
    options.labels = {{"mine", "kept"}};
    const Result<model::Descriptor> made =
        differ_.Compare(Bind(lower_.path(), "ro"), Bind(upper_.path(), "ro"), options);
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_EQ(made->media_type, type.empty() ? model::media_type::kOciLayerGzip : type);
    EXPECT_EQ(made->size, static_cast<int64_t>(Blob(made->digest).size()));
    EXPECT_EQ(LabelsOf(made->digest).at("mine"), "kept");
    EXPECT_EQ(Ingests(), 0u);
    const TempTree target;
    WriteFile(target / "deleted", "x");
    const Result<model::Descriptor> applied = differ_.Apply(*made, Bind(target.path()), {});
    ASSERT_TRUE(applied.ok()) << applied.error().text();
    EXPECT_EQ(Differences(TakePicture(target.path(), {.all_times = false}),
                          TakePicture(upper_.path(), {.all_times = false})),
              "");
    if (type == "application/vnd.oci.image.layer.v1.tar") {
      EXPECT_EQ(applied->digest, made->digest);
      EXPECT_FALSE(made->annotations.contains("containerd.io/uncompressed"));
    } else {
      EXPECT_EQ(made->annotations.at("containerd.io/uncompressed"), applied->digest.str());
      EXPECT_EQ(LabelsOf(made->digest).at("containerd.io/uncompressed"), applied->digest.str());
    }
  }
}

TEST_F(WalkingDifferTest, ABlobThatWasThereGetsTheMissingLabel) {
  WriteFile(upper_ / "f", "x");
  const model::Descriptor first =
      differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), {}).value();
  content::Info bare;
  bare.digest = first.digest;
  ASSERT_TRUE(store_.Update(bare, {}).ok());
  ASSERT_TRUE(LabelsOf(first.digest).empty());
  const model::Descriptor again =
      differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), {}).value();
  EXPECT_EQ(again.digest, first.digest) << "the same trees give the same layer";
  EXPECT_TRUE(LabelsOf(first.digest).contains("containerd.io/uncompressed"));
}

TEST_F(WalkingDifferTest, OtherMediaTypesAreNotImplemented) {
  CompareOptions options;
  options.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
  const Result<model::Descriptor> made =
      differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), options);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kUnimplemented);
}

TEST_F(WalkingDifferTest, AFailedDiffLeavesNoIngestOfAMadeUpReference) {
  store_.SetCapacity(1);
  WriteFile(upper_ / "f", "x");
  const Result<model::Descriptor> made =
      differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), {});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(Ingests(), 0u);
}

TEST_F(WalkingDifferTest, AGivenReferenceStartsAfreshAndIsKeptOnFailure) {
  WriteFile(upper_ / "f", "x");
  CompareOptions options;
  options.reference = "mine";
  ASSERT_TRUE((*store_.OpenWriter({"mine", {}, 0}))->Write("bytes of an earlier try").ok());
  store_.SetCapacity(12);
  EXPECT_FALSE(differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), options).ok());
  EXPECT_TRUE(store_.GetStatus("mine").ok());
  store_.SetCapacity(-1);
  const Result<model::Descriptor> made =
      differ_.Compare(Bind(lower_.path()), Bind(upper_.path()), options);
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(Sha256Digest(Blob(made->digest)), made->digest.str());
}

TEST_F(WalkingDifferTest, AMissingBlobIsNotFound) {
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayer;
  descriptor.digest = model::Digest::Parse(Sha256Digest("nothing")).value();
  const Result<model::Descriptor> applied = differ_.Apply(descriptor, Bind(upper_.path()), {});
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().code(), Code::kNotFound);
}

// --- properties
// -----------------------------------------------------------------------------------------------------

void ApplyTo(const std::string& path, std::string_view tar) {
  Engine engine({});
  StringSource source(tar, 5000);
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayer;
  const Result<model::Descriptor> done = engine.ApplyToDirectory(descriptor, path, {}, source, {});
  ASSERT_TRUE(done.ok()) << done.error().text();
}

TEST(DiffProperty, ATreeSurvivesBecomingALayer) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::mt19937_64 random(seed);
    const TempTree empty;
    const TempTree tree;
    const TempTree copy;
    testing::MakeRandomTree(tree.path(), random, 150, /*as_root=*/false);
    ApplyTo(copy.path(), Diff(empty, tree));
    EXPECT_EQ(Differences(TakePicture(copy.path()), TakePicture(tree.path())), "")
        << "seed " << seed;
  }
}

TEST(DiffProperty, TheDifferenceOfTwoTreesTurnsOneIntoTheOther) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    const TempTree empty;
    const TempTree lower;
    const TempTree upper;
    const TempTree copy;
    testing::MakeRandomTree(lower.path(), random, 80, /*as_root=*/false);
    const std::string base = Diff(empty, lower);
    ApplyTo(upper.path(), base);
    ApplyTo(copy.path(), base);
    testing::ChangeRandomly(upper.path(), random, 30, /*as_root=*/false);
    ApplyTo(copy.path(), Diff(lower, upper));
    // Times of directories that are in both only carry over when something else changed.
    EXPECT_EQ(Differences(TakePicture(copy.path(), {.directory_times = false}),
                          TakePicture(upper.path(), {.directory_times = false})),
              "")
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace corten::diff
