#include "diff/apply.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/hash.h"
#include "base/strcat.h"
#include "diff/compress.h"
#include "diff/test_fixture.h"

namespace corten::diff {
namespace {

using testing::Archive;
using testing::ReadFile;
using testing::StringSink;
using testing::StringSource;
using testing::TakePicture;
using testing::TempTree;

std::string Packed(std::string_view data, Compression compression = Compression::kGzip) {
  StringSink sink;
  const std::unique_ptr<Compressor> compressor = OpenCompressor(sink, compression).value();
  EXPECT_TRUE(compressor->Write(data).ok() && compressor->Finish().ok());
  return sink.data;
}

std::vector<model::Mount> Bind(const std::string& path) {
  return {{"bind", path, "", {"rbind", "rw"}}};
}

model::Descriptor Layer(int64_t size, std::string_view type = model::media_type::kOciLayerGzip) {
  model::Descriptor descriptor;
  descriptor.media_type = type;
  descriptor.size = size;
  return descriptor;
}

std::string MakeArchive(int files) {
  std::mt19937 random(42);
  Archive archive;
  for (int i = 0; i < files; ++i) {
    std::string data(random() % 30000, '\0');
    for (char& c : data) c = static_cast<char>('a' + random() % 9);
    if (i % 20 == 0) archive.Dir(StrCat("d", i / 20, "/"));
    archive.File(StrCat("d", i / 20, "/f", i), data);
  }
  return archive.Finish();
}

// Some megabytes in many files.
const std::string& BigArchive() {
  static const std::string* const archive = new std::string(MakeArchive(160));
  return *archive;
}
const std::string& BigPacked() {
  static const std::string* const packed = new std::string(Packed(BigArchive()));
  return *packed;
}

// With a second thread and without.
class ApplyStream : public ::testing::TestWithParam<bool> {
 protected:
  Result<model::Descriptor> Run(const std::string& target, std::string_view bytes,
                                const ApplyOptions& options = {}, size_t piece = 32 << 10) {
    EngineOptions engine_options;
    engine_options.pipeline = GetParam();
    Engine engine(engine_options);
    StringSource source(bytes, piece);
    return engine.ApplyStream(Layer(0), Bind(target), source, options);
  }
};
INSTANTIATE_TEST_SUITE_P(Threads, ApplyStream, ::testing::Bool());

TEST_P(ApplyStream, UnpacksAndNamesTheUncompressedLayer) {
  const TempTree tree;
  const std::string& tar = BigArchive();
  for (const Compression compression :
       {Compression::kGzip, Compression::kZstd, Compression::kNone}) {
    const Result<model::Descriptor> done = Run(tree.path(), Packed(tar, compression));
    ASSERT_TRUE(done.ok()) << done.error().text();
    EXPECT_EQ(done->digest.str(), Sha256Digest(tar));
    EXPECT_EQ(done->size, static_cast<int64_t>(tar.size()));
    EXPECT_EQ(done->media_type, model::media_type::kOciLayer);
  }
  EXPECT_EQ(TakePicture(tree.path()).size(), 168u);
}

TEST_P(ApplyStream, TrailingBytesBelongToTheDiffId) {
  const TempTree tree;
  const std::string tar =
      Archive().File("f", "x").Finish() + std::string(3 << 20, '\0') + "and something";
  const Result<model::Descriptor> done = Run(tree.path(), Packed(tar));
  ASSERT_TRUE(done.ok()) << done.error().text();
  EXPECT_EQ(done->digest.str(), Sha256Digest(tar));
  EXPECT_EQ(done->size, static_cast<int64_t>(tar.size()));
}

TEST_P(ApplyStream, AnEmptyLayerHasTheDigestOfNothing) {
  const TempTree tree;
  const Result<model::Descriptor> done = Run(tree.path(), "");
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->digest.str(), Sha256Digest(""));
}

TEST_P(ApplyStream, DamageAnywhereIsAnErrorNeverALayer) {
  const std::string packed = Packed(MakeArchive(60));
  for (size_t at = 20; at < packed.size(); at += packed.size() / 13) {
    const TempTree tree;
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const Result<model::Descriptor> done = Run(tree.path(), damaged);
    ASSERT_FALSE(done.ok()) << at;
    EXPECT_EQ(done.error().code(), Code::kInvalidArgument) << done.error().text();
    EXPECT_FALSE(Run(tree.path(), std::string_view(packed).substr(0, at)).ok()) << at;
  }
}

TEST_P(ApplyStream, ABombEndsAtTheLimit) {
  const TempTree tree;
  const std::string packed = Packed(Archive().File("zeros", std::string(24 << 20, '\0')).Finish());
  ASSERT_LT(packed.size(), 200000u);
  ApplyOptions options;
  options.max_bytes = 1 << 20;
  const Result<model::Descriptor> done = Run(tree.path(), packed, options);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kResourceExhausted);
  struct stat st = {};
  if (lstat((tree / "zeros").c_str(), &st) == 0) {
    EXPECT_LE(st.st_size, 3 << 20) << "what was buffered at most";
  }
  options.max_bytes = 25 << 20;
  EXPECT_TRUE(Run(tree.path(), packed, options).ok());
}

