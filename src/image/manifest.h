// What the JSON documents of an image say: index, manifest, configuration. Read only; a document is
// never re-encoded, since digests are over its bytes. Values and pure functions; any thread.
// Source: OCI image specification 1.1, Docker manifest v2 schema 2.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "content/store.h"
#include "model/descriptor.h"

namespace corten::image {

inline constexpr int64_t kMaxDocument =
    4393216;  // bytes of a manifest or index, as containerd limits them
inline constexpr int64_t kMaxConfig = 8 << 20;  // bytes of a configuration
inline constexpr int kMaxIndexDepth = 16;       // of indices within indices

struct Index {
  std::vector<model::Descriptor> manifests;
};

struct Manifest {
  model::Descriptor config;
  std::vector<model::Descriptor> layers;
};

struct ImageConfig {
  model::Platform platform;
  std::string rootfs_type;
  std::vector<model::Digest> diff_ids;
  model::Labels labels;     // config.Labels
  std::string stop_signal;  // config.StopSignal
};

// kInvalidArgument: not JSON, wrong types, fields of the other kind (an index with layers, a
// manifest with manifests), schema 1, more than 10,000 entries, nesting beyond 64.
Result<Index> ParseIndex(std::string_view json);
Result<Manifest> ParseManifest(std::string_view json);
Result<ImageConfig> ParseConfig(std::string_view json);

// The blobs a document names: an index its manifests, a manifest its config and then its layers,
// anything else none. kNotFound: the document is not in the store.
Result<std::vector<model::Descriptor>> Children(content::Store& store,
                                                const model::Descriptor& descriptor);

// The platform of a manifest: its descriptor's, else its configuration's.
Result<model::Platform> PlatformOf(content::Store& store, const model::Descriptor& manifest);

// The manifest under `target` that runs best on `wanted` (PlatformMatch). kNotFound: "no match for
// platform".
Result<model::Descriptor> SelectManifest(content::Store& store, const model::Descriptor& target,
                                         const model::Platform& wanted);

// The labels containerd.io/gc.ref.content.* that keep `children`: config, l.N for layers, m.N for
// manifests, N for others.
model::Labels ChildLabels(const std::vector<model::Descriptor>& children);

// Sets containerd.io/gc.ref.content.* on `parent` for its children, so that the collector keeps
// them.
Status LabelChildren(content::Store& store, const model::Descriptor& parent,
                     const std::vector<model::Descriptor>& children);

// chainID(n) = sha256(chainID(n-1) " " diffID(n)); chainID(0) = diffID(0). Empty for no layers.
std::vector<model::Digest> ChainIds(const std::vector<model::Digest>& diff_ids);

// The ingest reference that containerd uses for a blob: "layer-sha256:...", "manifest-", "index-",
// "config-", "unknown-".
std::string IngestRef(const model::Descriptor& descriptor);

}  // namespace corten::image
