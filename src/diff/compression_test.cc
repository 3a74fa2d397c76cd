#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <csignal>
#include <random>

#include "base/strcat.h"
#include "diff/compress.h"
#include "diff/decompress.h"
#include "diff/processor.h"
#include "diff/test_fixture.h"

namespace corten::diff {
namespace {

using testing::ReadWhole;
using testing::StringSink;
using testing::StringSource;

std::string Compressible(size_t size) {
  std::mt19937 random(static_cast<uint32_t>(size));
  std::string text;
  while (text.size() < size) text += StrCat("word", random() % 500, random() % 7 == 0 ? "\n" : " ");
  text.resize(size);
  return text;
}

std::string Compress(std::string_view data, Compression compression) {
  StringSink sink;
  const std::unique_ptr<Compressor> compressor = OpenCompressor(sink, compression).value();
  EXPECT_TRUE(compressor->Write(data).ok());
  EXPECT_TRUE(compressor->Finish().ok());
  return sink.data;
}

Result<std::string> Decompress(std::string_view data, GzipEngine engine, size_t in = SIZE_MAX,
                               size_t out = 64 << 10) {
  StringSource source(data, in);
  const std::unique_ptr<ByteSource> plain = TRY(OpenSniffed(source, nullptr, engine));
  return ReadWhole(*plain, out);
}

// Both gzip engines must agree on everything below.
class Gunzip : public ::testing::TestWithParam<GzipEngine> {};
#ifdef CORTEN_HAVE_ISAL
INSTANTIATE_TEST_SUITE_P(Engines, Gunzip, ::testing::Values(GzipEngine::kIsal, GzipEngine::kZlib));
#else
INSTANTIATE_TEST_SUITE_P(Engines, Gunzip, ::testing::Values(GzipEngine::kZlib));
#endif

TEST_P(Gunzip, GivesBackWhatWasCompressed) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{300000}, size_t{3000000}}) {
    const std::string data = Compressible(size);
    EXPECT_EQ(Decompress(Compress(data, Compression::kGzip), GetParam()).value(), data) << size;
  }
}

TEST_P(Gunzip, PiecesOfAnySizeGiveTheSameBytes) {
  const std::string data = Compressible(40000);
  const std::string packed =
      Compress(data, Compression::kGzip) + Compress("second member", Compression::kGzip);
  for (const size_t in : {1, 2, 7, 9, 4096}) {
    for (const size_t out : {1, 13, 4096})
      EXPECT_EQ(Decompress(packed, GetParam(), in, out).value(), data + "second member")
          << in << " " << out;
  }
}

TEST_P(Gunzip, SeveralMembersAreOneStream) {
  std::string packed;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string part = Compressible(static_cast<size_t>(i * 997 % 5000));
    packed += Compress(part, Compression::kGzip);
    expected += part;
  }
  EXPECT_EQ(Decompress(packed, GetParam()).value(), expected);
}

TEST_P(Gunzip, EveryCutIsAnError) {
  const std::string packed = Compress(Compressible(2000), Compression::kGzip);
  for (size_t cut = 3; cut < packed.size(); ++cut) {
    const Result<std::string> result =
        Decompress(std::string_view(packed).substr(0, cut), GetParam());
    ASSERT_FALSE(result.ok()) << cut << " of " << packed.size();
    EXPECT_EQ(result.error().text(), "gzip: unexpected EOF") << cut;
  }
  // ... also behind a whole member
  for (const size_t cut : {size_t{1}, size_t{5}, size_t{12}, packed.size() - 1}) {
    EXPECT_FALSE(Decompress(packed + packed.substr(0, cut), GetParam()).ok()) << cut;
  }
}

TEST_P(Gunzip, AFlippedBitIsNoticedByTheEnd) {
  const std::string data = Compressible(5000);
  const std::string packed = Compress(data, Compression::kGzip);
  for (size_t at = 10; at < packed.size(); ++at) {
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    const Result<std::string> result = Decompress(damaged, GetParam());
    if (result.ok()) {
      EXPECT_EQ(*result, data) << at;  // a few bits say the same either way
    }
  }
}

