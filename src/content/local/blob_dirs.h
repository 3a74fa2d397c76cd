// The directories blobs/<algorithm>, made when their first blob is committed.
//
// Publish is the only way into them. Threads: all methods at once; no lock is held over I/O but
// while a directory is made (three times in the life of a root).
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/dir.h"
#include "base/dir_syncer.h"
#include "model/digest.h"

namespace corten::content {

class BlobDirs {
 public:
  // Opens what is below `root`/blobs and flushes it once, with the way to it (blobs, `root` and the
  // directory above): entries that a killed process made become durable. Where there can be no blob
  // yet nothing is flushed; the first one does it.
  static Result<std::unique_ptr<BlobDirs>> Open(const Dir& root);
  ~BlobDirs();

  // The file of a blob. kNotFound `content sha256:...`.
  Result<struct stat> Stat(const model::Digest& digest) const;
  Result<Fd> OpenFile(const model::Digest& digest) const;
  Status Remove(const model::Digest& digest) const;
  // Whether there is such a blob; if so, returns once its entry is durable.
  Result<bool> SettledExists(const model::Digest& digest) const;

  // Makes a flushed, verified file visible as `digest` and durable. `place` gives it the name (link
  // or rename) in the directory it gets and must fail with kAlreadyExists if the name is taken. If
  // the flush of the directory fails the name is taken back. Errors: place's; of fsync(2).
  // kAlreadyExists: the blob is there and durable.
  Status Publish(const model::Digest& digest,
                 const std::function<Status(const Dir& dir, const std::string& name)>& place);

  // Digests that are there, sorted; names that are no digest are passed over.
  Result<std::vector<model::Digest>> List() const;
  uint64_t flushes() const;

 private:
  struct Algorithm {
    Dir dir;
    DirSyncer syncer;
    explicit Algorithm(Dir opened) : dir(std::move(opened)), syncer(dir.fd(), dir.path()) {}
  };
  explicit BlobDirs(Dir blobs) : blobs_(std::move(blobs)) {}
  Status SyncWay() const;
  Algorithm* Find(std::string_view algorithm) const;
  Result<Algorithm*> FindOrMake(std::string_view algorithm);

  static constexpr std::array<std::string_view, 3> kAlgorithms = {"sha256", "sha384",
                                                                  "sha512"};  // byte order
  const Dir blobs_;
  std::mutex making_;  // one at a time makes a directory
  std::array<std::atomic<Algorithm*>, kAlgorithms.size()> opened_{};  // owned; set once
};

}  // namespace corten::content
