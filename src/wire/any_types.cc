#include "wire/any_types.h"

#include <algorithm>
#include <array>

#include "base/strcat.h"

namespace corten::wire {

namespace {
constexpr std::array kJsonTypes = {
    kSpecType,
    kProcessType,
    kLinuxResourcesType,
    kWindowsResourcesType,
    kFeaturesType,
    kCriSandboxMetadataType,
    kCriContainerMetadataType,
    kCriUpdatedResourcesType,
};
}  // namespace

bool IsJsonType(std::string_view type_url) {
  return std::find(kJsonTypes.begin(), kJsonTypes.end(), type_url) != kJsonTypes.end();
}

std::string_view TypeName(std::string_view type_url) {
  if (IsJsonType(type_url)) return type_url;
  const size_t slash = type_url.rfind('/');
  return slash == std::string_view::npos ? type_url : type_url.substr(slash + 1);
}

Status CheckType(std::string_view type_url, std::string_view expected) {
  if (TypeName(type_url) == expected) return Ok();
  return InvalidArgumentError("type ", Quoted(type_url), " is not ", expected);
}

}  // namespace corten::wire