TEST_P(Gunzip, GarbageBehindTheMembersIsAnError) {
  const std::string packed = Compress("data", Compression::kGzip);
  EXPECT_FALSE(Decompress(packed + "garbage that is no member", GetParam()).ok());
  EXPECT_FALSE(Decompress(packed + std::string(512, '\0'), GetParam()).ok());
}

TEST_P(Gunzip, HeadersWithNameCommentAndExtraFieldAreRead) {
  z_stream stream = {};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytef name[] = "a name that is rather long";
  Bytef comment[] = "and a comment";
  Bytef extra[] = "extra";
  gz_header header = {};
  header.name = name;
  header.comment = comment;
  header.extra = extra;
  header.extra_len = 5;
  header.hcrc = 1;
  header.time = 77;
  ASSERT_EQ(deflateSetHeader(&stream, &header), Z_OK);
  std::string data = Compressible(1000);
  std::string packed(5000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{3}, size_t{11}}) {
    const Result<std::string> result = Decompress(packed, GetParam(), piece);
    ASSERT_TRUE(result.ok()) << piece << ": " << result.error().text();
    EXPECT_EQ(*result, data) << piece;
  }
}

TEST(Zstd, GivesBackWhatWasCompressed) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{300000}, size_t{3000000}}) {
    const std::string data = Compressible(size);
    const std::string packed = Compress(data, Compression::kZstd);
    EXPECT_EQ(Decompress(packed, GzipEngine::kBest).value(), data) << size;
    EXPECT_EQ(Decompress(packed, GzipEngine::kBest, 5, 3).value(), data) << size;
  }
}

TEST(Zstd, FramesAndSkippableFramesInARowAreOneStream) {
  const std::string skippable("\x5a\x2a\x4d\x18\x04\0\0\0abcd", 12);
  const std::string packed = skippable + Compress("one ", Compression::kZstd) + skippable +
                             Compress("two", Compression::kZstd) + skippable;
  EXPECT_EQ(Decompress(packed, GzipEngine::kBest).value(), "one two");
  EXPECT_EQ(Decompress(packed, GzipEngine::kBest, 1, 1).value(), "one two");
}

TEST(Zstd, EveryCutAndEveryFlippedBitIsAnError) {
  const std::string data = Compressible(3000);
  const std::string packed = Compress(data, Compression::kZstd);
  for (size_t cut = 4; cut < packed.size(); ++cut) {
    EXPECT_FALSE(Decompress(std::string_view(packed).substr(0, cut), GzipEngine::kBest).ok())
        << cut;
  }
  for (size_t at = 5; at < packed.size(); ++at) {
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    const Result<std::string> result = Decompress(damaged, GzipEngine::kBest);
    if (result.ok()) {
      EXPECT_EQ(*result, data) << at;
    }
  }
}

TEST(Zstd, FramesFromBeforeVersionOneAreRefusedWhateverThePieces) {
  const std::string good = Compress("good", Compression::kZstd);
  for (const size_t piece : {SIZE_MAX, size_t{2}}) {
    const Result<std::string> result = Decompress(
        good + std::string("\x26\xb5\x2f\xfd\x00\xff\x00\x00", 8), GzipEngine::kBest, piece);
    ASSERT_FALSE(result.ok()) << piece;
    EXPECT_EQ(result.error().text(), "zstd: invalid header") << piece;
    EXPECT_FALSE(Decompress(good + "garbage", GzipEngine::kBest, piece).ok()) << piece;
    EXPECT_FALSE(Decompress(good + "\x28\xb5", GzipEngine::kBest, piece).ok()) << piece;
  }
}

TEST(Zstd, AWindowBeyondTheLimitIsRefused) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  const std::string data(1000, 'x');
  std::string packed(10000, '\0');
  ZSTD_outBuffer out = {packed.data(), packed.size(), 0};
  ZSTD_inBuffer in = {data.data(), data.size(), 0};
  ASSERT_EQ(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)), 0u);
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  packed.resize(out.pos);
  ZSTD_freeCCtx(context);
  const Result<std::string> result = Decompress(packed, GzipEngine::kBest);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
}

