#include "diff/tar_writer.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/strcat.h"
#include "diff/tar_fields.h"

namespace corten::diff {

namespace {

using tar::Field;
using tar::kBlock;

constexpr char kZeros[2 * kBlock] = {};

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != 0; });
}

std::string ToAscii(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out),
               [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != 0; });
  return out;
}

// Digits beside the terminating NUL.
bool FitsOctal(Field field, int64_t value) {
  return value >= 0 && (value >> ((field.size - 1) * 3)) == 0;
}

void PutText(char* block, Field field, std::string_view text) {
  char* at = block + field.offset;
  text.copy(at, field.size);
  // A cut name must not end in '/': old readers would take a file for a directory.
  if (text.size() > field.size && at[field.size - 1] == '/') {
    size_t end = field.size;
    while (end > 0 && at[end - 1] == '/') --end;
    if (end < field.size) at[end] = 0;
  }
}

void PutOctal(char* block, Field field, int64_t value) {
  if (!FitsOctal(field, value)) value = 0;  // the extended header has it
  char* at = block + field.offset;
  at[field.size - 1] = 0;
  for (size_t i = field.size - 1; i > 0; --i, value >>= 3)
    at[i - 1] = static_cast<char>('0' + (value & 7));
}

void PutMagicAndChecksum(char* block) {
  PutText(block, tar::kMagic, std::string_view("ustar\0", 6));
  PutText(block, tar::kVersion, "00");
  const int64_t sum = tar::ComputeChecksums(block).plain;
  PutOctal(block, Field{tar::kChecksum.offset, 7}, sum);
  block[tar::kChecksum.offset + 7] = ' ';
}

// The records an entry needs beside its ustar header; empty: none.
Result<tar::PaxRecords> RecordsOf(const TarEntry& entry) {
  tar::PaxRecords records = entry.pax;
  const auto text = [&records](std::string_view key, Field field, const std::string& value) {
    if (value.size() > field.size || !IsAscii(value))
      records.insert_or_assign(std::string(key), value);
  };
  const auto number = [&records](std::string_view key, Field field, int64_t value) {
    if (!FitsOctal(field, value)) records.insert_or_assign(std::string(key), StrCat(value));
  };
  text("path", tar::kName, entry.name);
  text("linkpath", tar::kLinkName, entry.link_name);
  text("uname", tar::kUserName, entry.user_name);
  text("gname", tar::kGroupName, entry.group_name);
  number("uid", tar::kUid, entry.uid);
  number("gid", tar::kGid, entry.gid);
  number("size", tar::kSize, entry.size);
  if (entry.mtime.nanos != 0 || !FitsOctal(tar::kMtime, entry.mtime.seconds)) {
    records.insert_or_assign("mtime", tar::FormatPaxTime(entry.mtime));
  }
  if (entry.atime.has_value()) records.insert_or_assign("atime", tar::FormatPaxTime(*entry.atime));
  if (entry.ctime.has_value()) records.insert_or_assign("ctime", tar::FormatPaxTime(*entry.ctime));
  for (const auto& [key, value] : records) {
    if (!tar::ValidPaxRecord(key, value))
      return InvalidArgumentError("archive: ", Quoted(entry.name), ": bad record ", Quoted(key));
  }
  return records;
}

// dir/PaxHeaders.0/base, cut to what fits.
std::string PaxHeaderName(std::string_view name) {
  const size_t slash = name.rfind('/');
  std::string_view dir =
      slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
  const std::string_view base = slash == std::string_view::npos ? name : name.substr(slash + 1);
  while (dir.size() > 1 && dir.ends_with('/')) dir.remove_suffix(1);
  std::string full = dir.empty() && slash != 0 ? "PaxHeaders.0" : StrCat(dir, "/PaxHeaders.0");
  if (!base.empty()) full += StrCat('/', base);
  full = ToAscii(full).substr(0, tar::kName.size);
  while (full.ends_with('/')) full.pop_back();
  return full;
}

