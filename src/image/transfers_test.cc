// The journeys, with everything they stand on in memory.
#include "image/transfers.h"

#include <gtest/gtest.h>

#include "image/json_text.h"
#include "image/manifest.h"
#include "image/test_archive.h"
#include "snapshot/fake_snapshotter.h"

namespace corten::image {
namespace {

class FakeImages final : public metadata::ImageStore {
 public:
  Result<metadata::Image> Get(const model::Namespace&, const std::string& name) override {
    const auto found = images.find(name);
    if (found == images.end()) return NotFoundError("image ", Quoted(name));
    return found->second;
  }
  Result<std::vector<metadata::Image>> List(const model::Namespace&,
                                            const metadata::Filters&) override {
    std::vector<metadata::Image> out;
    for (const auto& [name, image] : images) out.push_back(image);
    return out;
  }
  Result<metadata::Image> Create(const model::Scope&, metadata::Image image,
                                 std::optional<Time>) override {
    if (images.contains(image.name)) return AlreadyExistsError("image ", Quoted(image.name));
    images[image.name] = image;
    return image;
  }
  Result<metadata::Image> Update(const model::Scope&, metadata::Image image,
                                 const metadata::FieldPaths&, std::optional<Time>) override {
    if (!images.contains(image.name)) return NotFoundError("image ", Quoted(image.name));
    images[image.name] = image;
    return image;
  }
  Status Delete(const model::Scope&, const std::string& name, const DeleteOptions&) override {
    return images.erase(name) == 1 ? Ok() : Status(NotFoundError("image ", Quoted(name)));
  }
  std::map<std::string, metadata::Image> images;
};

class FakeLeases final : public metadata::LeaseStore {
 public:
  Result<metadata::Lease> Create(const model::Namespace&, metadata::Lease lease) override {
    lease.id = model::LeaseId(StrCat("lease", ++made));
    live[lease.id] = lease;
    return lease;
  }
  Status Delete(const model::Namespace&, const model::LeaseId& id, bool) override {
    return live.erase(id) == 1 ? Ok() : Status(NotFoundError("lease"));
  }
  Result<std::vector<metadata::Lease>> List(const model::Namespace&,
                                            const metadata::Filters&) override {
    return std::vector<metadata::Lease>();
  }
  Status AddResource(const model::Namespace&, const model::LeaseId&,
                     const metadata::LeaseResource&) override {
    return UnimplementedError("x");
  }
  Status DeleteResource(const model::Namespace&, const model::LeaseId&,
                        const metadata::LeaseResource&) override {
    return UnimplementedError("x");
  }
  Result<std::vector<metadata::LeaseResource>> ListResources(const model::Namespace&,
                                                             const model::LeaseId&) override {
    return UnimplementedError("x");
  }
  int made = 0;
  std::map<model::LeaseId, metadata::Lease> live;
};

// Lends stores that live longer than a view of them.
class FakeStores final : public metadata::ScopedStores {
 public:
  class ContentView final : public content::Store {
   public:
    explicit ContentView(content::Store* store) : store_(store) {}
    Result<content::Info> GetInfo(const model::Digest& digest) override {
      return store_->GetInfo(digest);
    }
    Result<content::Info> Update(const content::Info& info,
                                 const content::FieldPaths& paths) override {
      return store_->Update(info, paths);
    }
    Status Walk(const content::Filters& filters,
                const std::function<Status(const content::Info&)>& visit) override {
      return store_->Walk(filters, visit);
    }
    Status Delete(const model::Digest& digest) override { return store_->Delete(digest); }
    Result<std::unique_ptr<content::Reader>> OpenReader(const model::Digest& digest) override {
      return store_->OpenReader(digest);
    }
    Result<std::unique_ptr<content::Writer>> OpenWriter(
        const content::WriterOptions& options) override {
      return store_->OpenWriter(options);
    }
    Result<content::IngestStatus> GetStatus(const std::string& ref) override {
      return store_->GetStatus(ref);
    }
    Result<std::vector<content::IngestStatus>> ListStatuses(
        const content::Filters& filters) override {
      return store_->ListStatuses(filters);
    }
    Status Abort(const std::string& ref) override { return store_->Abort(ref); }

   private:
    content::Store* store_;
  };
  class SnapshotView final : public snapshot::Snapshotter {
   public:
    explicit SnapshotView(snapshot::Snapshotter* real) : real_(real) {}
    Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                              const model::Labels& labels) override {
      return real_->Prepare(key, parent, labels);
    }
    Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                           const model::Labels& labels) override {
      return real_->View(key, parent, labels);
    }
    Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
      return real_->Mounts(key);
    }
    Status Commit(const std::string& name, const std::string& key,
                  const CommitOptions& options) override {
      return real_->Commit(name, key, options);
    }
    Status Remove(const std::string& key) override { return real_->Remove(key); }
    Result<snapshot::Info> Stat(const std::string& key) override { return real_->Stat(key); }
    Result<snapshot::Info> Update(const snapshot::Info& info,
                                  const snapshot::FieldPaths& paths) override {
      return real_->Update(info, paths);
    }
    Status Walk(const snapshot::Filters& filters,
                const std::function<Status(const snapshot::Info&)>& visit) override {
      return real_->Walk(filters, visit);
    }
    Result<snapshot::Usage> GetUsage(const std::string& key) override {
      return real_->GetUsage(key);
    }
    Status Cleanup() override { return real_->Cleanup(); }

