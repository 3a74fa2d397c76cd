// The parts of a registry client that need no network: hosts files, challenges, URLs, names.
#include <gtest/gtest.h>

#include "image/auth.h"
#include "image/hosts.h"
#include "image/save.h"
#include "image/tree.h"
#include "image/url.h"

namespace corten::image {
namespace {

TEST(HostsTest, WithoutFilesTheImagesOwnHostIsAsked) {
  std::string warning;
  std::vector<RegistryHost> hosts = HostsFor("docker.io", "", {}, &warning);
  ASSERT_EQ(hosts.size(), 1u);
  EXPECT_EQ(hosts[0].Base(), "https://registry-1.docker.io/v2");
  EXPECT_FALSE(hosts[0].https_then_http);
  hosts = HostsFor("127.0.0.1:5000", "", {}, &warning);
  EXPECT_TRUE(hosts[0].https_then_http);
  EXPECT_TRUE(hosts[0].tls.skip_verify);
  hosts = HostsFor("localhost:443", "", {}, &warning);
  EXPECT_FALSE(hosts[0].https_then_http);
  hosts = HostsFor("127.0.0.1:5000", "", {"http", {}}, &warning);
  EXPECT_EQ(hosts[0].Base(), "http://127.0.0.1:5000/v2");
}

TEST(HostsTest, MirrorsComeInTheOrderOfTheFileAndTheServerLast) {
  const char text[] = R"(
server = "https://up.test"
[host."http://b.test:5000"]
  capabilities = ["pull"]
  [host."http://b.test:5000".header]
    x-a = "1"
    x-b = ["2", "3"]
[host."a.test/sub"]
  ca = "a.crt"
  client = [["c.pem", "/k.pem"]]
  override_path = true
  dial_timeout = "2s"
)";
  const std::vector<RegistryHost> hosts = ParseHostsFile(text, "/etc/h", "i.test", {}).value();
  ASSERT_EQ(hosts.size(), 3u);
  EXPECT_EQ(hosts[0].Base(), "http://b.test:5000/v2");
  EXPECT_FALSE(hosts[0].can_resolve);
  EXPECT_EQ(hosts[0].headers.size(), 3u);
  EXPECT_EQ(hosts[1].Base(), "https://a.test/sub");
  EXPECT_EQ(hosts[1].tls.ca_files, std::vector<std::string>{"/etc/h/a.crt"});
  EXPECT_EQ(hosts[1].tls.client_pairs.at(0),
            std::make_pair(std::string("/etc/h/c.pem"), std::string("/k.pem")));
  EXPECT_EQ(hosts[1].dial_timeout.count(), 2000);
  EXPECT_EQ(hosts[2].Base(), "https://up.test/v2");
}

TEST(HostsTest, MistakesNameTheLine) {
  for (const char* text : {"[host.\"a\"]\ncapabilities = [\"fly\"]", "server = 3", "x = [",
                           "[host.\"a\"]\nskip_verify = \"yes\"", "host = 1", "[$"}) {
    const Result<std::vector<RegistryHost>> hosts = ParseHostsFile(text, "/", "i.test", {});
    ASSERT_FALSE(hosts.ok()) << text;
    EXPECT_NE(hosts.error().text().find("line "), std::string::npos) << hosts.error().text();
  }
}

TEST(AuthTest, ChallengesAreReadAndBearerComesFirst) {
  const std::vector<Challenge> list = ParseChallenges(
      {R"(Basic realm="x")", "Digest qop=1",
       R"(Bearer Realm="https://t.test/token?a=\"b\"" , service=reg,scope="repository:a:pull x")"});
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].scheme, "bearer");
  EXPECT_EQ(list[0].parameters.at("realm"), "https://t.test/token?a=\"b\"");
  EXPECT_EQ(list[0].parameters.at("service"), "reg");
  EXPECT_EQ(list[0].parameters.at("scope"), "repository:a:pull x");
  EXPECT_EQ(list[1].scheme, "basic");
}

TEST(AuthTest, Base64IsTheStandardOne) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("user:pass"), "dXNlcjpwYXNz");
}