// The longest directory part of a long name that the ustar prefix can hold while the rest fits the
// name field; {"", name} if there is none.
std::pair<std::string_view, std::string_view> SplitForPrefix(std::string_view name) {
  const std::pair<std::string_view, std::string_view> whole = {std::string_view(), name};
  if (name.size() <= tar::kName.size || !IsAscii(name)) return whole;
  std::string_view searched = name.substr(0, tar::kPrefix.size + 1);
  if (searched.size() == name.size() && name.ends_with('/')) searched.remove_suffix(1);
  const size_t slash = searched.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return whole;
  const std::string_view rest = name.substr(slash + 1);
  if (rest.empty() || rest.size() > tar::kName.size) return whole;
  return {name.substr(0, slash), rest};
}

}  // namespace

Status TarWriter::EndMember() {
  if (left_ > 0) return FailedPreconditionError("archive: member lacks ", left_, " bytes of data");
  if (padding_ > 0) TRY(sink_.Write({kZeros, padding_}));
  padding_ = 0;
  return Ok();
}

Status TarWriter::WritePaxHeader(const TarEntry& entry, std::string_view records) {
  char block[kBlock] = {};
  block[tar::kType] = 'x';
  PutText(block, tar::kName, PaxHeaderName(entry.name));
  PutOctal(block, tar::kMode, 0);
  PutOctal(block, tar::kUid, 0);
  PutOctal(block, tar::kGid, 0);
  PutOctal(block, tar::kSize, static_cast<int64_t>(records.size()));
  PutOctal(block, tar::kMtime, 0);
  PutMagicAndChecksum(block);
  TRY(sink_.Write({block, kBlock}));
  TRY(sink_.Write(records));
  const size_t padding = (0 - records.size()) % kBlock;
  if (padding > 0) TRY(sink_.Write({kZeros, padding}));
  return Ok();
}

Status TarWriter::WriteHeader(const TarEntry& entry) {
  TRY(EndMember());
  if (entry.size < 0)
    return InvalidArgumentError("archive: ", Quoted(entry.name), ": negative size");
  tar::PaxRecords records = TRY(RecordsOf(entry));
  std::string_view prefix;
  std::string_view name = entry.name;
  if (records.size() == 1 && records.begin()->first == "path") {
    std::tie(prefix, name) = SplitForPrefix(entry.name);
    if (!prefix.empty()) records.clear();
  }
  if (!records.empty()) {
    std::string text;
    for (const auto& [key, value] : records) text += tar::FormatPaxRecord(key, value);
    TRY(WritePaxHeader(entry, text));
  }
  char block[kBlock] = {};
  PutText(block, tar::kName, ToAscii(name));
  PutText(block, tar::kPrefix, prefix);
  PutOctal(block, tar::kMode, entry.mode);
  PutOctal(block, tar::kUid, entry.uid);
  PutOctal(block, tar::kGid, entry.gid);
  PutOctal(block, tar::kSize, entry.size);
  PutOctal(block, tar::kMtime, entry.mtime.seconds);
  block[tar::kType] = entry.type;
  PutText(block, tar::kLinkName, ToAscii(entry.link_name));
  PutText(block, tar::kUserName, ToAscii(entry.user_name));
  PutText(block, tar::kGroupName, ToAscii(entry.group_name));
  PutOctal(block, tar::kDevMajor, entry.dev_major);
  PutOctal(block, tar::kDevMinor, entry.dev_minor);
  PutMagicAndChecksum(block);
  TRY(sink_.Write({block, kBlock}));
  left_ = entry.has_data() ? static_cast<uint64_t>(entry.size) : 0;
  padding_ = static_cast<uint32_t>((0 - left_) % kBlock);
  return Ok();
}

Status TarWriter::WriteData(std::string_view data) {
  if (data.size() > left_) return FailedPreconditionError("archive: write too long");
  left_ -= data.size();
  return sink_.Write(data);
}

Status TarWriter::Finish() {
  TRY(EndMember());
  return sink_.Write({kZeros, sizeof(kZeros)});
}

}  // namespace corten::diff
