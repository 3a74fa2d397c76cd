// YAML (and so JSON) documents as JSON, for files of this machine's administrator: CDI devices,
// classes of block I/O. Plain scalars become null, booleans and numbers as YAML 1.1 reads them
// (0644 is octal, yes is a boolean); a quoted one is text. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

// The first document in `text`; null when there is none. kInvalidArgument, with the line: not
// YAML, a key twice, a key that is no text, more than 100000 nodes or 100 levels (aliases count as
// often as they are used).
Result<Json> ParseYaml(const std::string& text);

}  // namespace corten::oci
