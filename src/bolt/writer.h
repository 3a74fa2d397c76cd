// Makes a changed transaction durable: pages, flush, meta page, flush; then visible. Internal to
// the room. Threads: Commit from one thread at a time; the others any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "bolt/file.h"
#include "bolt/free_pages.h"
#include "bolt/readers.h"
#include "bolt/spill.h"
#include "bolt/write_tx.h"

namespace corten::bolt {

// Bytes a file is given at the least, and the largest step by which it grows.
inline constexpr uint64_t kSmallestFile = uint64_t{32} << 10;
inline constexpr uint64_t kLargestGrowth = uint64_t{16} << 20;
// The size to give to a file that must hold `needed` bytes: doubled up to 16 MiB, then in steps of
// 16 MiB.
uint64_t GrownSize(uint64_t needed);
// The address space to reserve for a file that holds `needed` bytes: more, so that it is mapped
// anew rarely.
uint64_t MappedSize(uint64_t needed);

class Writer {
 public:
  struct Counters {
    std::atomic<uint64_t> commits{0};
    std::atomic<uint64_t> flushes{0};
    std::atomic<uint64_t> pages_written{0};
    std::atomic<uint64_t> file_bytes{0};
  };

  // All are borrowed for life. `settled`: the state is known to be durable.
  Writer(File& file, Readers& readers, FreePages& space, bool no_sync, uint64_t file_bytes,
         bool settled);

  // kUnavailable after a flush or a meta page failed.
  Status CheckUsable() const;
  // Makes the state that was found at opening durable, once. The newest meta page may have been
  // written by a process that was killed before its flush; until it is durable, a power loss brings
  // back the state before it.
  Status Settle();
  // Commits `tx`, which has changes, and publishes the new state. Errors: see Db::Update.
  Status Commit(WriteTx& tx);
  const Counters& counters() const { return counters_; }

 private:
  Status Prepare(const Meta& meta, std::shared_ptr<const Mapping>* mapping);
  Status WriteImages(const std::vector<PageImage>& images, uint64_t page_size);
  Status WriteMeta(const Meta& meta);
  Status Flush();
  Error Refuse(Error error);

  File& file_;
  Readers& readers_;
  FreePages& space_;
  const bool no_sync_;
  bool settled_;
  mutable std::mutex refused_mutex_;    // guards refused_
  std::optional<std::string> refused_;  // why no commit is possible any more
  Counters counters_;
};

}  // namespace corten::bolt
