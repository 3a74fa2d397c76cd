// Specifications of the Container Device Interface: files in which a vendor says what a container
// needs to use its devices. Values; any thread. Source: CDI specification 1.1.0 (SPEC.md), and
// what containerd 2.3 refuses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

struct CdiDevice {
  std::string name;
  // Checked: every member has the type the specification gives it. Not null; a document is too
  // heavy for a header, and nobody changes this one.
  std::shared_ptr<const Json> edits;
};

struct CdiSpec {
  std::string kind;                   // VENDOR/CLASS
  std::shared_ptr<const Json> edits;  // for a container with any of the devices; may be empty
  std::vector<CdiDevice> devices;
};

// VENDOR/CLASS=NAME.
bool IsCdiName(std::string_view name);

// JSON or YAML. kInvalidArgument names what is wrong: a member that is not known or has another
// type, a version that does not know what is used, names, edits that say nothing, a device twice.
Result<CdiSpec> ParseCdiSpec(const std::string& text);

}  // namespace corten::oci
