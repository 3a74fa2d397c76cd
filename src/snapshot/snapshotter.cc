#include "snapshot/snapshotter.h"

namespace corten::snapshot {

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kView:
      return "View";
    case Kind::kActive:
      return "Active";
    case Kind::kCommitted:
      return "Committed";
    case Kind::kUnknown:
      break;
  }
  return "Unknown";
}

std::vector<Status> Snapshotter::RemoveMany(const std::vector<std::string>& keys) {
  std::vector<Status> removed;
  removed.reserve(keys.size());
  for (const std::string& key : keys) removed.push_back(Remove(key));
  return removed;
}

}  // namespace corten::snapshot
