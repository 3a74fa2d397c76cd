// Numbers and times in the binary forms that Go's libraries write and containerd keeps in its rows
// (docs/formats). Pure functions; any thread.
//
// Every Decode answers kDataLoss on bytes that do not follow the encoding; what stands behind a
// complete number is not looked at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace corten {

// Seven bits a byte, least first; at most ten bytes.
void AppendUvarint(std::string& out, uint64_t value);
// Takes a number from the front of `bytes`; false, and `bytes` anywhere, if it ends early or has
// more than 64 bits.
bool TakeUvarint(std::string_view* bytes, uint64_t* value);
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

}  // namespace corten
