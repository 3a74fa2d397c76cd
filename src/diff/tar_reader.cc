#include "diff/tar_reader.h"

#include <algorithm>
#include <cstring>

#include "base/strcat.h"
#include "diff/tar_fields.h"

namespace corten::diff {

namespace {

using tar::Raw;
using tar::Text;

Error BadHeader() { return InvalidArgumentError("archive: invalid tar header"); }
Error Truncated() { return InvalidArgumentError("archive: unexpected EOF"); }

bool IsHeaderOnly(char type) { return type >= kHardLink && type <= kFifo; }
uint32_t PaddingOf(uint64_t size) {
  return static_cast<uint32_t>((0 - size) % TarReader::kBlockSize);
}

// Reads a number field into `value`; false if it is not a number.
bool Number(const char* block, tar::Field field, int64_t* value) {
  const std::optional<int64_t> parsed = tar::ParseNumber(Raw(block, field));
  if (parsed.has_value()) *value = *parsed;
  return parsed.has_value();
}

const std::string* FindRecord(const tar::PaxRecords& records, std::string_view key) {
  const auto found = records.find(key);
  return found == records.end() || found->second.empty() ? nullptr : &found->second;
}

// Lets extended records override the fields of the header. Empty values keep them.
Status ApplyPax(TarEntry& entry) {
  for (const auto& [key, value] : entry.pax) {
    if (value.empty()) continue;
    std::optional<int64_t> number;
    std::optional<Time> time;
    bool good = true;
    if (key == "path") {
      entry.name = value;
    } else if (key == "linkpath") {
      entry.link_name = value;
    } else if (key == "uname") {
      entry.user_name = value;
    } else if (key == "gname") {
      entry.group_name = value;
    } else if (key == "uid" || key == "gid" || key == "size") {
      number = tar::ParseDecimal(value);
      good = number.has_value();
      if (good) (key == "uid" ? entry.uid : key == "gid" ? entry.gid : entry.size) = *number;
    } else if (key == "mtime" || key == "atime" || key == "ctime") {
      time = tar::ParsePaxTime(value);
      good = time.has_value();
      if (good && key == "mtime") entry.mtime = *time;
      if (good && key == "atime") entry.atime = time;
      if (good && key == "ctime") entry.ctime = time;
    }
    if (!good) return BadHeader();
  }
  return Ok();
}

}  // namespace

// What extension headers say about the member that follows them.
struct TarReader::Extensions {
  std::string long_name;
  std::string long_link;
};

void TarEntry::Clear() {
  type = kRegular;
  name.clear();
  link_name.clear();
  user_name.clear();
  group_name.clear();
  mode = uid = gid = size = 0;
  mtime = {};
  atime.reset();
  ctime.reset();
  dev_major = dev_minor = 0;
  sparse = false;
  pax.clear();
}

Result<std::string_view> TarReader::Take(uint64_t want) {
  if (chunk_.empty()) chunk_ = TRY(source_.Next());
  const std::string_view taken = chunk_.substr(0, want);
  chunk_.remove_prefix(taken.size());
  return taken;
}

Result<const char*> TarReader::ReadBlock() {
  const std::string_view first = TRY(Take(kBlockSize));
  if (first.size() == kBlockSize) return first.data();
  if (first.empty()) return static_cast<const char*>(nullptr);
  size_t have = first.size();
  std::memcpy(bounce_, first.data(), have);
  while (have < kBlockSize) {
    const std::string_view more = TRY(Take(kBlockSize - have));
    if (more.empty()) return Truncated();
    std::memcpy(bounce_ + have, more.data(), more.size());
    have += more.size();
  }
  return static_cast<const char*>(bounce_);
}

// Skips what is left of the present member. False: the archive ends within its padding, which is
// tolerated.
Result<bool> TarReader::SkipMember() {
  while (left_ > 0) {
    const std::string_view taken = TRY(Take(left_));
    if (taken.empty()) return Truncated();
    left_ -= taken.size();
  }
  while (padding_ > 0) {
    const std::string_view taken = TRY(Take(padding_));
    if (taken.empty()) return false;
    padding_ -= static_cast<uint32_t>(taken.size());
  }
  return true;
}

// A block with a good checksum, or nullptr at the end of the archive.
Result<const char*> TarReader::ReadHeaderBlock() {
  const char* block = TRY(ReadBlock());
  if (block == nullptr) return block;
  if (tar::IsZeroBlock(block)) {
    const char* second = TRY(ReadBlock());
    if (second != nullptr && !tar::IsZeroBlock(second)) return BadHeader();
    return static_cast<const char*>(nullptr);
  }
  const std::optional<int64_t> stated = tar::ParseOctal(Raw(block, tar::kChecksum));
  const tar::Checksums sums = tar::ComputeChecksums(block);
  if (!stated.has_value() || (*stated != sums.plain && *stated != sums.with_sign))
    return BadHeader();
  return block;
}

Status TarReader::ParseHeader(const char* block, Format format) {
  entry_.Clear();
  entry_.type = block[tar::kType];
  entry_.name = Text(Raw(block, tar::kName));
  entry_.link_name = Text(Raw(block, tar::kLinkName));
  bool good = Number(block, tar::kMode, &entry_.mode) && Number(block, tar::kUid, &entry_.uid) &&
              Number(block, tar::kGid, &entry_.gid) && Number(block, tar::kSize, &entry_.size) &&
              Number(block, tar::kMtime, &entry_.mtime.seconds);
  if (good && format != Format::kV7) {
    entry_.user_name = Text(Raw(block, tar::kUserName));
    entry_.group_name = Text(Raw(block, tar::kGroupName));
    good = Number(block, tar::kDevMajor, &entry_.dev_major) &&
           Number(block, tar::kDevMinor, &entry_.dev_minor);
  }
  if (!good) return BadHeader();
  std::string_view prefix;
  tar::Field atime = tar::kGnuAtime;
  tar::Field ctime = tar::kGnuCtime;
  if (format == Format::kUstar) prefix = Text(Raw(block, tar::kPrefix));
  if (format == Format::kStar) {
    prefix = Text(Raw(block, tar::kStarPrefix));
    atime = tar::kStarAtime;
    ctime = tar::kStarCtime;
  }
  if (format == Format::kGnu || format == Format::kStar) {
    Time a;
    Time c;
    bool times = true;
    if (block[atime.offset] != 0) times = Number(block, atime, &a.seconds);
    if (block[ctime.offset] != 0) times = Number(block, ctime, &c.seconds) && times;
    if (times && block[atime.offset] != 0) entry_.atime = a;
    if (times && block[ctime.offset] != 0) entry_.ctime = c;
    // Some writers put a ustar prefix where GNU tar has its times.
    if (!times && format == Format::kStar) return BadHeader();
    if (!times) prefix = Text(Raw(block, tar::kPrefix));
  }
  if (!prefix.empty()) entry_.name = StrCat(prefix, '/', entry_.name);
  return Ok();
}

// The data of an extension header, which is the present member.
Status TarReader::ReadExtension(std::string* out) {
  if (entry_.size < 0) return BadHeader();
  if (entry_.size > kMaxExtension)
    return InvalidArgumentError("archive: extension header of ", entry_.size,
                                " bytes is too large");
  left_ = static_cast<uint64_t>(entry_.size);
  padding_ = PaddingOf(left_);
  out->clear();
  out->reserve(left_);
  while (left_ > 0) {
    const std::string_view taken = TRY(Take(left_));
    if (taken.empty()) return Truncated();
    out->append(taken);
    left_ -= taken.size();
  }
  return Ok();
}

Result<const TarEntry*> TarReader::Next() {
  const TarEntry* const none = nullptr;
  Extensions extensions;
  tar::PaxRecords records;
  std::string text;
  while (!ended_) {
    const bool more = TRY(SkipMember());
    if (!more) break;
    const char* block = TRY(ReadHeaderBlock());
    if (block == nullptr) break;
    const std::string_view magic = Raw(block, tar::kMagic);
    const bool ustar = magic == std::string_view("ustar\0", 6);
    const bool gnu = magic == "ustar " && Raw(block, tar::kVersion) == std::string_view(" \0", 2);
    const bool star = ustar && Raw(block, tar::kStarTrailer) == std::string_view("tar\0", 4);
    const Format format = star    ? Format::kStar
                          : ustar ? Format::kUstar
                          : gnu   ? Format::kGnu
                                  : Format::kV7;
    TRY(ParseHeader(block, format));
    if (entry_.type == 'L' || entry_.type == 'K') {
      const bool name = entry_.type == 'L';
      TRY(ReadExtension(&text));
      (name ? extensions.long_name : extensions.long_link) = Text(text);
      continue;
    }
    if (entry_.type == 'x' || entry_.type == kPaxGlobal) {
      const bool global = entry_.type == kPaxGlobal;
      TRY(ReadExtension(&text));
      records = TRY(tar::ParsePax(text));
      if (!global) continue;
      entry_.pax = std::move(records);
      entry_.size = 0;
      extents_.clear();
      return static_cast<const TarEntry*>(&entry_);
    }
    entry_.pax = std::move(records);
    TRY(ApplyPax(entry_));
    if (!extensions.long_name.empty()) entry_.name = std::move(extensions.long_name);
    if (!extensions.long_link.empty()) entry_.link_name = std::move(extensions.long_link);
    if (entry_.type == '\0') entry_.type = entry_.name.ends_with('/') ? kDirectory : kRegular;
    TRY(SetUpData(block, format));
    return static_cast<const TarEntry*>(&entry_);
  }
  ended_ = true;
  left_ = 0;
  padding_ = 0;
  return none;
}

// Prepares ReadPiece for the member: a plain run of bytes, or the runs of a sparse file.
Status TarReader::SetUpData(const char* block, Format format) {
  const bool header_only = IsHeaderOnly(entry_.type);
  if (header_only) entry_.size = 0;
  if (entry_.size < 0) return BadHeader();
  // The block may lie in memory that reading more takes away: keep what a sparse header needs.
  char copy[kBlockSize];
  const bool old_sparse = entry_.type == kGnuSparse;
  if (old_sparse) std::memcpy(copy, block, kBlockSize);
  left_ = static_cast<uint64_t>(entry_.size);
  padding_ = PaddingOf(left_);
  offset_ = 0;
  extents_.clear();
  extent_ = 0;
  bool sparse = old_sparse;
  std::vector<Extent> map;
  if (old_sparse) {
    map = TRY(ReadOldSparseMap(copy, format));
  } else {
    TRY(SetUpPaxSparse(&sparse, &map));
  }
  if (!sparse) return Ok();
  if (header_only) return BadHeader();
  entry_.sparse = true;
  return StartExtents(std::move(map));
}

Result<std::vector<TarReader::Extent>> TarReader::ReadOldSparseMap(const char* block,
                                                                   Format format) {
  // star has the same type flag with another layout.
  if (format != Format::kGnu) return BadHeader();
  if (!Number(block, tar::kGnuRealSize, &entry_.size)) return BadHeader();
  std::vector<Extent> map;
  const char* at = block + tar::kGnuSparse;
  size_t count = tar::kGnuSparseCount;
  bool more = block[tar::kGnuExtended] != 0;
  while (true) {
    for (size_t i = 0; i < count; ++i, at += 24) {
      if (at[0] == 0) break;
      const std::optional<int64_t> offset = tar::ParseNumber({at, 12});
      const std::optional<int64_t> length = tar::ParseNumber({at + 12, 12});
      if (!offset.has_value() || !length.has_value() || map.size() >= kMaxSparseEntries)
        return BadHeader();
      map.push_back({*offset, *length});
    }
    if (!more) return map;
    at = TRY(ReadBlock());
    if (at == nullptr) return Truncated();
    count = tar::kGnuMoreCount;
    more = at[tar::kGnuMoreExtended] != 0;
  }
}

// The pax forms: 0.0 and 0.1 carry the map in records, 1.0 in front of the data.
Status TarReader::SetUpPaxSparse(bool* found, std::vector<Extent>* map) {
  const auto record = [this](std::string_view key) { return FindRecord(entry_.pax, key); };
  if (entry_.pax.empty()) return Ok();
  const std::string* major = record("GNU.sparse.major");
  const std::string* minor = record("GNU.sparse.minor");
  const std::string* list = record("GNU.sparse.map");
  bool in_data = false;
  if (major != nullptr && minor != nullptr && *major == "0" && (*minor == "0" || *minor == "1")) {
    in_data = false;
  } else if (major != nullptr && minor != nullptr && *major == "1" && *minor == "0") {
    in_data = true;
  } else if (major != nullptr || minor != nullptr || list == nullptr) {
    return Ok();  // an unknown form, or none
  }
  *found = true;
  if (const std::string* name = record("GNU.sparse.name"); name != nullptr) entry_.name = *name;
  const std::string* size = record("GNU.sparse.size");
  if (size == nullptr) size = record("GNU.sparse.realsize");
  if (size != nullptr) {
    const std::optional<int64_t> real = tar::ParseDecimal(*size);
    if (!real.has_value()) return BadHeader();
    entry_.size = *real;
  }
  if (in_data) {
    *map = TRY(ReadSparseMap10());
    return Ok();
  }
  const std::string* blocks = record("GNU.sparse.numblocks");
  const std::optional<int64_t> count =
      blocks == nullptr ? std::nullopt : tar::ParseDecimal(*blocks);
  if (!count.has_value() || *count < 0 || *count > static_cast<int64_t>(kMaxSparseEntries))
    return BadHeader();
  std::string_view rest = list == nullptr ? std::string_view() : std::string_view(*list);
  for (int64_t i = 0; i < *count; ++i) {
    int64_t pair[2];
    for (int64_t& number : pair) {
      const size_t comma = rest.find(',');
      const std::optional<int64_t> parsed = tar::ParseDecimal(rest.substr(0, comma));
      if (!parsed.has_value()) return BadHeader();
      number = *parsed;
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
    map->push_back({pair[0], pair[1]});
  }
  if (!rest.empty()) return BadHeader();
  return Ok();
}

// Lines of decimals in whole blocks in front of the data: their count, then offset and length each.
Result<std::vector<TarReader::Extent>> TarReader::ReadSparseMap10() {
  std::string pending;
  const auto number = [this, &pending]() -> Result<int64_t> {
    size_t end = 0;
    while ((end = pending.find('\n')) == std::string::npos) {
      if (pending.size() > kBlockSize || left_ < kBlockSize) return BadHeader();
      const char* block = TRY(ReadBlock());
      if (block == nullptr) return Truncated();
      pending.append(block, kBlockSize);
      left_ -= kBlockSize;
    }
    const std::optional<int64_t> parsed =
        tar::ParseDecimal(std::string_view(pending).substr(0, end));
    pending.erase(0, end + 1);
    if (!parsed.has_value()) return BadHeader();
    return *parsed;
  };
  const int64_t count = TRY(number());
  if (count < 0 || count > static_cast<int64_t>(kMaxSparseEntries)) return BadHeader();
  std::vector<Extent> map;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t offset = TRY(number());
    const int64_t length = TRY(number());
    map.push_back({offset, length});
  }
  return map;
}

Status TarReader::StartExtents(std::vector<Extent> map) {
  int64_t end = 0;
  uint64_t total = 0;
  if (entry_.size < 0) return BadHeader();
  for (const Extent& extent : map) {
    if (extent.offset < end || extent.length < 0 || extent.offset > INT64_MAX - extent.length)
      return BadHeader();
    end = extent.offset + extent.length;
    if (end > entry_.size) return BadHeader();
    total += static_cast<uint64_t>(extent.length);
  }
  if (total > left_)
    return InvalidArgumentError("archive: sparse file references non-existent data");
  if (total < left_) return InvalidArgumentError("archive: sparse file contains unreferenced data");
  extents_ = std::move(map);
  return Ok();
}

Result<TarReader::Piece> TarReader::ReadPiece() {
  if (left_ == 0) return Piece{offset_, {}};
  uint64_t want = left_;
  if (entry_.sparse) {
    // left_ > 0 and the extents add up to it, so one with data is ahead.
    while (offset_ >= extents_[extent_].offset + extents_[extent_].length) ++extent_;
    const Extent& extent = extents_[extent_];
    offset_ = std::max(offset_, extent.offset);
    want = static_cast<uint64_t>(extent.offset + extent.length - offset_);
  }
  const std::string_view taken = TRY(Take(want));
  if (taken.empty()) return Truncated();
  const Piece piece = {offset_, taken};
  offset_ += static_cast<int64_t>(taken.size());
  left_ -= taken.size();
  return piece;
}

Status TarReader::Drain() {
  while (true) {
    const std::string_view taken = TRY(Take(UINT64_MAX));
    if (taken.empty()) return Ok();
  }
}

}  // namespace corten::diff
