// How values are encoded in meta.db (docs/formats/metadata.md). Pure functions; any thread.
// Every Decode answers kDataLoss on bytes that do not follow the encoding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "model/labels.h"

namespace corten::metadata {

// 15 bytes: version 1, seconds since the year 1 (big endian), nanoseconds, zone -1 for UTC. Version
// 2, which has a byte of zone seconds more, is accepted too; the zone is ignored, the instant
// counts.
std::string EncodeTime(Time time);
Result<Time> DecodeTime(std::string_view bytes);

// Zig-zag, then seven bits a byte.
std::string EncodeVarint(int64_t value);
Result<int64_t> DecodeVarint(std::string_view bytes);

// google.protobuf.Any: field 1 the type URL, field 2 the value, each left out when empty. Unknown
// fields are skipped.
std::string EncodeAny(const model::Any& any);
Result<model::Any> DecodeAny(std::string_view bytes);

}  // namespace corten::metadata
