#include "oci/json.h"

#include <nlohmann/json.hpp>

namespace corten::oci {

namespace {

// Whether brackets outside of strings are nested deeper than kMaxJsonDepth. Text that is no JSON
// may get either answer.
bool IsTooDeep(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> ParseObject(std::string_view text, std::string_view what) {
  if (IsTooDeep(text))
    return InvalidArgumentError(what, ": nested more than ", kMaxJsonDepth, " levels deep");
  Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return InvalidArgumentError(what, ": not valid JSON");
  return parsed;
}

std::string Text(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> Strings(const Json& json, const char* key) {
  std::vector<std::string> out;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) return out;
  for (const Json& entry : *found) {
    if (entry.is_string()) out.push_back(entry.get<std::string>());
  }
  return out;
}

std::string String(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json& ObjectOf(Json& json, const char* key) {
  Json& member = json[key];
  if (!member.is_object()) member = Json::object();
  return member;
}

Json& ArrayOf(Json& json, const char* key) {
  Json& member = json[key];
  if (!member.is_array()) member = Json::array();
  return member;
}

}  // namespace corten::oci