TEST(UrlTest, PartsLocationsAndSecrets) {
  const Url url = ParseUrl("https://u:p@[::1]:5000/v2/x?a=1#f");
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, "5000");
  EXPECT_EQ(url.str(), "https://[::1]:5000/v2/x?a=1");
  EXPECT_EQ(ResolveLocation("http://h:1/a/b", "/c"), "http://h:1/c");
  EXPECT_EQ(ResolveLocation("http://h:1/a/b", "c?x=y"), "http://h:1/a/c?x=y");
  EXPECT_EQ(ResolveLocation("http://h:1/a/b", "//o/c"), "http://o/c");
  EXPECT_EQ(RedactUrl("https://h/p?ns=x&sig=secret"), "https://h/p?ns=x&sig=redacted");
  EXPECT_TRUE(IsLoopbackHost("127.1.2.3"));
  EXPECT_FALSE(IsLoopbackHost("127.evil.test"));
}

model::Descriptor Named(const std::string& full, const std::string& ref) {
  model::Descriptor out;
  out.digest = model::Digest::Parse("sha256:" + std::string(64, 'a')).value();
  if (!full.empty()) out.annotations["io.containerd.image.name"] = full;
  if (!ref.empty()) out.annotations["org.opencontainers.image.ref.name"] = ref;
  return out;
}

TEST(SaveTest, NamesOfAnArchiveFollowItsAnnotationsAndTheBase) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  StoreRequest request;
  request.extra_references = {{"base", true, true, false, false}};
  using Names = std::vector<std::string>;
  EXPECT_EQ(NamesFor(request, Named("x.test/a:1", "1"), Origin::kArchive), Names{"x.test/a:1"});
  EXPECT_EQ(NamesFor(request, Named("", "1"), Origin::kArchive), Names{"base:1"});
  EXPECT_EQ(NamesFor(request, Named("", ""), Origin::kArchive), Names{});
  request.extra_references[0].allow_overwrite = false;
  EXPECT_EQ(NamesFor(request, Named("x.test/a:1", "1"), Origin::kArchive), Names{});
  EXPECT_EQ(NamesFor(request, Named("base/a:1", "1"), Origin::kArchive), Names{"base/a:1"});
  EXPECT_EQ(NamesFor(request, Named("baser/a:1", "1"), Origin::kArchive), Names{});
  request.extra_references[0].add_digest = true;
  EXPECT_EQ(NamesFor(request, Named("", "1"), Origin::kArchive),
            (Names{"base:1", "base@" + digest}));
  request.extra_references[0].skip_named_digest = true;
  EXPECT_EQ(NamesFor(request, Named("", "1"), Origin::kArchive), Names{"base:1"});
  EXPECT_EQ(NamesFor(request, Named("", ""), Origin::kArchive), Names{"base@" + digest});
  request.name = "index:1";
  EXPECT_EQ(NamesFor(request, Named("", ""), Origin::kRequest),
            (Names{"index:1", "base@" + digest}));
}

TEST(TreeTest, OtherPlatformsKeepTheirDocumentsOnlyIfAsked) {
  StoreRequest request;
  request.platforms = {{"linux", "amd64", "", "", {}}};
  model::Descriptor index;
  index.media_type = model::media_type::kOciIndex;
  std::vector<model::Descriptor> manifests(2);
  for (model::Descriptor& manifest : manifests)
    manifest.media_type = model::media_type::kOciManifest;
  manifests[0].platform = model::Platform{"linux", "arm64", "", "", {}};
  manifests[1].platform = model::Platform{"linux", "amd64", "", "", {}};
  EXPECT_EQ(WantedChildren(request, index, manifests).size(), 1u);
  request.all_metadata = true;
  EXPECT_EQ(WantedChildren(request, index, manifests).size(), 2u);
  std::vector<model::Descriptor> parts(2);
  parts[0].media_type = model::media_type::kOciConfig;
  parts[1].media_type = model::media_type::kOciLayerGzip;
  EXPECT_EQ(WantedChildren(request, manifests[0], parts).size(), 1u);
  EXPECT_EQ(WantedChildren(request, manifests[1], parts).size(), 2u);
  request.manifest_limit = 1;
  EXPECT_EQ(WantedChildren(request, index, manifests).at(0).platform->architecture, "amd64");
}

TEST(TreeTest, WorkAtOnceEndsWithItsFirstError) {
  std::atomic<int> done{0};
  EXPECT_TRUE(ForEachAtOnce(20, 3, [&](size_t) -> Status {
                ++done;
                return Ok();
              }).ok());
  EXPECT_EQ(done, 20);
  const Status failed = ForEachAtOnce(20, 3, [&](size_t i) -> Status {
    if (i == 3) return DataLossError("three");
    return Ok();
  });
  EXPECT_EQ(failed.error().text(), "three");
}

}  // namespace
}  // namespace corten::image
