#include "content/local/local_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/dir.h"
#include "base/hash.h"
#include "base/sha256.h"
#include "base/test_dir.h"
#include "content/contract.h"

namespace corten::content {
namespace {

class LocalHarness final : public StoreHarness {
 public:
  explicit LocalHarness(bool hidden)
      : store_(LocalStore::Open(temp_.Path("store"), {.hidden_files = hidden}).value()) {}
  Store& store() override { return *store_; }

 private:
  TestDir temp_;
  std::unique_ptr<LocalStore> store_;
};

INSTANTIATE_TEST_SUITE_P(
    Local, StoreContract,
    ::testing::Values(
        StoreCase{"HiddenFiles", [] { return std::make_unique<LocalHarness>(true); }, false},
        StoreCase{"NamedFiles", [] { return std::make_unique<LocalHarness>(false); }, false}),
    StoreCaseName);

class LocalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_.reset();
    store_ = LocalStore::Open(temp_.Path("store")).value();
    root_ = Dir::Open(temp_.Path("store")).value();
  }
  static std::string Name(std::string_view ref) { return SmallSha256Hex(ref); }
  std::string ReadIngest(std::string_view ref, std::string_view file) {
    return root_.ReadFile(StrCat("ingest/", Name(ref), "/", file), 1 << 24).value();
  }
  std::vector<std::string> Ingests() { return root_.OpenDir("ingest").value().List().value(); }
  static model::Digest DigestOf(std::string_view data) {
    return model::Digest::Parse(Sha256Digest(data)).value();
  }
  void Add(const std::string& ref, std::string_view data) {
    model::Descriptor descriptor;
    descriptor.digest = DigestOf(data);
    descriptor.size = static_cast<int64_t>(data.size());
    ASSERT_TRUE(WriteBlob(*store_, ref, data, descriptor, {}).ok());
  }
  mode_t ModeOf(const std::string& path) { return root_.Stat(path).value().st_mode & 07777; }

  TestDir temp_;
  Dir root_;
  std::unique_ptr<LocalStore> store_;
};

TEST_F(LocalStoreTest, BlobsAndIngestsLieWhereContainerdPutsThem) {
  const mode_t mask = umask(022);
  Add("blob", "hello");
  std::unique_ptr<Writer> writer = store_->OpenWriter({"default/1/my-ingest", {}, 77}).value();
  ASSERT_TRUE(writer->Write("partial").ok());
  writer.reset();
  (void)umask(mask);
  EXPECT_EQ(Name("default/1/my-ingest").substr(0, 8), "0d1f1ed2");
  const std::string blob = StrCat("blobs/sha256/", DigestOf("hello").hex());
  EXPECT_EQ(root_.ReadFile(blob, 100).value(), "hello");
  EXPECT_EQ(ModeOf(blob), 0444u);
  EXPECT_EQ(ModeOf("blobs/sha256"), 0755u);
  EXPECT_EQ(ModeOf("ingest"), 0755u);
  const std::string ingest = StrCat("ingest/", Name("default/1/my-ingest"));
  std::vector<std::string> files = root_.OpenDir(ingest).value().List().value();
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"data", "ref", "startedat", "total", "updatedat"}));
  for (const std::string& file : files) EXPECT_EQ(ModeOf(StrCat(ingest, "/", file)), 0644u) << file;
  EXPECT_EQ(ReadIngest("default/1/my-ingest", "ref"), "default/1/my-ingest");
  EXPECT_EQ(ReadIngest("default/1/my-ingest", "data"), "partial");
  EXPECT_EQ(ReadIngest("default/1/my-ingest", "total"), "77");
  EXPECT_TRUE(ParseRfc3339(ReadIngest("default/1/my-ingest", "startedat")).ok());
  EXPECT_TRUE(ParseRfc3339(ReadIngest("default/1/my-ingest", "updatedat")).ok());
}

TEST_F(LocalStoreTest, AnUnknownTotalHasNoFile) {
  store_->OpenWriter({"a", {}, 0}).value().reset();
  EXPECT_FALSE(root_.Exists(StrCat("ingest/", Name("a"), "/total")));
}