TEST(Sniff, KnowsTheThreeKinds) {
  EXPECT_EQ(Sniff(std::string_view("\x1f\x8b\x08\0\0", 5)), Compression::kGzip);
  EXPECT_EQ(Sniff("\x1f\x8b\x07"), Compression::kNone);
  EXPECT_EQ(Sniff("\x28\xb5\x2f\xfd"), Compression::kZstd);
  EXPECT_EQ(Sniff(std::string_view("\x50\x2a\x4d\x18\0\0\0\0", 8)), Compression::kZstd);
  EXPECT_EQ(Sniff(std::string_view("\x60\x2a\x4d\x18\0\0\0\0", 8)), Compression::kNone);
  EXPECT_EQ(Sniff(""), Compression::kNone);
  EXPECT_EQ(Decompress("raw bytes", GzipEngine::kBest, 2).value(), "raw bytes");
  EXPECT_EQ(Decompress("", GzipEngine::kBest).value(), "");
}

TEST(Compress, IsTheSameEachTimeAndCarriesNoName) {
  const std::string data = Compressible(100000);
  const std::string packed = Compress(data, Compression::kGzip);
  EXPECT_EQ(packed, Compress(data, Compression::kGzip));
  EXPECT_EQ(packed.substr(0, 10), std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10));
  EXPECT_EQ(Compress(data, Compression::kZstd), Compress(data, Compression::kZstd));
  EXPECT_EQ(Compress(data, Compression::kNone), data);
}

// --- processors
// -----------------------------------------------------------------------------------------------------

Result<std::string> Process(std::string_view data, std::string_view type,
                            const std::vector<ProcessorConfig>& processors = {},
                            const ProcessorChain::Payloads& payloads = {},
                            size_t piece = SIZE_MAX) {
  StringSource source(data, piece);
  const std::unique_ptr<ProcessorChain> chain =
      TRY(ProcessorChain::Open(source, type, processors, payloads));
  return ReadWhole(*chain);
}

ProcessorConfig Shell(std::string id, std::string accepts, std::string returns,
                      std::string script) {
  ProcessorConfig config;
  config.id = std::move(id);
  config.accepts = {std::move(accepts)};
  config.returns = std::move(returns);
  config.path = "/bin/sh";
  config.args = {"-c", std::move(script)};
  return config;
}

TEST(Processor, LayersAreSniffedWhateverTheirTypeClaims) {
  const std::string data = Compressible(10000);
  const std::string gzip = Compress(data, Compression::kGzip);
  const std::string zstd = Compress(data, Compression::kZstd);
  for (const std::string type : {"application/vnd.oci.image.layer.v1.tar+gzip",
                                 "application/vnd.oci.image.layer.v1.tar+zstd",
                                 "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                                 "application/vnd.docker.image.rootfs.diff.tar",
                                 "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                 "application/vnd.docker.image.rootfs.diff.tar.zstd",
                                 "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}) {
    EXPECT_EQ(Process(gzip, type).value(), data) << type;
    EXPECT_EQ(Process(zstd, type).value(), data) << type;
    EXPECT_EQ(Process(data, type).value(), data) << type;
  }
  EXPECT_EQ(Process(gzip, "application/vnd.oci.image.layer.v1.tar").value(), gzip)
      << "a plain type is taken at its word";
}

TEST(Processor, AnUnknownTypeHasNoProcessor) {
  for (const std::string type : {"", "text/plain", "application/vnd.oci.image.layer.v1.tar+brotli",
                                 "application/vnd.oci.image.layer.v1.tarx"}) {
    const Result<std::string> result = Process("x", type);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), Code::kUnimplemented);
    EXPECT_EQ(result.error().text(),
              "failed to get stream processor for " + type + ": no processor for media-type");
  }
}

