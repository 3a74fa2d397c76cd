#include "snapshot/record_codec.h"

#include "base/binary_values.h"

namespace corten::snapshot {

std::string ChildPrefix(uint64_t parent) {
  std::string key = EncodeUvarint(parent);
  key.push_back('\0');
  return key;
}

std::string ChildKey(uint64_t parent, uint64_t child) {
  return ChildPrefix(parent) + EncodeUvarint(child);
}

}  // namespace corten::snapshot