TEST_P(ApplyStream, ProgressCountsCompressedBytesOnTheCallersThread) {
  const TempTree tree;
  const std::string& packed = BigPacked();
  int64_t last = 0;
  const std::thread::id caller = std::this_thread::get_id();
  ApplyOptions options;
  options.progress = [&](int64_t bytes) {
    EXPECT_GT(bytes, last);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    last = bytes;
  };
  ASSERT_TRUE(Run(tree.path(), packed, options).ok());
  EXPECT_EQ(last, static_cast<int64_t>(packed.size()));
}

TEST_P(ApplyStream, CancelingEndsIt) {
  const TempTree tree;
  int asked = 0;
  ApplyOptions options;
  options.canceled = [&] { return ++asked > 3; };
  const Result<model::Descriptor> done = Run(tree.path(), BigPacked(), options);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kCanceled);
}

TEST_P(ApplyStream, TheSourcesErrorIsTheResult) {
  class Broken final : public ByteSource {
   public:
    explicit Broken(std::string_view data) : inner_(data, 10000) {}
    Result<size_t> Read(std::span<char> buffer) override {
      if (++reads_ > 20) return UnavailableError("registry went away");
      return inner_.Read(buffer);
    }

   private:
    StringSource inner_;
    int reads_ = 0;
  };
  const TempTree tree;
  const std::string& packed = BigPacked();
  Broken source(packed);
  EngineOptions engine_options;
  engine_options.pipeline = GetParam();
  Engine engine(engine_options);
  const Result<model::Descriptor> done =
      engine.ApplyStream(Layer(0), Bind(tree.path()), source, {});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kUnavailable);
  EXPECT_EQ(done.error().text(), "registry went away");
}

TEST_P(ApplyStream, ATreeErrorEndsTheReadingToo) {
  const TempTree tree;
  std::string tar = Archive().File("f", "x").File("f/below", "x").Finish();
  tar.resize(tar.size() - 1024);
  tar += BigArchive();
  const Result<model::Descriptor> done = Run(tree.path(), Packed(tar));
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().sys_errno(), ENOTDIR);
}

TEST_P(ApplyStream, AnUnknownMediaTypeTouchesNothing) {
  const TempTree tree;
  EngineOptions engine_options;
  engine_options.pipeline = GetParam();
  Engine engine(engine_options);
  StringSource source("data");
  const Result<model::Descriptor> done =
      engine.ApplyStream(Layer(4, "application/unheard-of"), Bind(tree.path()), source, {});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Code::kUnimplemented);
  EXPECT_TRUE(TakePicture(tree.path()).empty());
}

TEST(ApplyStreams, RunAtOnceOnDifferentTrees) {
  const std::string& tar = BigArchive();
  const std::string& packed = BigPacked();
  Engine engine({});
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const TempTree tree;
      StringSource source(packed, 9999);
      const Result<model::Descriptor> done =
          engine.ApplyStream(Layer(0), Bind(tree.path()), source, {});
      if (done.ok() && done->digest.str() == Sha256Digest(tar) &&
          TakePicture(tree.path()).size() == 168)
        ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 6);
}

TEST(ChooseTarget, KnowsWhereWritingDirectlyIsTheSame) {
  const TempTree tree;
  const model::Mount overlay = {
      "overlay", "overlay", "", {"index=off", "workdir=/w", "upperdir=/u", "lowerdir=/l2:/l1"}};
  const ApplyTarget upper = ChooseTarget({overlay}, false).value();
  EXPECT_EQ(upper.path, "/u");
  EXPECT_EQ(upper.tree.whiteouts, Whiteouts::kOverlay);
  EXPECT_EQ(upper.tree.lowers, (std::vector<std::string>{"/l2", "/l1"}));
  EXPECT_FALSE(upper.tree.user_xattrs);
  EXPECT_EQ(ChooseTarget({overlay}, true)->path, "") << "no device nodes in a user namespace";
  EXPECT_EQ(ChooseTarget({{"overlay", "overlay", "", {"lowerdir=/l2:/l1"}}}, false)->path, "");
  EXPECT_EQ(ChooseTarget({overlay, overlay}, false)->path, "");
  const ApplyTarget alone =
      ChooseTarget({{"overlay", "overlay", "", {"upperdir=/u", "userxattr"}}}, false).value();
  EXPECT_EQ(alone.path, "/u");
  EXPECT_TRUE(alone.tree.user_xattrs);

  EXPECT_EQ(ChooseTarget(Bind(tree.path()), false)->path, tree.path());
  EXPECT_EQ(ChooseTarget(Bind(tree.path()), false)->tree.whiteouts, Whiteouts::kPlain);
  EXPECT_EQ(ChooseTarget({{"bind", tree.path(), "", {"rbind", "ro"}}}, false)->path, "");
  EXPECT_EQ(ChooseTarget({{"bind", tree.path(), "sub", {"rbind", "rw"}}}, false)->path, "");
  EXPECT_EQ(
      ChooseTarget({{"bind", tree.path(), "", {"rbind", "uidmap=0:1:2", "gidmap=0:1:2"}}}, false)
          ->path,
      "");
  EXPECT_EQ(ChooseTarget({}, false)->path, "");
}

}  // namespace
}  // namespace corten::diff