TEST(Processor, AProgramTurnsItsTypeIntoAnother) {
  const std::string tar = "application/vnd.oci.image.layer.v1.tar";
  const std::string data = Compressible(3 << 20);
  std::string upper = data;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_EQ(Process(data, "x/lower", {Shell("upper", "x/lower", tar, "tr a-z A-Z")}).value(),
            upper);
  // Its result may need further processors, built in or not; a later program precedes an earlier
  // one.
  const std::vector<ProcessorConfig> chain = {Shell("wrong", "x/a", tar, "echo wrong"),
                                              Shell("one", "x/a", "x/b", "tr a-z A-Z"),
                                              Shell("two", "x/b", tar + "+gzip", "gzip -c")};
  EXPECT_EQ(Process(data, "x/a", chain, {}, 1000).value(), upper);
}

TEST(Processor, AProgramSeesItsTypeItsVariablesAndThePayload) {
  ProcessorConfig config =
      Shell("env", "x/env", "application/vnd.oci.image.layer.v1.tar",
            "cat >/dev/null; echo \"$STREAM_PROCESSOR_MEDIATYPE $EXTRA $PATH_SEEN\"; cat <&3");
  config.env = {"EXTRA=more", "PATH_SEEN=yes"};
  ProcessorChain::Payloads payloads;
  payloads["env"] = {"type.url/T", std::string(200000, 'p')};
  const std::string out = Process("input", "x/env", {config}, payloads).value();
  EXPECT_TRUE(out.starts_with("x/env more yes\n\x0atype.url/T") ||
              out.starts_with("x/env more yes\n\x0a\x0atype.url/T"))
      << out.substr(0, 60);
  EXPECT_EQ(out.size(), 15u + 2 + 10 + 1 + 3 + 200000);
}

TEST(Processor, AFailingProgramsWordsAreTheError) {
  const std::string tar = "application/vnd.oci.image.layer.v1.tar";
  const std::string data = Compressible(1 << 20);
  const Result<std::string> result =
      Process(data, "x/bad", {Shell("bad", "x/bad", tar, "head -c 100; echo no key >&2; exit 3")});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().text().find("no key"), std::string::npos) << result.error().text();
  const Result<std::string> silent = Process(data, "x/bad", {Shell("bad", "x/bad", tar, "exit 9")});
  ASSERT_FALSE(silent.ok());
  EXPECT_NE(silent.error().text().find("exit status 9"), std::string::npos)
      << silent.error().text();
  ProcessorConfig missing = Shell("gone", "x/gone", tar, "");
  missing.path = "/nonexistent/program";
  EXPECT_FALSE(Process(data, "x/gone", {missing}).ok());
}

TEST(Processor, AProgramThatReadsNothingIsNoReasonToDie) {
  const std::string tar = "application/vnd.oci.image.layer.v1.tar";
  ASSERT_NE(std::signal(SIGPIPE, SIG_DFL), SIG_ERR);
  EXPECT_EQ(Process(Compressible(1 << 20), "x/deaf",
                    {Shell("deaf", "x/deaf", tar, "exec <&-; echo done")})
                .value(),
            "done\n");
}

TEST(Processor, ProgramsInACircleAreRefused) {
  const std::vector<ProcessorConfig> circle = {Shell("a", "x/a", "x/b", "cat"),
                                               Shell("b", "x/b", "x/a", "cat")};
  const Result<std::string> result = Process("data", "x/a", circle);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
}

TEST(Processor, AnUnfinishedProgramIsKilled) {
  StringSource source("data");
  const std::vector<ProcessorConfig> config = {Shell(
      "slow", "x/slow", "application/vnd.oci.image.layer.v1.tar", "echo start; exec sleep 1000")};
  std::unique_ptr<ProcessorChain> chain =
      ProcessorChain::Open(source, "x/slow", config, {}).value();
  std::string buffer(100, '\0');
  EXPECT_EQ(chain->Read(buffer).value(), 6u);
  chain.reset();  // would wait for a thousand seconds otherwise
}

}  // namespace
}  // namespace corten::diff
