// Archives in and out, with a store in memory.
#include <gtest/gtest.h>

#include "diff/compress.h"
#include "image/export.h"
#include "image/import.h"
#include "image/json_text.h"
#include "image/manifest.h"
#include "image/test_archive.h"

namespace corten::image {
namespace {

constexpr char kLayout[] = R"({"imageLayoutVersion":"1.0.0"})";

// An OCI layout of one image with one layer.
struct SmallImage {
  std::string layer = MakeTar({{"hello", "world"}});
  std::string config =
      StrCat(R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[")",
             Sha256Digest(layer), R"("]}})");
  model::Descriptor layer_blob = Describe(model::media_type::kOciLayer, layer);
  model::Descriptor config_blob = Describe(model::media_type::kOciConfig, config);
  std::string manifest = StrCat(R"({"schemaVersion":2,"config":)", DescriptorJson(config_blob),
                                R"(,"layers":[)", DescriptorJson(layer_blob), "]}");
  model::Descriptor manifest_blob = Describe(model::media_type::kOciManifest, manifest);
  std::string index =
      StrCat(R"({"schemaVersion":2,"manifests":[)", DescriptorJson(manifest_blob), "]}");

  std::vector<TestFile> Files() const {
    return {{"oci-layout", kLayout},
            {"index.json", index},
            {BlobName(layer_blob), layer},
            {BlobName(config_blob), config},
            {BlobName(manifest_blob), manifest}};
  }
};

Result<model::Descriptor> Import(content::Store& store, std::string archive,
                                 bool compress = false) {
  StringSource source(std::move(archive));
  ImportOptions options;
  options.compress = compress;
  return ImportArchive(store, source, options);
}

TEST(ImportTest, AnOciLayoutBecomesBlobsAndItsIndexIsTheResult) {
  const SmallImage image;
  content::FakeStore store;
  const model::Descriptor index = Import(store, MakeTar(image.Files())).value();
  EXPECT_EQ(index.digest.str(), Sha256Digest(image.index));
  EXPECT_EQ(index.media_type, model::media_type::kOciIndex);
  EXPECT_EQ(content::ReadBlob(store, image.layer_blob.digest, 1 << 20).value(), image.layer);
  EXPECT_EQ(Children(store, index).value().at(0).digest, image.manifest_blob.digest);
  EXPECT_TRUE(store.ListStatuses({}).value().empty());
}

TEST(ImportTest, ACompressedArchiveIsTheSameAsAPlainOne) {
  const SmallImage image;
  const std::string plain = MakeTar(image.Files());
  for (const diff::Compression compression : {diff::Compression::kGzip, diff::Compression::kZstd}) {
    StringSink packed;
    const auto packer = diff::OpenCompressor(packed, compression).value();
    packer->Write(plain).value();
    packer->Finish().value();
    content::FakeStore store;
    EXPECT_EQ(Import(store, packed.text).value().digest.str(), Sha256Digest(image.index));
  }
}

// A Docker archive with the layer behind a symbolic link, as `docker save` writes repeated layers.
std::string DockerArchive(const SmallImage& image, const std::string& tags) {
  return MakeTar({{"a/layer.tar", image.layer},
                  {"b/layer.tar", "../a/layer.tar", diff::kSymlink},
                  {"config.json", image.config},
                  {"manifest.json", StrCat(R"([{"Config":"config.json","RepoTags":)", tags,
                                           R"(,"Layers":["b/layer.tar"]}])")}});
}

TEST(ImportTest, ADockerArchiveGetsAManifestAndAnIndexEntryPerTag) {
  const SmallImage image;
  content::FakeStore store;
  const model::Descriptor index =
      Import(store, DockerArchive(image, R"(["small:1","host.test/x/small:2"])")).value();
  const std::vector<model::Descriptor> entries = Children(store, index).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].annotations.at("io.containerd.image.name"), "docker.io/library/small:1");
  EXPECT_EQ(entries[0].annotations.at("org.opencontainers.image.ref.name"), "1");
  EXPECT_EQ(entries[1].annotations.at("io.containerd.image.name"), "host.test/x/small:2");
  EXPECT_EQ(entries[0].platform->architecture, "amd64");
  const std::vector<model::Descriptor> parts = Children(store, entries[0]).value();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].media_type, model::media_type::kDockerConfig);
  EXPECT_EQ(parts[1].media_type, model::media_type::kDockerLayer);
  EXPECT_EQ(parts[1].digest, image.layer_blob.digest);
  const model::Labels labels = store.GetInfo(entries[0].digest).value().labels;
  EXPECT_EQ(labels.at("containerd.io/gc.ref.content.config"), image.config_blob.digest.str());
  EXPECT_EQ(labels.at("containerd.io/gc.ref.content.l.0"), image.layer_blob.digest.str());
}

TEST(ImportTest, LayersOfADockerArchiveCanBeCompressedOnTheWayAndAreFoundAgain) {
  const SmallImage image;
  content::FakeStore store;
  const auto layer_of = [&](bool compress) {
    const model::Descriptor index =
        Import(store, DockerArchive(image, R"(["small:1"])"), compress).value();
    return Children(store, Children(store, index).value().at(0)).value().at(1);
  };
  const model::Descriptor packed = layer_of(true);
  EXPECT_EQ(packed.media_type, model::media_type::kDockerLayerGzip);
  EXPECT_EQ(store.GetInfo(packed.digest).value().labels.at("containerd.io/uncompressed"),
            image.layer_blob.digest.str());
  EXPECT_EQ(layer_of(false).digest, packed.digest);
}

