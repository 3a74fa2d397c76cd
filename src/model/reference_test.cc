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
  for (const char* bad : {"", "http://x/y", "alpine:latest", "/x", "a b/c", "h/p:", "h/p@", "h:99999/x"}) {
    EXPECT_EQ(ParseReference(bad).error().code(), Code::kInvalidArgument) << bad;
  }
}

TEST(Reference, DockersShortFormsAreMadeWhole) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"alpine", "docker.io/library/alpine:latest"}, {"a/b:1", "docker.io/a/b:1"},
      {"localhost/x", "localhost/x:latest"},         {"r.io:5000/x/y@" + kDigest, "r.io:5000/x/y@" + kDigest},
      {"index.docker.io/x", "docker.io/library/x:latest"}, {"a--b/c__d:1.0", "docker.io/a--b/c__d:1.0"}};
  for (const auto& [text, want] : cases) EXPECT_EQ(NormalizeDockerReference(text).value(), want);
  for (const char* bad : {"UPPER", "a:", "a:-x", "a@sha256:1", "a//b", "-a", "a/_b"}) EXPECT_FALSE(NormalizeDockerReference(bad).ok()) << bad;
}

}  // namespace
}  // namespace corten::model