   private:
    snapshot::Snapshotter* real_;
  };
  std::unique_ptr<content::Store> Content(const model::Scope& scope) override {
    leases.push_back(scope.lease);
    return std::make_unique<ContentView>(&content);
  }
  Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(const model::Scope&,
                                                           const std::string&) override {
    return std::unique_ptr<snapshot::Snapshotter>(std::make_unique<SnapshotView>(&snapshots));
  }
  content::FakeStore content;
  snapshot::FakeSnapshotter snapshots;
  std::vector<model::LeaseId> leases;
};

// Reads a layer and answers its digest, as if it had unpacked it.
class FakeApplier final : public diff::StreamApplier {
 public:
  Result<model::Descriptor> ApplyStream(const model::Descriptor&, const std::vector<model::Mount>&,
                                        diff::ByteSource& source,
                                        const diff::ApplyOptions&) override {
    std::string data;
    char buffer[777];
    while (true) {
      const size_t n = TRY(source.Read(buffer));
      if (n == 0) break;
      data.append(buffer, n);
    }
    return Describe(model::media_type::kOciLayer, data);
  }
};

class TransfersTest : public testing::Test {
 protected:
  TransfersTest() {
    TransferOptions options;
    options.stores = &stores_;
    options.images = &images_;
    options.leases = &leases_;
    options.applier = &applier_;
    options.unpack = {{{"linux", "amd64", "", "", {}}, "overlayfs", nullptr}};
    transfers_ = std::make_unique<Transfers>(std::move(options));
    const std::string layers[2] = {MakeTar({{"a", "1"}}), MakeTar({{"b", "2"}})};
    const std::string config = StrCat(
        R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[)",
        JsonString(Sha256Digest(layers[0])), ",", JsonString(Sha256Digest(layers[1])), "]}}");
    const model::Descriptor config_blob = Describe(model::media_type::kOciConfig, config);
    const model::Descriptor blobs[2] = {Describe(model::media_type::kOciLayer, layers[0]),
                                        Describe(model::media_type::kOciLayer, layers[1])};
    const std::string manifest =
        StrCat(R"({"schemaVersion":2,"config":)", DescriptorJson(config_blob), R"(,"layers":[)",
               DescriptorJson(blobs[0]), ",", DescriptorJson(blobs[1]), "]}");
    manifest_ = Describe(model::media_type::kOciManifest, manifest);
    model::Descriptor entry = manifest_;
    entry.annotations["org.opencontainers.image.ref.name"] = "1";
    const std::string index =
        StrCat(R"({"schemaVersion":2,"manifests":[)", DescriptorJson(entry), "]}");
    files_ = {{"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"},
              {"index.json", index},
              {BlobName(config_blob), config},
              {BlobName(blobs[0]), layers[0]},
              {BlobName(blobs[1]), layers[1]},
              {BlobName(manifest_), manifest}};
    chain_ = ChainIds({blobs[0].digest, blobs[1].digest}).back().str();
    config_ = config_blob.digest;
    request_.extra_references = {{"base", true, true, false, false}};
  }

  Status Import(const StoreRequest& request) {
    StringSource archive(MakeTar(files_));
    return transfers_->Import(scope_, archive, request, false,
                              [this](const Progress& p) {
                                told_.push_back(p.event + (p.name.empty() ? "" : " " + p.name));
                              },
                              {});
  }

  FakeStores stores_;
  FakeImages images_;
  FakeLeases leases_;
  FakeApplier applier_;
  std::unique_ptr<Transfers> transfers_;
  const model::Scope scope_{model::Namespace("n"), model::LeaseId()};
  std::vector<TestFile> files_;
  model::Descriptor manifest_;
  model::Digest config_;
  std::string chain_;
  StoreRequest request_;
  std::vector<std::string> told_;
};

TEST_F(TransfersTest, AnImportIsStoredUnpackedNamedAndItsLeaseIsGone) {
  request_.unpacks = {{{"linux", "amd64", "", "", {}}, ""}};
  ASSERT_TRUE(Import(request_).ok());
  EXPECT_EQ(images_.images.at("base:1").target.digest, manifest_.digest);
  EXPECT_EQ(stores_.snapshots.Stat(chain_).value().kind, snapshot::Kind::kCommitted);
  EXPECT_EQ(
      stores_.content.GetInfo(config_).value().labels.at("containerd.io/gc.ref.snapshot.overlayfs"),
      chain_);
  EXPECT_EQ(leases_.made, 1);
  EXPECT_TRUE(leases_.live.empty());
  EXPECT_EQ(stores_.leases.at(0).str(), "lease1");
  EXPECT_EQ(told_.front(), "Importing");
  EXPECT_EQ(told_.back(), "Completed import");
  EXPECT_NE(std::find(told_.begin(), told_.end(), "saved base:1"), told_.end());
}

