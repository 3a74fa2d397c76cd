// The JSON documents of this room: OCI specifications under construction, members in the order in
// which they were added. A document is a value; one thread. Documents that came from outside are
// parsed with ParseObject, which never throws; the functions of this room check a member's type
// before they touch it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::oci {

using Json = nlohmann::ordered_json;

// An object, or kInvalidArgument "WHAT: not valid JSON", "WHAT: nested too deeply" (json_depth.h).
Result<Json> ParseObject(std::string_view text, std::string_view what);
// The document as text; bytes that are not UTF-8 become U+FFFD.
std::string Text(const Json& document);

// The member's strings; empty when it is missing or has another type.
std::vector<std::string> Strings(const Json& json, const char* key);
std::string String(const Json& json, const char* key);
// The member as an object (an array), made anew when it is missing or has another type.
Json& ObjectOf(Json& json, const char* key);
Json& ArrayOf(Json& json, const char* key);

}  // namespace corten::oci