TEST_F(LocalStoreTest, AnIngestOfContainerdIsResumed) {
  const std::string ref = "k8s.io/3/layer-sha256:abc";
  const Dir ingest = root_.OpenDir("ingest").value().MakeDir(Name(ref), 0755).value();
  ASSERT_TRUE(ReplaceFile(ingest, "ref", ref, 0644).ok());
  ASSERT_TRUE(ReplaceFile(ingest, "startedat", "2026-11-21T01:41:31.058025437Z", 0644).ok());
  ASSERT_TRUE(ReplaceFile(ingest, "updatedat", "2026-11-21T02:41:31.5+01:00", 0644).ok());
  ASSERT_TRUE(ReplaceFile(ingest, "data", "first ", 0644).ok());
  Reopen();
  EXPECT_EQ(FormatRfc3339(store_->GetStatus(ref)->started_at), "2026-11-21T01:41:31.058025437Z");
  std::unique_ptr<Writer> writer = store_->OpenWriter({ref, {}, 12}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 6);
  ASSERT_TRUE(writer->Write("second").ok());
  EXPECT_EQ(writer->Commit({12, DigestOf("first second"), {}}).value(), DigestOf("first second"));
  EXPECT_TRUE(Ingests().empty());
}

TEST_F(LocalStoreTest, ABlobTakesTheModeThatTheUmaskLeaves) {
  const mode_t mask = umask(027);
  Add("small", "small");
  Add("large", std::string(kHiddenLimit + 1, 'x'));
  (void)umask(mask);
  EXPECT_EQ(ModeOf(StrCat("blobs/sha256/", DigestOf("small").hex())), 0440u);
  EXPECT_EQ(ModeOf(StrCat("blobs/sha256/", DigestOf(std::string(kHiddenLimit + 1, 'x')).hex())),
            0440u);
}

TEST_F(LocalStoreTest, ABlobCostsOneFlushOfItsFileAndOneOfTheDirectory) {
  const LocalStore::Stats before = store_->GetStats();
  Add("small", "small");
  const LocalStore::Stats small = store_->GetStats();
  EXPECT_EQ(small.file_flushes - before.file_flushes, 1u);
  EXPECT_EQ(small.directory_flushes - before.directory_flushes, 1u);
  EXPECT_EQ(small.hidden_commits, 1u);
  EXPECT_TRUE(Ingests().empty());
  const std::string data(5 << 20, 'x');
  Add("large", data);
  const LocalStore::Stats large = store_->GetStats();
  EXPECT_EQ(large.file_flushes - small.file_flushes, 1u);
  EXPECT_EQ(large.directory_flushes - small.directory_flushes, 1u);
  EXPECT_EQ(large.hidden_commits, 1u);
  EXPECT_EQ(large.bytes_hashed, 5 + data.size());
  EXPECT_EQ(large.bytes_read_back, 0u);
  Add("again", "small");  // found before anything is written
  EXPECT_EQ(store_->GetStats().file_flushes, large.file_flushes);
  EXPECT_EQ(store_->GetStats().directory_flushes, large.directory_flushes);
}

TEST_F(LocalStoreTest, WritersAtOnceNeverFlushMoreThanOneByOne) {
  constexpr int kThreads = 16;
  constexpr int kBlobs = 15;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kBlobs; ++i) Add(StrCat("r", t, "-", i), StrCat("blob ", t, " ", i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const LocalStore::Stats stats = store_->GetStats();
  EXPECT_EQ(stats.commits, static_cast<uint64_t>(kThreads * kBlobs));
  EXPECT_EQ(stats.file_flushes, static_cast<uint64_t>(kThreads * kBlobs));
  EXPECT_LE(stats.directory_flushes, static_cast<uint64_t>(kThreads * kBlobs));
}

TEST_F(LocalStoreTest, ResumingInTheSameProcessDoesNotHashAgain) {
  for (int i = 0; i < 3; ++i) {
    const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
    ASSERT_TRUE(writer->Write("0123456789").ok());
  }
  EXPECT_EQ(store_->GetStats().bytes_read_back, 0u);
  Reopen();
  const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
  EXPECT_EQ(store_->GetStats().bytes_read_back, 30u);
  EXPECT_EQ(writer->CurrentDigest().value(), DigestOf("012345678901234567890123456789"));
}

TEST_F(LocalStoreTest, ANewIngestAfterAnAbortDoesNotTakeTheOldHash) {
  {
    const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
    ASSERT_TRUE(writer->Write("old").ok());
  }
  ASSERT_TRUE(store_->Abort("a").ok());
  const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
  ASSERT_TRUE(writer->Write("new").ok());
  EXPECT_EQ(writer->Commit({}).value(), DigestOf("new"));
}

TEST_F(LocalStoreTest, OpenSweepsWhatACrashLeft) {
  const Dir ingest = root_.OpenDir("ingest").value();
  const Dir half_made = ingest.MakeDir(".tmp-1-0", 0755).value();
  ASSERT_TRUE(ReplaceFile(half_made, "ref", "x", 0644).ok());
  const Dir no_data = ingest.MakeDir(Name("committed"), 0755).value();
  ASSERT_TRUE(ReplaceFile(no_data, "ref", "committed", 0644).ok());
  const Dir no_ref = ingest.MakeDir(Name("nameless"), 0755).value();
  ASSERT_TRUE(ReplaceFile(no_ref, "data", "bytes", 0644).ok());
  const Dir wrong_name = ingest.MakeDir(Name("one"), 0755).value();
  ASSERT_TRUE(ReplaceFile(wrong_name, "ref", "another", 0644).ok());
  ASSERT_TRUE(ReplaceFile(wrong_name, "data", "bytes", 0644).ok());
  ASSERT_TRUE(ReplaceFile(ingest, "stray", "", 0644).ok());
  {
    const std::unique_ptr<Writer> writer = store_->OpenWriter({"kept", {}, 0}).value();
    ASSERT_TRUE(writer->Write("kept").ok());
  }
  Reopen();
  EXPECT_EQ(Ingests(), std::vector<std::string>{Name("kept")});
  EXPECT_EQ(store_->ListStatuses({}).value().size(), 1u);
}

TEST_F(LocalStoreTest, AnIngestThatCannotBeReadIsBegunAnew) {
  {
    const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
    ASSERT_TRUE(writer->Write("something").ok());
  }
  const Dir ingest = root_.OpenDir(StrCat("ingest/", Name("a"))).value();
  ASSERT_TRUE(ReplaceFile(ingest, "startedat", "yesterday", 0644).ok());
  EXPECT_TRUE(store_->ListStatuses({}).value().empty());
  const std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 0);
  ASSERT_TRUE(writer->Write("fresh").ok());
  EXPECT_EQ(writer->Commit({}).value(), DigestOf("fresh"));
}

