#include "shim/copier.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "shim/process_io.h"

namespace corten::shim {
namespace {

class CopierTest : public testing::TestWithParam<Copier::Method> {
 protected:
  void SetUp() override {
    (void)signal(SIGPIPE, SIG_IGN);
    loop_ = std::move(*Loop::Create());
  }
  // Turns the loop until `condition`, at most 10 s.
  template <typename F>
  bool Until(F condition) {
    const auto end = Loop::Clock::now() + std::chrono::seconds(10);
    while (!condition() && Loop::Clock::now() < end)
      EXPECT_TRUE(loop_->RunOnce(std::chrono::milliseconds(50)).ok());
    return condition();
  }
  void Turn(int rounds = 5) {
    for (int i = 0; i < rounds; ++i) EXPECT_TRUE(loop_->RunOnce(std::chrono::milliseconds(0)).ok());
  }
  std::unique_ptr<Copier> Make(Pipe* in, Pipe* out,
                               Copier::BrokenSink broken = Copier::BrokenSink::kDiscard) {
    *in = std::move(*MakePipe(O_NONBLOCK));
    *out = std::move(*MakePipe(O_NONBLOCK));
    auto copier = std::make_unique<Copier>(*loop_, std::move(in->read), std::move(out->write),
                                           GetParam(), broken, [this] { ++ended_; });
    EXPECT_TRUE(copier->Start().ok());
    return copier;
  }
  static std::string ReadAvailable(const Fd& fd) {
    std::string out;
    char buffer[65536];
    ssize_t got = 0;
    while ((got = read(fd.get(), buffer, sizeof(buffer))) > 0)
      out.append(buffer, static_cast<size_t>(got));
    return out;
  }