TEST(ImportTest, WhatIsNoImageIsRefused) {
  const SmallImage image;
  const std::vector<std::pair<std::string, Code>> bad = {
      {MakeTar({{"hello", "world"}}), Code::kInvalidArgument},
      {MakeTar({{"oci-layout", R"({"imageLayoutVersion":"2.0.0"})"}, {"index.json", image.index}}),
       Code::kInvalidArgument},
      {MakeTar({{"oci-layout", kLayout}}), Code::kInvalidArgument},
      {MakeTar({{"oci-layout", "[[[["}, {"index.json", image.index}}), Code::kInvalidArgument},
      {MakeTar({{"oci-layout", std::string(100, '[')}, {"index.json", image.index}}),
       Code::kInvalidArgument},
      {MakeTar({{"manifest.json", R"({"Config":"x"})"}}), Code::kInvalidArgument},
      {MakeTar({{"manifest.json", R"([{"Config":"x","Layers":[]}])"}}), Code::kNotFound},
      {MakeTar({{"manifest.json", R"([{"Config":7,"Layers":[]}])"}}), Code::kInvalidArgument},
      {MakeTar({{"a", "b", diff::kSymlink},
                {"b", "a", diff::kSymlink},
                {"manifest.json", R"([{"Config":"a"}])"}}),
       Code::kInvalidArgument},
      {std::string(3000, 'x'), Code::kUnknown},
      {MakeTar(image.Files()).substr(0, 1600), Code::kInvalidArgument},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    content::FakeStore store;
    const Result<model::Descriptor> result = Import(store, bad[i].first);
    ASSERT_FALSE(result.ok()) << "archive " << i;
    EXPECT_EQ(result.error().code(), bad[i].second)
        << "archive " << i << ": " << result.error().text();
  }
}

TEST(ImportTest, AFullDiskIsToldAsSuch) {
  const SmallImage image;
  content::FakeStore store;
  store.SetCapacity(100);
  EXPECT_EQ(Import(store, MakeTar(image.Files())).error().code(), Code::kResourceExhausted);
}

TEST(ImportTest, ACanceledImportEnds) {
  const SmallImage image;
  content::FakeStore store;
  StringSource source(MakeTar(image.Files()));
  ImportOptions options;
  options.canceled = [] { return true; };
  EXPECT_EQ(ImportArchive(store, source, options).error().code(), Code::kCanceled);
}

metadata::Image Stored(content::FakeStore& store, const SmallImage& image,
                       const std::string& name) {
  store.Add(image.layer);
  store.Add(image.config);
  store.Add(image.manifest, {{"containerd.io/distribution.source.host.test", "small"}});
  metadata::Image out;
  out.name = name;
  out.target = image.manifest_blob;
  return out;
}

TEST(ExportTest, TheSameImageGivesTheSameBytesAndComesBackAsItWas) {
  const SmallImage image;
  content::FakeStore store;
  const metadata::Image stored = Stored(store, image, "docker.io/library/small:1");
  StringSink first;
  StringSink second;
  ExportImages(store, {stored}, first, {}).value();
  ExportImages(store, {stored}, second, {}).value();
  EXPECT_EQ(first.text, second.text);
  EXPECT_NE(first.text.find(R"("RepoTags":["small:1"])"), std::string::npos);
  EXPECT_NE(first.text.find(R"("containerd.io/distribution.source.host.test":"small")"),
            std::string::npos);

  content::FakeStore other;
  const model::Descriptor index = Import(other, first.text).value();
  const model::Descriptor entry = Children(other, index).value().at(0);
  EXPECT_EQ(entry.digest, image.manifest_blob.digest);
  EXPECT_EQ(entry.annotations.at("io.containerd.image.name"), "docker.io/library/small:1");
  EXPECT_EQ(content::ReadBlob(other, image.layer_blob.digest, 1 << 20).value(), image.layer);
}

TEST(ExportTest, AMissingLayerIsNotFoundAndANonImageIsRefused) {
  const SmallImage image;
  content::FakeStore store;
  metadata::Image stored = Stored(store, image, "x.test/small:1");
  store.Delete(image.layer_blob.digest).value();
  StringSink sink;
  EXPECT_EQ(ExportImages(store, {stored}, sink, {}).error().code(), Code::kNotFound);
  stored.target = image.config_blob;
  EXPECT_EQ(ExportImages(store, {stored}, sink, {}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ExportImages(store, {}, sink, {}).error().code(), Code::kInvalidArgument);
}

TEST(JsonTextTest, StringsAreEscapedAsGoDoes) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x01<&>"), R"("a\"b\\c\n\u0001\u003c\u0026\u003e")");
  EXPECT_EQ(JsonString("\xc3\xa9\xff"), "\"\xc3\xa9\xef\xbf\xbd\"");
  EXPECT_EQ(JsonString("\xe2\x80\xa8"), R"("\u2028")");
}

}  // namespace
}  // namespace corten::image
