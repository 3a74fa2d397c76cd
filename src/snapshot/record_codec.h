// How values are encoded in a snapshotter's metadata.db. Pure functions; any thread.
// Every Decode answers kDataLoss on bytes that do not follow the encoding.
// Source: metadata.md 11.2, 11.5 (facts of files written by containerd 2.3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace corten::snapshot {

// Seven bits a byte, least first.
std::string EncodeUvarint(uint64_t value);
Result<uint64_t> DecodeUvarint(std::string_view bytes);
// Zig-zag, then as above.
std::string EncodeVarint(int64_t value);
Result<int64_t> DecodeVarint(std::string_view bytes);

// 15 bytes: version 1, seconds since the year 1 and nanoseconds (big endian), zone -1 for UTC.
// Version 2, with a byte of zone seconds more, is accepted; the zone is ignored, the instant
// counts.
std::string EncodeTime(Time time);
Result<Time> DecodeTime(std::string_view bytes);

// Key of bucket `parents`: uvarint(parent) 00 uvarint(child). The zero byte ends the parent's
// number, as no uvarint but that of 0 has one, and ids begin at 1: so the prefix finds all children
// of a parent and nobody else's.
std::string ChildKey(uint64_t parent, uint64_t child);
std::string ChildPrefix(uint64_t parent);

}  // namespace corten::snapshot
