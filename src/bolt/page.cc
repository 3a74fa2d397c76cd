#include "bolt/page.h"

#include "base/strcat.h"

namespace corten::bolt {

namespace {

constexpr uint32_t kMagic = 0xED0CDAED;
constexpr uint32_t kVersion = 2;
constexpr uint64_t kChecksumOffset = 56;  // in the meta structure; covers the bytes before it

uint64_t Fnv1a64(const char* data, size_t size) {
  uint64_t hash = 0xCBF29CE484222325;
  for (size_t i = 0; i < size; ++i) {
    hash ^= static_cast<unsigned char>(data[i]);
    hash *= 0x100000001B3;
  }
  return hash;
}

}  // namespace

bool PageView::KeyAt(size_t i, std::string_view* key) const {
  std::string_view value;
  uint32_t element_flags = 0;
  uint64_t child = 0;
  return leaf() ? LeafAt(i, &element_flags, key, &value) : BranchAt(i, key, &child);
}

bool PageView::LeafAt(size_t i, uint32_t* element_flags, std::string_view* key,
                      std::string_view* value) const {
  const uint64_t offset = kPageHeaderSize + kElementSize * i;
  const char* element = data + offset;
  *element_flags = LoadInt<uint32_t>(element);
  const uint64_t pos = LoadInt<uint32_t>(element + 4);
  const uint64_t key_size = LoadInt<uint32_t>(element + 8);
  const uint64_t value_size = LoadInt<uint32_t>(element + 12);
  if (offset + pos + key_size + value_size > length) return false;
  *key = std::string_view(element + pos, key_size);
  *value = std::string_view(element + pos + key_size, value_size);
  return true;
}

bool PageView::BranchAt(size_t i, std::string_view* key, uint64_t* child) const {
  const uint64_t offset = kPageHeaderSize + kElementSize * i;
  const char* element = data + offset;
  const uint64_t pos = LoadInt<uint32_t>(element);
  const uint64_t key_size = LoadInt<uint32_t>(element + 4);
  if (offset + pos + key_size > length) return false;
  *child = LoadInt<uint64_t>(element + 8);
  *key = std::string_view(element + pos, key_size);
  return true;
}

MetaState DecodeMeta(const char* at, Meta* meta) {
  if (LoadInt<uint32_t>(at) != kMagic) return MetaState::kNoMagic;
  if (LoadInt<uint32_t>(at + 4) != kVersion) return MetaState::kOtherVersion;
  if (LoadInt<uint64_t>(at + kChecksumOffset) != Fnv1a64(at, kChecksumOffset))
    return MetaState::kBadChecksum;
  meta->page_size = LoadInt<uint32_t>(at + 8);
  meta->root_page = LoadInt<uint64_t>(at + 16);
  meta->root_sequence = LoadInt<uint64_t>(at + 24);
  meta->free_list = LoadInt<uint64_t>(at + 32);
  meta->high_water = LoadInt<uint64_t>(at + 40);
  meta->txid = LoadInt<uint64_t>(at + 48);
  const bool sane = std::has_single_bit(meta->page_size) && meta->page_size >= kMinPageSize &&
                    meta->page_size <= kMaxPageSize && meta->root_page >= kFirstPage &&
                    meta->root_page < meta->high_water && meta->high_water < (uint64_t{1} << 48) &&
                    (meta->free_list == kNoFreeList ||
                     (meta->free_list >= kFirstPage && meta->free_list < meta->high_water)) &&
                    meta->txid < UINT64_MAX / 2;
  return sane ? MetaState::kValid : MetaState::kNonsense;
}

std::string EncodeMetaPage(const Meta& meta) {
  std::string page(meta.page_size, '\0');
  StorePageHeader(page.data(), meta.txid % 2, kMetaPage, 0, 0);
  char* at = page.data() + kPageHeaderSize;
  StoreInt<uint32_t>(at, kMagic);
  StoreInt<uint32_t>(at + 4, kVersion);
  StoreInt<uint32_t>(at + 8, meta.page_size);
  StoreInt<uint32_t>(at + 12, 0);
  StoreInt<uint64_t>(at + 16, meta.root_page);
  StoreInt<uint64_t>(at + 24, meta.root_sequence);
  StoreInt<uint64_t>(at + 32, meta.free_list);
  StoreInt<uint64_t>(at + 40, meta.high_water);
  StoreInt<uint64_t>(at + 48, meta.txid);
  StoreInt<uint64_t>(at + kChecksumOffset, Fnv1a64(at, kChecksumOffset));
  return page;
}

void StorePageHeader(char* at, uint64_t id, uint16_t flags, uint16_t count, uint32_t overflow) {
  StoreInt<uint64_t>(at, id);
  StoreInt<uint16_t>(at + 8, flags);
  StoreInt<uint16_t>(at + 10, count);
  StoreInt<uint32_t>(at + 12, overflow);
}

std::optional<BucketHeader> DecodeBucket(std::string_view value) {
  if (value.size() < kBucketHeaderSize) return std::nullopt;
  BucketHeader header;
  header.root_page = LoadInt<uint64_t>(value.data());
  header.sequence = LoadInt<uint64_t>(value.data() + 8);
  if (header.root_page != 0) return header;
  header.inline_page = value.substr(kBucketHeaderSize);
  if (header.inline_page.size() < kPageHeaderSize) return std::nullopt;
  return header;
}

Error DamageError(std::string_view file, uint64_t page, std::string_view what) {
  return DataLossError(
      file, ": page ", page, ": ", what,
      "; the file is damaged: stop its users, keep a copy, then try `bbolt check` and "
      "`bbolt surgery revert-meta-page` (back by one commit), or restore it");
}

}  // namespace corten::bolt
