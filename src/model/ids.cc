#include "model/ids.h"

#include "model/labels.h"

namespace corten::model {

namespace {
constexpr size_t kMaxIdentifier = 76;
constexpr size_t kMaxLabel = 4096;  // bytes of key and value together
bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
}  // namespace

Status ValidateIdentifier(std::string_view text, std::string_view what) {
  if (text.empty()) return InvalidArgumentError(what, " must not be empty");
  if (text.size() > kMaxIdentifier) {
    return InvalidArgumentError(what, " ", Quoted(text), " greater than maximum length (",
                                kMaxIdentifier, " characters)");
  }
  bool previous_separator = true;  // none may lead
  for (const char c : text) {
    const bool separator = c == '.' || c == '_' || c == '-';
    if ((!separator && !IsAlnum(c)) || (separator && previous_separator)) {
      return InvalidArgumentError(what, " ", Quoted(text),
                                  " must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$");
    }
    previous_separator = separator;
  }
  if (previous_separator) {
    return InvalidArgumentError(what, " ", Quoted(text),
                                " must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$");
  }
  return Ok();
}

Status ValidateLabels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (key.size() + value.size() > kMaxLabel) {
      return InvalidArgumentError("label key and value length (", key.size() + value.size(),
                                  " bytes) greater than maximum size (", kMaxLabel,
                                  " bytes), key: ", key.substr(0, 64));
    }
  }
  return Ok();
}

Status UpdateLabels(Labels& current, const Labels& given, const std::vector<std::string>& paths) {
  constexpr std::string_view kPrefix = "labels.";
  Labels updated = current;
  if (paths.empty()) updated = given;
  for (const std::string& path : paths) {
    if (path == "labels") {
      updated = given;
    } else if (path.starts_with(kPrefix)) {
      const std::string key = path.substr(kPrefix.size());
      const auto found = given.find(key);
      updated[key] = found == given.end() ? std::string() : found->second;
    } else {
      return InvalidArgumentError("cannot update ", Quoted(path), " field");
    }
  }
  std::erase_if(updated, [](const auto& label) { return label.second.empty(); });
  TRY(ValidateLabels(updated));
  current = std::move(updated);
  return Ok();
}

}  // namespace corten::model
