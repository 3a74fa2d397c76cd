#include "oci/json.h"

#include <nlohmann/json.hpp>

#include "base/json_depth.h"

namespace corten::oci {

Result<Json> ParseObject(std::string_view text, std::string_view what) {
  if (NestedTooDeep(text)) return InvalidArgumentError(what, ": nested too deeply");
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
