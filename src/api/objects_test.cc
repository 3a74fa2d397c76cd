#include "api/objects.h"

#include <gtest/gtest.h>

#include "api/values.h"

namespace corten::api {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(Objects, AContainerSurvivesTheRoundTrip) {
  metadata::Container container;
  container.id = model::ContainerId("c1");
  container.labels = {{"a", "b"}, {"empty", ""}};
  container.image = "i";
  container.runtime = {"io.containerd.runc.v2", model::Any{"t", std::string("\0x", 2)}};
  container.spec = model::Any{"spec", "{}"};
  container.snapshotter = "overlayfs";
  container.snapshot_key = "c1";
  container.created_at = {1, 2};
  container.updated_at = {3, 4};
  container.extensions["e"] = {"u", "v"};
  container.sandbox = model::SandboxId("s");
  containerd::services::containers::v1::Container message;
  ToProto(container, &message);
  const metadata::Container back = FromProto(message);
  EXPECT_EQ(back.labels, container.labels);
  EXPECT_EQ(back.runtime, container.runtime);
  EXPECT_EQ(back.spec, container.spec);
  EXPECT_EQ(back.extensions, container.extensions);
  EXPECT_EQ(back.updated_at, container.updated_at);
  EXPECT_EQ(back.sandbox, container.sandbox);
  containerd::services::containers::v1::Container empty;
  EXPECT_FALSE(FromProto(empty).spec.has_value());
  EXPECT_FALSE(FromProto(empty).runtime.options.has_value());
}

TEST(Objects, ImagesAndBlobsCheckTheirDigests) {
  metadata::Image image;
  image.name = "n";
  image.target.digest = model::Digest::Parse(kDigest).value();
  image.target.size = 5;
  image.target.media_type = "m";
  image.target.annotations = {{"x", "y"}};
  containerd::services::images::v1::Image message;
  ToProto(image, &message);
  EXPECT_EQ(FromProto(message).value().target, image.target);
  message.mutable_target()->set_digest("nonsense");
  EXPECT_EQ(FromProto(message).error().code(), Code::kInvalidArgument);
}

TEST(Objects, SnapshotKindsKeepTheirNumbers) {
  snapshot::Info info;
  info.kind = snapshot::Kind::kCommitted;
  info.name = "n";
  containerd::services::snapshots::v1::Info message;
  ToProto(info, &message);
  EXPECT_EQ(message.kind(), containerd::services::snapshots::v1::COMMITTED);
  EXPECT_EQ(FromProto(message).kind, snapshot::Kind::kCommitted);
}

}  // namespace
}  // namespace corten::api
