// Keys as types, so that mixing them does not compile, and the rule for identifiers.
// Values; any thread.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::model {

// A string that means one thing. Tag is never defined.
template <typename Tag>
class Key {
 public:
  Key() = default;
  explicit Key(std::string value) : value_(std::move(value)) {}
  explicit Key(std::string_view value) : value_(value) {}
  explicit Key(const char* value) : value_(value) {}
  const std::string& str() const { return value_; }
  bool empty() const { return value_.empty(); }
  auto operator<=>(const Key&) const = default;

 private:
  std::string value_;
};

using Namespace = Key<struct NamespaceTag>;
using ContainerId = Key<struct ContainerIdTag>;
using ExecId = Key<struct ExecIdTag>;  // empty: the init process
using SandboxId = Key<struct SandboxIdTag>;
using LeaseId = Key<struct LeaseIdTag>;
using SnapshotterName = Key<struct SnapshotterNameTag>;

// containerd's identifier rule (metadata.md 2): 1 to 76 bytes, runs of ASCII letters and digits
// joined by single
// '.', '_' or '-'. kInvalidArgument naming `what` and the text otherwise.
Status ValidateIdentifier(std::string_view text, std::string_view what);

}  // namespace corten::model

template <typename Tag>
struct std::hash<corten::model::Key<Tag>> {
  size_t operator()(const corten::model::Key<Tag>& key) const {
    return std::hash<std::string>()(key.str());
  }
};
