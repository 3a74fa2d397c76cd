// Who owns the top of a snapshot whose labels ask for an id map.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/error.h"
#include "model/labels.h"

namespace corten::snapshot {

struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

// The host ids of the map's root, from kUidMappingLabel and kGidMappingLabel; nullopt if there are
// none of them. kInvalidArgument: only one of them, not a map, or a map without id 0.
Result<std::optional<Owner>> MappedRoot(const model::Labels& labels);

}  // namespace corten::snapshot
