#include "bolt/writer.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/strcat.h"

namespace corten::bolt {

uint64_t GrownSize(uint64_t needed) {
  uint64_t size = kSmallestFile;
  while (size < needed && size < kLargestGrowth) size *= 2;
  if (size >= needed) return size;
  return (needed + kLargestGrowth - 1) / kLargestGrowth * kLargestGrowth;
}

uint64_t MappedSize(uint64_t needed) {
  constexpr uint64_t kSmallest = uint64_t{1} << 20;
  constexpr uint64_t kStep = uint64_t{1} << 30;
  uint64_t size = kSmallest;
  while (size < needed && size < kStep) size *= 2;
  if (size >= needed) return size;
  return (needed + kStep - 1) / kStep * kStep;
}

Writer::Writer(File& file, Readers& readers, FreePages& space, bool no_sync, uint64_t file_bytes,
               bool settled)
    : file_(file), readers_(readers), space_(space), no_sync_(no_sync), settled_(settled) {
  counters_.file_bytes = file_bytes;
}

Status Writer::CheckUsable() const {
  const std::lock_guard lock(refused_mutex_);
  if (!refused_) return Ok();
  return UnavailableError(file_.name(),
                          ": closed for writing until it is opened anew, since: ", *refused_);
}

// What reached the disk is unknown from here on, and a second flush would not tell: the kernel
// forgets the pages that it could not write.
Error Writer::Refuse(Error error) {
  const std::lock_guard lock(refused_mutex_);
  refused_ = error.text();
  return error;
}

Status Writer::Flush() {
  if (no_sync_) return Ok();
  ++counters_.flushes;
  return file_.DataSync();
}

// Needed before a commit too: the pages of the state before must not be written over while that one
// may come back.
Status Writer::Settle() {
  if (settled_) return Ok();
  Status flushed = Flush();
  if (!flushed.ok()) return Refuse(std::move(flushed).TakeError());
  settled_ = true;
  return Ok();
}

// Room in the file and in the mapping for the new state.
Status Writer::Prepare(const Meta& meta, std::shared_ptr<const Mapping>* mapping) {
  const uint64_t needed = meta.high_water * meta.page_size;
  if (needed > counters_.file_bytes) {
    const uint64_t size = GrownSize(needed);
    TRY(file_.Resize(size));
    if (!no_sync_) {
      ++counters_.flushes;
      Status synced = FAILPOINT_SKIPS("bolt.grow.flush") ? Ok() : file_.Sync();
      if (!synced.ok()) return Refuse(std::move(synced).TakeError());
    }
    counters_.file_bytes = size;
  }
  if (needed > (*mapping)->size()) *mapping = TRY(file_.Map(MappedSize(needed)));
  return Ok();
}

// Neighbours go out in one call.
Status Writer::WriteImages(const std::vector<PageImage>& images, uint64_t page_size) {
  constexpr size_t kMostParts = 256;
  std::vector<PageImage> sorted = images;
  std::sort(sorted.begin(), sorted.end(),
            [](const PageImage& a, const PageImage& b) { return a.id < b.id; });
  std::vector<std::string_view> parts;
  for (size_t i = 0; i < sorted.size();) {
    parts.clear();
    uint64_t next = sorted[i].id;
    const uint64_t first = next;
    for (; i < sorted.size() && sorted[i].id == next && parts.size() < kMostParts; ++i) {
      parts.push_back(sorted[i].bytes);
      next += sorted[i].bytes.size() / page_size;
    }
    TRY(file_.Write(first * page_size, parts));
    counters_.pages_written += next - first;
  }
  return Ok();
}

Status Writer::WriteMeta(const Meta& meta) {
  const std::string page = EncodeMetaPage(meta);
  const std::array<std::string_view, 1> parts{page};
  ++counters_.pages_written;
  return file_.Write((meta.txid % 2) * meta.page_size, parts);
}

Status Writer::Commit(WriteTx& tx) {
  TRY(CheckUsable());
  TRY(Settle());
  const uint64_t newest = tx.state().meta().txid;
  space_.Release(std::min(newest, readers_.oldest().value_or(newest)));
  Spill spill(tx, space_);
  std::shared_ptr<const Mapping> mapping = tx.state().snapshot()->mapping;
  // Until the meta page is written nothing refers to what is written here.
  Status written = [&]() -> Status {
    TRY(spill.Run());
    TRY(Prepare(spill.meta(), &mapping));
    TRY(WriteImages(spill.images(), spill.meta().page_size));
    FAILPOINT("bolt.commit.pages_written");
    return Ok();
  }();
  if (!written.ok()) {
    spill.Abandon();
    return written;
  }
  Status durable = [&]() -> Status {
    if (!FAILPOINT_SKIPS("bolt.commit.flush_pages")) TRY(Flush());
    FAILPOINT("bolt.commit.pages_flushed");
    TRY(WriteMeta(spill.meta()));
    FAILPOINT("bolt.commit.meta_written");
    if (!FAILPOINT_SKIPS("bolt.commit.flush_meta")) TRY(Flush());
    FAILPOINT("bolt.commit.meta_flushed");
    return Ok();
  }();
  if (!durable.ok()) return Refuse(std::move(durable).TakeError());
  space_.AddPending(spill.meta().txid, std::move(tx.freed()));
  ++counters_.commits;
  readers_.Publish(std::make_shared<Snapshot>(Snapshot{spill.meta(), std::move(mapping)}));
  return Ok();
}

}  // namespace corten::bolt