  std::unique_ptr<Loop> loop_;
  int ended_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Both, CopierTest,
                         testing::Values(Copier::Method::kSplice, Copier::Method::kBuffer));

TEST_P(CopierTest, BytesAndTheEndArrive) {
  Pipe in;
  Pipe out;
  const auto copier = Make(&in, &out);
  ASSERT_TRUE(WriteAll(in.write, "hello", "in").ok());
  in.write.Reset();
  ASSERT_TRUE(Until([&] { return ended_ == 1; }));
  EXPECT_TRUE(copier->done());
  EXPECT_EQ(ReadAvailable(out.read), "hello");
  char byte = 0;
  EXPECT_EQ(read(out.read.get(), &byte, 1), 0) << "the sink is closed";
}

TEST_P(CopierTest, AFullSinkStopsTheSourceAndNothingIsLost) {
  Pipe in;
  Pipe out;
  const auto copier = Make(&in, &out);
  std::string sent;
  // Nobody reads: source, copier and sink fill up until the writer is stopped.
  for (int quiet = 0; quiet < 3;) {
    const std::string chunk(4096, static_cast<char>('a' + sent.size() / 4096 % 26));
    const ssize_t put = write(in.write.get(), chunk.data(), chunk.size());
    if (put > 0) sent += chunk.substr(0, static_cast<size_t>(put));
    quiet = put > 0 ? 0 : quiet + 1;
    Turn();
  }
  EXPECT_GT(sent.size(), 65536U);
  EXPECT_LT(sent.size(), size_t{1} << 20) << "bounded";
  std::string received;
  in.write.Reset();
  ASSERT_TRUE(Until([&] {
    received += ReadAvailable(out.read);
    return ended_ == 1;
  }));
  received += ReadAvailable(out.read);
  EXPECT_EQ(received, sent);
}

TEST_P(CopierTest, ABrokenSinkIsDiscardedWithoutStoppingTheWriter) {
  Pipe in;
  Pipe out;
  const auto copier = Make(&in, &out);
  out.read.Reset();
  for (int i = 0; i < 64; ++i) {
    ASSERT_TRUE(WriteAll(in.write, std::string(4096, 'x'), "in").ok());
    Turn();
  }
  in.write.Reset();
  ASSERT_TRUE(Until([&] { return ended_ == 1; }));
  EXPECT_GT(copier->discarded(), 0U);
}

TEST_P(CopierTest, ABrokenSinkOfInputEndsIt) {
  Pipe in;
  Pipe out;
  const auto copier = Make(&in, &out, Copier::BrokenSink::kEnd);
  out.read.Reset();
  ASSERT_TRUE(WriteAll(in.write, "x", "in").ok());
  ASSERT_TRUE(Until([&] { return ended_ == 1; }));
}

TEST_P(CopierTest, AFileTakesEverything) {
  char name[] = "/tmp/corten-copier-XXXXXX";
  Fd file(mkostemp(name, O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  Fd reader(open(name, O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(unlink(name), 0);
  Pipe in = std::move(*MakePipe(O_NONBLOCK));
  Copier copier(*loop_, std::move(in.read), std::move(file), GetParam(),
                Copier::BrokenSink::kDiscard, [this] { ++ended_; });
  ASSERT_TRUE(copier.Start().ok());
  std::string sent;
  for (int i = 0; i < 100; ++i) {
    const std::string chunk(3000, static_cast<char>('a' + i % 26));
    ASSERT_TRUE(WriteAll(in.write, chunk, "in").ok());
    sent += chunk;
    Turn();
  }
  in.write.Reset();
  ASSERT_TRUE(Until([&] { return ended_ == 1; }));
  EXPECT_EQ(*ReadAll(reader, 1 << 20, "file"), sent);
}

TEST(TerminalCopier, AHangUpIsTheEndOnlyWhenTheProcessHasEnded) {
  const auto loop = std::move(*Loop::Create());
  Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  ASSERT_EQ(grantpt(master.get()), 0);
  ASSERT_EQ(unlockpt(master.get()), 0);
  const std::string slave_name = ptsname(master.get());
  const auto open_slave = [&] {
    Fd slave(open(slave_name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios raw = {};
    EXPECT_EQ(tcgetattr(slave.get(), &raw), 0);
    cfmakeraw(&raw);
    EXPECT_EQ(tcsetattr(slave.get(), TCSANOW, &raw), 0);
    return slave;
  };
  Pipe out = std::move(*MakePipe(O_NONBLOCK));
  int ended = 0;
  Copier copier(*loop, std::move(master), std::move(out.write), Copier::Method::kBuffer,
                Copier::BrokenSink::kDiscard, [&] { ++ended; });
  Fd slave = open_slave();
  ASSERT_TRUE(copier.Start().ok());
  ASSERT_TRUE(WriteAll(slave, "one", "tty").ok());
  slave.Reset();  // a login program may do this and open it again
  std::string received;
  const auto turn_until = [&](size_t size) {
    const auto end = Loop::Clock::now() + std::chrono::seconds(10);
    while (received.size() < size && Loop::Clock::now() < end) {
      EXPECT_TRUE(loop->RunOnce(std::chrono::milliseconds(20)).ok());
      char buffer[64];
      const ssize_t got = read(out.read.get(), buffer, sizeof(buffer));
      if (got > 0) received.append(buffer, static_cast<size_t>(got));
    }
  };
  turn_until(3);
  EXPECT_EQ(ended, 0);
  slave = open_slave();
  ASSERT_TRUE(WriteAll(slave, "two", "tty").ok());
  turn_until(6);
  EXPECT_EQ(received, "onetwo");
  slave.Reset();
  copier.SourceEnding();
  const auto end = Loop::Clock::now() + std::chrono::seconds(10);
  while (ended == 0 && Loop::Clock::now() < end)
    EXPECT_TRUE(loop->RunOnce(std::chrono::milliseconds(20)).ok());
  EXPECT_EQ(ended, 1);
}

TEST(Places, SchemesAreToldApart) {
  EXPECT_EQ(ParsePlace("").kind, PlaceKind::kNull);
  EXPECT_EQ(ParsePlace("/run/fifo/x").kind, PlaceKind::kPath);
  EXPECT_EQ(ParsePlace("fifo:///run/x").path, "/run/x");
  EXPECT_EQ(ParsePlace("file:///var/log/a%20b").path, "/var/log/a b");
  EXPECT_EQ(ParsePlace("ttrpc+unix:///x?streaming_id=1").kind, PlaceKind::kUnknown);
  const Place program = ParsePlace("binary:///usr/bin/logger?--tag=a+b%2Bc&-v=&--last");
  EXPECT_EQ(program.kind, PlaceKind::kBinary);
  EXPECT_EQ(program.path, "/usr/bin/logger");
  EXPECT_EQ(program.query, (std::vector<std::pair<std::string, std::string>>{
                               {"--tag", "a b+c"}, {"-v", ""}, {"--last", ""}}));
  EXPECT_EQ(ParsePlace("binary-v2:///x").kind, PlaceKind::kBinaryV2);
}

}  // namespace
}  // namespace corten::shim
