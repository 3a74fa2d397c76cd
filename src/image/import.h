// Archives into the content store: OCI image layouts and Docker's `save` format, as tar, gzip or
// zstd.
//
// One pass: every regular file but the two small documents becomes a blob (ingest `tar-<path>`)
// while it goes by; nothing but those documents is held in memory. Symbolic links between files of
// the archive are followed by name afterwards. For a Docker archive a manifest for each entry and
// an index over them are made, byte for byte as containerd makes them.
//
// Limits (kInvalidArgument beyond): documents 20 MiB, 100,000 members, names 4096 bytes, link
// chains 255. Hostile names touch nothing: a name is a key in a map, never a path on disk. Crash:
// finished blobs without a reference, which the collector takes once the caller's lease is gone.
// Threads: one per call. Source: OCI image layout 1.0, images.md 10.
#pragma once

#include "base/error.h"
#include "content/store.h"
#include "diff/differ.h"
#include "image/progress.h"
#include "model/descriptor.h"

namespace corten::image {

struct ImportOptions {
  bool compress = false;  // uncompressed layers of a Docker archive are stored as gzip
  Canceled canceled;
};

// Returns the index of the archive: its index.json, or the one that was made. The manifests in it
// are the images. kInvalidArgument: not an archive, `unrecognized image format`, a document that
// says nonsense; kNotFound: a file that manifest.json names is not there; kCanceled; errors of the
// store (kResourceExhausted: disk full).
Result<model::Descriptor> ImportArchive(content::Store& store, diff::ByteSource& source,
                                        const ImportOptions& options);

}  // namespace corten::image
