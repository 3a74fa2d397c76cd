// Keys of a snapshotter's metadata.db; its numbers and times are those of base/binary_values.h.
// Pure functions; any thread.
// Source: metadata.md 11.2, 11.5 (facts of files written by containerd 2.3).
#pragma once

#include <cstdint>
#include <string>

namespace corten::snapshot {

// Key of bucket `parents`: uvarint(parent) 00 uvarint(child). The zero byte ends the parent's
// number, as no uvarint but that of 0 has one, and ids begin at 1: so the prefix finds all children
// of a parent and nobody else's.
std::string ChildKey(uint64_t parent, uint64_t child);
std::string ChildPrefix(uint64_t parent);

}  // namespace corten::snapshot
