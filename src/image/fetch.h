// A blob from a registry into the content store: begun, continued where an earlier attempt ended,
// or found there.
//
// The bytes may be had while they are stored (Open): a layer is then downloaded, verified, stored
// and unpacked in one pass. Two fetches of one blob meet at its ingest: the second waits and then
// reads what the first has stored. Crash: an ingest that the next fetch continues. A blob whose
// bytes are not its digest's leaves nothing behind. Threads: Fetcher any; one source, one thread at
// a time.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "content/store.h"
#include "diff/differ.h"
#include "image/progress.h"
#include "image/progress_tracker.h"
#include "image/registry.h"

namespace corten::image {

class Fetcher {
 public:
  // All borrowed for the fetcher's life.
  Fetcher(content::Store* store, Registry* registry, ProgressTracker* tracker, Canceled canceled)
      : store_(store), registry_(registry), tracker_(tracker), canceled_(std::move(canceled)) {}

  // Returns when the blob is in the store, labelled with its source. kFailedPrecondition:
  // `unexpected commit digest ...` or size; errors of registry and store; kCanceled.
  Status Fetch(const model::Descriptor& blob);
  // Its bytes from the front; reading to the end (0) means that it is in the store. Errors as
  // Fetch, by any Read.
  Result<std::unique_ptr<diff::ByteSource>> Open(const model::Descriptor& blob);

 private:
  class Tee;
  // The ingest of `blob`, or null: the blob is there.
  Result<std::unique_ptr<content::Writer>> Begin(const model::Descriptor& blob);
  Status AddSource(const model::Digest& digest);
  Status Commit(const model::Descriptor& blob, std::unique_ptr<content::Writer> writer);

  content::Store* const store_;
  Registry* const registry_;
  ProgressTracker* const tracker_;
  const Canceled canceled_;
};

}  // namespace corten::image
