// Conversions of whole objects: containers, images, leases, blobs, ingests, snapshots. Both
// directions, for the facades that serve the API and the client that calls it. Fields the message
// does not know are lost; opaque Any values are not touched. Unset message fields become unset
// optionals.
#pragma once

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/content/v1/content.pb.h"
#include "containerd/services/images/v1/images.pb.h"
#include "containerd/services/leases/v1/leases.pb.h"
#include "containerd/services/snapshots/v1/snapshots.pb.h"
#include "content/store.h"
#include "metadata/stores.h"
#include "snapshot/snapshotter.h"

namespace corten::api {

metadata::Container FromProto(const containerd::services::containers::v1::Container& container);
void ToProto(const metadata::Container& container,
             containerd::services::containers::v1::Container* out);

// kInvalidArgument: the target's digest does not parse.
Result<metadata::Image> FromProto(const containerd::services::images::v1::Image& image);
void ToProto(const metadata::Image& image, containerd::services::images::v1::Image* out);

metadata::Lease FromProto(const containerd::services::leases::v1::Lease& lease);
void ToProto(const metadata::Lease& lease, containerd::services::leases::v1::Lease* out);

// kInvalidArgument: the digest does not parse.
Result<content::Info> FromProto(const containerd::services::content::v1::Info& info);
void ToProto(const content::Info& info, containerd::services::content::v1::Info* out);
Result<content::IngestStatus> FromProto(const containerd::services::content::v1::Status& status);
void ToProto(const content::IngestStatus& status, containerd::services::content::v1::Status* out);

snapshot::Info FromProto(const containerd::services::snapshots::v1::Info& info);
void ToProto(const snapshot::Info& info, containerd::services::snapshots::v1::Info* out);

}  // namespace corten::api
