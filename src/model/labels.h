// Labels, and the Any that travels unopened.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"

namespace corten::model {

// Sorted by key, as they are listed and stored.
using Labels = std::map<std::string, std::string, std::less<>>;

// Each key plus value at most 4096 bytes (metadata.md 2); kInvalidArgument naming the key
// otherwise.
Status ValidateLabels(const Labels& labels);

// Changes `current` as an Update call with field `paths` asks: "labels.KEY" takes that key from
// `given` (absent there: removed), "labels" or no path at all replaces everything. A label with an
// empty value is not kept. kInvalidArgument: another path (`cannot update "x" field`); the result
// breaks ValidateLabels. `current` is then as before.
Status UpdateLabels(Labels& current, const Labels& given, const std::vector<std::string>& paths);

// google.protobuf.Any, opaque: stored and returned byte for byte.
struct Any {
  std::string type_url;
  std::string value;
  bool operator==(const Any&) const = default;
};

}  // namespace corten::model
