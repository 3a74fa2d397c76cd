#include "model/reference.h"

#include <gtest/gtest.h>

#include <vector>

namespace corten::model {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(Reference, SplitsAtTheFirstColonOrAtOfThePath) {
  const Reference tagged = ParseReference("127.0.0.1:5000/a/b:v1@" + kDigest).value();
  EXPECT_EQ(tagged.host(), "127.0.0.1:5000");
  EXPECT_EQ(tagged.path(), "a/b");
  EXPECT_EQ(tagged.tag(), "v1");
  EXPECT_EQ(tagged.digest(), kDigest);
  EXPECT_EQ(tagged.str(), "127.0.0.1:5000/a/b:v1@" + kDigest);
  const Reference by_digest = ParseReference("h/p@" + kDigest).value();
  EXPECT_EQ(by_digest.tag(), "");
  EXPECT_EQ(by_digest.digest(), kDigest);
  EXPECT_EQ(by_digest.str(), "h/p@" + kDigest);
  EXPECT_EQ(ParseReference("alpine").value().object, "");
}

TEST(Reference, RefusesSchemesPortsAndSpaces) {
  for (const char* bad :
       {"", "http://x/y", "alpine:latest", "/x", "a b/c", "h/p:", "h/p@", "h:99999/x"}) {
    EXPECT_EQ(ParseReference(bad).error().code(), Code::kInvalidArgument) << bad;
  }
}

TEST(Reference, DockersShortFormsAreMadeWhole) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"alpine", "docker.io/library/alpine:latest"},
      {"a/b:1", "docker.io/a/b:1"},
      {"localhost/x", "localhost/x:latest"},
      {"r.io:5000/x/y@" + kDigest, "r.io:5000/x/y@" + kDigest},
      {"index.docker.io/x", "docker.io/library/x:latest"},
      {"a--b/c__d:1.0", "docker.io/a--b/c__d:1.0"}};
  for (const auto& [text, want] : cases) EXPECT_EQ(NormalizeDockerReference(text).value(), want);
  for (const char* bad : {"UPPER", "a:", "a:-x", "a@sha256:1", "a//b", "-a", "a/_b"})
    EXPECT_FALSE(NormalizeDockerReference(bad).ok()) << bad;
}

TEST(ReferenceTest, HostsOfDockerNamesAreHosts) {
  for (const char* bad : {":1a/b:1", ":5/b", "a.b:70000/c", "a_b.c/d", "-a.b/c", "a..b/c",
                          "[zz]:1/c", "[::1/c", "a.b:/c"}) {
    EXPECT_FALSE(NormalizeDockerReference(bad).ok()) << bad;
  }
  EXPECT_EQ(NormalizeDockerReference("[::1]:5000/c").value(), "[::1]:5000/c:latest");
  EXPECT_EQ(NormalizeDockerReference("A-1.b:5000/c").value(), "A-1.b:5000/c:latest");
}

TEST(ReferenceTest, TheLengthOfADockerNameIsCountedOnce) {
  const std::string host = StrCat(std::string(1000, 'h'), ".io");
  const std::string whole = NormalizeDockerReference(host + "/c").value();
  EXPECT_EQ(whole, host + "/c:latest");
  EXPECT_EQ(NormalizeDockerReference(whole).value(), whole);
  EXPECT_EQ(NormalizeDockerReference(host + "/" + std::string(30, 'c')).error().code(),
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace corten::model
