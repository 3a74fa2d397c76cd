// Bytes of the file: page headers, elements, meta pages. Layout: docs/formats/bolt.md. Internal to
// the room. Nothing here trusts a byte: what is read is checked against the length that is really
// there.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::bolt {

static_assert(std::endian::native == std::endian::little,
              "the format is little endian; loads are plain copies");

inline constexpr uint64_t kPageHeaderSize = 16;
inline constexpr uint64_t kElementSize = 16;       // of branch and leaf elements alike
inline constexpr uint64_t kBucketHeaderSize = 16;  // root page, sequence
inline constexpr uint64_t kMetaSize = 64;
inline constexpr uint16_t kBranchPage = 0x01;
inline constexpr uint16_t kLeafPage = 0x02;
inline constexpr uint16_t kMetaPage = 0x04;
inline constexpr uint16_t kFreeListPage = 0x10;
inline constexpr uint32_t kBucketFlag = 0x01;  // of a leaf element
inline constexpr uint64_t kNoFreeList = UINT64_MAX;
inline constexpr uint32_t kMinPageSize = 1024;
inline constexpr uint32_t kMaxPageSize = 65536;
inline constexpr uint64_t kFirstPage = 2;  // behind the two meta pages
inline constexpr uint32_t kMaxTreeDepth =
    64;  // levels of one tree; two children a page would need 2^64 pages

template <typename T>
T LoadInt(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
template <typename T>
void StoreInt(char* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

// A run of adjacent pages.
struct PageRun {
  uint64_t first = 0;
  uint64_t count = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

// A page, or a page image inside a bucket's value (id 0), whose header and element table lie inside
// `length`.
struct PageView {
  const char* data = nullptr;
  uint64_t length = 0;
  uint64_t id = 0;

  uint64_t stored_id() const { return LoadInt<uint64_t>(data); }
  uint16_t flags() const { return LoadInt<uint16_t>(data + 8); }
  uint16_t count() const { return LoadInt<uint16_t>(data + 10); }
  uint32_t overflow() const { return LoadInt<uint32_t>(data + 12); }
  bool leaf() const { return flags() == kLeafPage; }

  // REQUIRES: i < count(). False if the element points outside the page.
  bool LeafAt(size_t i, uint32_t* element_flags, std::string_view* key,
              std::string_view* value) const;
  bool BranchAt(size_t i, std::string_view* key, uint64_t* child) const;
  bool KeyAt(size_t i, std::string_view* key) const;
};

struct Meta {
  uint32_t page_size = 0;
  uint64_t root_page = 0;
  uint64_t root_sequence = 0;
  uint64_t free_list = kNoFreeList;  // page of the stored list of free pages
  uint64_t high_water = 0;           // first page number never used
  uint64_t txid = 0;
};

enum class MetaState : uint8_t { kValid, kNoMagic, kOtherVersion, kBadChecksum, kNonsense };
// Reads the meta structure at `at` (kMetaSize bytes are there).
MetaState DecodeMeta(const char* at, Meta* meta);
// A whole meta page, as page `meta.txid % 2`.
std::string EncodeMetaPage(const Meta& meta);

// Fills the 16 bytes of a page header.
void StorePageHeader(char* at, uint64_t id, uint16_t flags, uint16_t count, uint32_t overflow);

// The head of a bucket's value, and the page image behind it if there is one.
struct BucketHeader {
  uint64_t root_page = 0;
  uint64_t sequence = 0;
  std::string_view inline_page;
};
// nullopt if `value` is too short for what it says it is.
std::optional<BucketHeader> DecodeBucket(std::string_view value);

// kDataLoss `FILE: page N: WHAT; the file is damaged: ...` with what to try.
Error DamageError(std::string_view file, uint64_t page, std::string_view what);

}  // namespace corten::bolt
