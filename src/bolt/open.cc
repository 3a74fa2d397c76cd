#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/strcat.h"
#include "bolt/core.h"
#include "bolt/page.h"
#include "bolt/writer.h"

namespace corten::bolt {

namespace {

constexpr uint64_t kNewFilePages = 4;  // two meta pages, a list of free pages, an empty leaf
constexpr uint64_t kNewFreeList = 2;
constexpr uint64_t kNewRoot = 3;

Result<std::string> ReadHead(File& file, size_t size) {
  std::string head(size, '\0');
  const size_t read = TRY(file.Read(0, head));
  head.resize(read);
  return head;
}

Result<uint32_t> NewPageSize(const Options& options) {
  const uint32_t size =
      options.page_size != 0 ? options.page_size : static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  if (!std::has_single_bit(size) || size < kMinPageSize || size > kMaxPageSize) {
    return InvalidArgumentError("page size ", size, ": not a power of two from 1024 to 65536");
  }
  return size;
}

// A new file has room for the first commits, so that they need not grow it.
uint64_t NewFileSize(uint32_t page_size) { return GrownSize(kNewFilePages * page_size); }

// True for an empty file, and for one whose creation was cut short: it is no longer than a new
// file, and its meta pages, which are written last, were not. What follows a new file's pages is
// nobody's.
Result<bool> IsUnborn(File& file, uint64_t size, uint32_t page_size) {
  if (size > NewFileSize(page_size)) return false;
  std::string bytes = TRY(ReadHead(file, size));
  const size_t born = std::min<size_t>(bytes.size(), kNewFilePages * page_size);
  const size_t metas = std::min<size_t>(born, size_t{2} * page_size);
  bytes.erase(metas, born - metas);
  return bytes.find_first_not_of('\0') == std::string::npos;
}

Status Create(File& file, const Options& options, uint32_t page_size) {
  std::string pages(2 * size_t{page_size}, '\0');
  StorePageHeader(pages.data(), kNewFreeList, kFreeListPage, 0, 0);
  StorePageHeader(pages.data() + page_size, kNewRoot, kLeafPage, 0, 0);
  Meta meta{.page_size = page_size,
            .root_page = kNewRoot,
            .root_sequence = 0,
            .free_list = kNewFreeList,
            .high_water = kNewFilePages,
            .txid = 0};
  std::string metas = EncodeMetaPage(meta);
  meta.txid = 1;
  metas += EncodeMetaPage(meta);
  // The pages first: a valid meta page must never be there without them.
  TRY(file.Resize(NewFileSize(page_size)));
  TRY(file.Write(2 * uint64_t{page_size}, std::array<std::string_view, 1>{pages}));
  if (!options.no_sync && !FAILPOINT_SKIPS("bolt.create.flush_pages")) TRY(file.Sync());
  TRY(file.Write(0, std::array<std::string_view, 1>{metas}));
  if (!options.no_sync) TRY(file.Sync());
  return Ok();
}

struct MetaPair {
  std::array<std::optional<Meta>, 2> valid;
  std::array<MetaState, 2> state{MetaState::kNoMagic, MetaState::kNoMagic};
};

MetaPair DecodeMetas(std::string_view head, uint32_t page_size) {
  MetaPair pair;
  for (size_t i = 0; i < 2; ++i) {
    const uint64_t offset = i * page_size + kPageHeaderSize;
    if (offset + kMetaSize > head.size()) continue;
    Meta meta;
    pair.state[i] = DecodeMeta(head.data() + offset, &meta);
    if (pair.state[i] == MetaState::kValid && meta.page_size != page_size)
      pair.state[i] = MetaState::kNonsense;
    if (pair.state[i] == MetaState::kValid) pair.valid[i] = meta;
  }
  return pair;
}

// The page size stands in the meta pages, the place of the second one follows from it: try all.
MetaPair FindMetas(std::string_view head) {
  MetaPair best = DecodeMetas(head, 4096);
  for (uint32_t page_size = kMinPageSize; page_size <= kMaxPageSize; page_size *= 2) {
    const MetaPair pair = DecodeMetas(head, page_size);
    if (pair.valid[0] || pair.valid[1]) return pair;
    if (pair.state[0] == MetaState::kOtherVersion || pair.state[1] == MetaState::kOtherVersion)
      best = pair;
  }
  return best;
}

Error NoMeta(const File& file, const MetaPair& pair) {
  if (pair.state[0] == MetaState::kNoMagic && pair.state[1] == MetaState::kNoMagic) {
    return DataLossError(
        file.name(),
        ": pages 0 and 1: no meta page; this is no bolt file, or its start is lost: "
        "restore it from a copy");
  }
  if (pair.state[0] == MetaState::kOtherVersion || pair.state[1] == MetaState::kOtherVersion) {
    return UnimplementedError(file.name(), ": another version of the bolt format than 2");
  }
  return DamageError(file.name(), 0, "neither this meta page nor page 1 is valid");
}

}  // namespace

Result<Opened> ReadOrCreate(File& file, const Options& options) {
  uint64_t size = TRY(file.Size());
  bool created = false;
  if (options.mode == Mode::kReadWrite) {
    const uint32_t page_size = TRY(NewPageSize(options));
    const bool unborn = TRY(IsUnborn(file, size, page_size));
    if (unborn) TRY(Create(file, options, page_size));
    created = unborn;
    size = TRY(file.Size());
  }
  const std::string head = TRY(ReadHead(file, kMaxPageSize + kPageHeaderSize + kMetaSize));
  const MetaPair pair = FindMetas(head);
  if (!pair.valid[0] && !pair.valid[1]) return NoMeta(file, pair);
  const bool second =
      !pair.valid[0] || (pair.valid[1] && pair.valid[1]->txid > pair.valid[0]->txid);
  const Meta meta = second ? *pair.valid[1] : *pair.valid[0];
  if (size / meta.page_size < meta.high_water) {
    return DamageError(file.name(), size / meta.page_size,
                       StrCat("is cut off: the file has ", size, " bytes and should have ",
                              meta.high_water * meta.page_size));
  }
  return Opened{meta, size, created};
}

}  // namespace corten::bolt