TEST_F(TransfersTest, TheCallersLeaseIsUsedAndKept) {
  const model::Scope leased{model::Namespace("n"), model::LeaseId("mine")};
  StringSource archive(MakeTar(files_));
  ASSERT_TRUE(transfers_->Import(leased, archive, request_, false, {}, {}).ok());
  EXPECT_EQ(leases_.made, 0);
  EXPECT_EQ(stores_.leases.at(0).str(), "mine");
}

TEST_F(TransfersTest, AMissingLayerFailsTheImportAndNoNameIsWritten) {
  files_.erase(files_.begin() + 3);
  EXPECT_EQ(Import(request_).error().code(), Code::kNotFound);
  EXPECT_TRUE(images_.images.empty());
  EXPECT_TRUE(leases_.live.empty());
}

TEST_F(TransfersTest, AWrongDiffIdFailsTheImportAndLeavesNoSnapshot) {
  files_[2].data[files_[2].data.find("\"sha256:") + 10] ^=
      1;  // within the first diff id; other bytes, so another config
  const model::Descriptor config = Describe(model::media_type::kOciConfig, files_[2].data);
  const std::string before = config_.str();
  for (TestFile& file : files_) {
    for (size_t at; (at = file.data.find(before)) != std::string::npos;)
      file.data.replace(at, before.size(), config.digest.str());
  }
  files_[2].name = BlobName(config);
  const std::string old_manifest = manifest_.digest.str();
  const model::Descriptor manifest = Describe(model::media_type::kOciManifest, files_[5].data);
  for (size_t at; (at = files_[1].data.find(old_manifest)) != std::string::npos;)
    files_[1].data.replace(at, old_manifest.size(), manifest.digest.str());
  request_.unpacks = {{{"linux", "amd64", "", "", {}}, ""}};
  const Status failed = Import(request_);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().text().find("wrong diff id"), std::string::npos)
      << failed.error().text();
  int snapshots = 0;
  stores_.snapshots
      .Walk({},
            [&](const snapshot::Info&) -> Status {
              ++snapshots;
              return Ok();
            })
      .value();
  EXPECT_EQ(snapshots, 0);
  EXPECT_TRUE(images_.images.empty());
}

TEST_F(TransfersTest, ASnapshotterThatIsNotConfiguredIsRefused) {
  request_.unpacks = {{{"linux", "amd64", "", "", {}}, "zfs"}};
  EXPECT_EQ(Import(request_).error().code(), Code::kInvalidArgument);
}

TEST_F(TransfersTest, FurtherNamesGoWithTheImageOfTheRequest) {
  request_.name = "index:1";
  ASSERT_TRUE(Import(request_).ok());
  EXPECT_FALSE(images_.images.at("index:1").labels.contains("containerd.io/gc.bref.image"));
  EXPECT_EQ(images_.images.at("base:1").labels.at("containerd.io/gc.bref.image"), "index:1");
  EXPECT_TRUE(images_.images.at("base:1").labels.contains("containerd.io/gc.expire"));
}

TEST_F(TransfersTest, ATagIsASecondNameAndReplacesOne) {
  ASSERT_TRUE(Import(request_).ok());
  StoreRequest source;
  source.name = "base:1";
  StoreRequest destination;
  destination.name = "other:1";
  ASSERT_TRUE(transfers_->Tag(scope_, source, destination).ok());
  ASSERT_TRUE(transfers_->Tag(scope_, source, destination).ok());
  EXPECT_EQ(images_.images.at("other:1").target.digest, manifest_.digest);
  source.name = "none:1";
  EXPECT_EQ(transfers_->Tag(scope_, source, destination).error().code(), Code::kNotFound);
}

TEST_F(TransfersTest, AnExportOfWhatIsNotThereIsNotFound) {
  StringSink sink;
  StoreRequest source;
  source.extra_references = {{"none:1", false, false, false, false}};
  EXPECT_EQ(transfers_->Export(scope_, source, sink, {}, {}).error().code(), Code::kNotFound);
  EXPECT_TRUE(sink.text.empty());
}

TEST_F(TransfersTest, APullThatCannotBeginSaysWhyAndLeavesNoLease) {
  EXPECT_EQ(transfers_->Pull(scope_, "host.test", {}, request_, {}, {}).error().text(),
            "failed to resolve image: object required");
  EXPECT_EQ(
      transfers_->Pull(scope_, "a b/c:1", {}, request_, {}, {}).error().text(),
      "failed to resolve image: parse \"dummy://a b/c:1\": invalid character \" \" in host name");
  EXPECT_EQ(transfers_->Pull(scope_, "alpine:latest", {}, request_, {}, {}).error().text(),
            "failed to resolve image: parse \"dummy://alpine:latest\": invalid port \":latest\" "
            "after host");
  EXPECT_TRUE(leases_.live.empty());
}

}  // namespace
}  // namespace corten::image
