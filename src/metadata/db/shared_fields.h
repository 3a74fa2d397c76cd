// What rows of containers and of sandboxes have in common: labels, runtime, extensions, spec and
// times. `Object` is Container or Sandbox. Internal to metadata/db; one transaction's thread.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "metadata/db/codec.h"
#include "metadata/db/schema.h"

namespace corten::metadata {

// Takes over one entry of a row if it is such a field; other entries are left to the caller.
template <typename Object>
Status ReadSharedField(const bolt::Entry& entry, const bolt::Bucket* child, Object* object) {
  if (child != nullptr) {
    if (entry.key == key::kLabels) object->labels = TRY(ReadPairs(*child));
    if (entry.key == key::kRuntime) object->runtime = TRY(ReadRuntime(*child));
    if (entry.key == key::kExtensions) object->extensions = TRY(ReadAnys(*child));
    return Ok();
  }
  if (entry.key == key::kSpec) object->spec = TRY(DecodeAny(entry.value));
  if (entry.key == key::kCreatedAt) object->created_at = TRY(DecodeTime(entry.value));
  if (entry.key == key::kUpdatedAt) object->updated_at = TRY(DecodeTime(entry.value));
  return Ok();
}

template <typename Object>
Status WriteSharedFields(bolt::Bucket row, const Object& object) {
  TRY(row.Put(key::kCreatedAt, EncodeTime(object.created_at)));
  TRY(row.Put(key::kUpdatedAt, EncodeTime(object.updated_at)));
  if (object.spec) TRY(row.Put(key::kSpec, EncodeAny(*object.spec)));
  TRY(WriteRuntime(row, object.runtime));
  TRY(MergeExtensions(row, object.extensions));
  return WriteMap(row, key::kLabels, object.labels);
}

// Copies what a mask path names from `wanted`: labels, extensions, one entry of either, or the
// spec. A named entry that `wanted` lacks becomes empty. False: it names something else.
template <typename Object>
bool ApplySharedPath(std::string_view path, const Object& wanted, Object* after) {
  const auto copy_entry = [](const auto& from, const std::string& name, auto* to) {
    const auto value = from.find(name);
    (*to)[name] =
        value == from.end() ? typename std::decay_t<decltype(from)>::mapped_type() : value->second;
  };
  std::string name;
  if (MaskKey(path, "labels", &name)) {
    copy_entry(wanted.labels, name, &after->labels);
  } else if (MaskKey(path, "extensions", &name)) {
    copy_entry(wanted.extensions, name, &after->extensions);
  } else if (path == "labels") {
    after->labels = wanted.labels;
  } else if (path == "extensions") {
    after->extensions = wanted.extensions;
  } else if (path == "spec") {
    after->spec = wanted.spec;
  } else {
    return false;
  }
  return true;
}

}  // namespace corten::metadata