TEST_F(LocalStoreTest, StrangeNamesAmongBlobsArePassedOver) {
  Add("a", "a");
  const Dir blobs = root_.OpenDir("blobs").value();
  ASSERT_TRUE(blobs.MakeDir("md5", 0755).ok());
  ASSERT_TRUE(ReplaceFile(blobs.OpenDir("sha256").value(), "lost+found", "", 0644).ok());
  int seen = 0;
  ASSERT_TRUE(store_
                  ->Walk({},
                         [&](const Info&) {
                           ++seen;
                           return Ok();
                         })
                  .ok());
  EXPECT_EQ(seen, 1);
}

TEST_F(LocalStoreTest, ReadingDoesNotChangeTheTimesOfABlob) {
  if (geteuid() != 0) GTEST_SKIP() << "O_NOATIME on files of others needs CAP_FOWNER";
  Add("a", "timed");
  const std::string path = StrCat("blobs/sha256/", DigestOf("timed").hex());
  const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
  ASSERT_EQ(utimensat(root_.fd().get(), path.c_str(), old, 0), 0);
  EXPECT_EQ(ReadBlob(*store_, DigestOf("timed"), 100).value(), "timed");
  const Info info = store_->GetInfo(DigestOf("timed")).value();
  EXPECT_EQ(info.created_at.seconds, 1000000000);
  EXPECT_EQ(info.updated_at.seconds, 1000000000);
}

TEST_F(LocalStoreTest, AReaderLendsItsFile) {
  Add("a", "by descriptor");
  const std::unique_ptr<Reader> reader = store_->OpenReader(DigestOf("by descriptor")).value();
  std::string buffer(13, '\0');
  ASSERT_EQ(pread(reader->file().get(), buffer.data(), buffer.size(), 0), 13);
  EXPECT_EQ(buffer, "by descriptor");
}

TEST_F(LocalStoreTest, AChangedIngestFileIsNotPublished) {
  std::unique_ptr<Writer> writer = store_->OpenWriter({"a", {}, 0}).value();
  const std::string data(kHiddenLimit + 10, 'x');
  ASSERT_TRUE(writer->Write(data).ok());
  ASSERT_EQ(truncate(root_.Path(StrCat("ingest/", Name("a"), "/data")).c_str(), 5), 0);
  EXPECT_TRUE(writer->Commit({}).error().Is(Code::kDataLoss));
  EXPECT_TRUE(store_->GetInfo(DigestOf(data)).error().Is(Code::kNotFound));
}

TEST_F(LocalStoreTest, HundredsOfWritersMayBeOpen) {
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < 200; ++i) {
    writers.push_back(store_->OpenWriter({StrCat("r", i), {}, 0}).value());
    ASSERT_TRUE(writers.back()->Write(StrCat("blob ", i)).ok());
  }
  EXPECT_EQ(store_->ListStatuses({}).value().size(), 200u);
  for (const auto& writer : writers) ASSERT_TRUE(writer->Commit({}).ok());
  EXPECT_TRUE(store_->ListStatuses({}).value().empty());
}

}  // namespace
}  // namespace corten::content
