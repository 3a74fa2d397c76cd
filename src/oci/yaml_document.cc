#include "oci/yaml_document.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

namespace corten::oci {

namespace {

constexpr int kMaxNodes = 100000;
constexpr int kMaxDepth = 100;

std::optional<Json> Integer(std::string_view text) {
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0o")) {
    base = text[1] == 'x' ? 16 : 8;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return Json(negative ? -value : value);
}

Json Plain(const std::string& text) {
  for (const char* word : {"", "~", "null", "Null", "NULL"}) {
    if (text == word) return {};
  }
  for (const char* word :
       {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"}) {
    if (text == word) return true;
  }
  for (const char* word :
       {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"}) {
    if (text == word) return false;
  }
  if (std::optional<Json> number = Integer(text); number.has_value()) return *std::move(number);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool digits = text.find_first_of("0123456789") != std::string::npos;
  if (error == std::errc() && end == text.data() + text.size() && digits) return value;
  return text;
}

class Converter {
 public:
  Result<Json> Convert(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) return Wrong(node, "too large");
    if (node.IsScalar()) return node.Tag() == "?" ? Plain(node.Scalar()) : Json(node.Scalar());
    if (node.IsSequence()) {
      Json out = Json::array();
      for (const YAML::Node& entry : node) {
        Json value = TRY(Convert(entry, depth + 1));
        out.push_back(std::move(value));
      }
      return out;
    }
    if (!node.IsMap()) return Json();
    Json out = Json::object();
    for (const auto& member : node) {  // a pair and a node in one, so not to be taken apart
      const YAML::Node& key = member.first;
      if (!key.IsScalar()) return Wrong(key, "a key that is no text");
      if (out.contains(key.Scalar()))
        return Wrong(key, StrCat("key ", Quoted(key.Scalar()), " twice"));
      Json value = TRY(Convert(member.second, depth + 1));
      out[key.Scalar()] = std::move(value);
    }
    return out;
  }

 private:
  static Error Wrong(const YAML::Node& node, std::string_view what) {
    return InvalidArgumentError("yaml: line ", node.Mark().line + 1, ": ", what);
  }
  int nodes_ = 0;
};

}  // namespace

Result<Json> ParseYaml(const std::string& text) {
  YAML::Node node;
  try {
    node = YAML::Load(text);
    return Converter().Convert(node, 0);
  } catch (const YAML::Exception& error) {  // the library throws, this room does not
    return InvalidArgumentError("yaml: line ", error.mark.line + 1, ": ", error.msg);
  }
}

}  // namespace corten::oci
