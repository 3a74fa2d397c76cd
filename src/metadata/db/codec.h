// How values are encoded in meta.db (docs/formats/metadata.md); numbers and times are those of
// base/binary_values.h, which this brings along. Pure functions; any thread.
// Every Decode answers kDataLoss on bytes that do not follow the encoding.
#pragma once

#include <string>
#include <string_view>

#include "base/binary_values.h"
#include "base/error.h"
#include "model/labels.h"

namespace corten::metadata {

// google.protobuf.Any: field 1 the type URL, field 2 the value, each left out when empty. Unknown
// fields are skipped.
std::string EncodeAny(const model::Any& any);
Result<model::Any> DecodeAny(std::string_view bytes);

}  // namespace corten::metadata
