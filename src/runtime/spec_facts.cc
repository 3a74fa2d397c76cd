#include <nlohmann/json.hpp>

#include "runtime/bundle.h"

namespace corten::runtime {

namespace {

using nlohmann::json;

const json* Member(const json* object, const char* name) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

std::string Text(const json* value) {
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::optional<gid_t> MappedGid(const json* mappings) {
  if (mappings == nullptr || !mappings->is_array()) return std::nullopt;
  for (const json& mapping : *mappings) {
    const json* inside = Member(&mapping, "containerID");
    const json* outside = Member(&mapping, "hostID");
    if (inside == nullptr || outside == nullptr || !inside->is_number_unsigned() ||
        !outside->is_number_unsigned())
      continue;
    if (inside->get<uint64_t>() != 0) continue;
    const auto host = outside->get<uint64_t>();
    if (host == 0 || host >= UINT32_MAX) return std::nullopt;
    return static_cast<gid_t>(host);
  }
  return std::nullopt;
}

bool IsIdmapped(const json& mount) {
  if (Member(&mount, "uidMappings") != nullptr || Member(&mount, "gidMappings") != nullptr)
    return true;
  const json* options = Member(&mount, "options");
  if (options == nullptr || !options->is_array()) return false;
  for (const json& option : *options) {
    const std::string text = Text(&option);
    if (text == "idmap" || text == "ridmap") return true;
  }
  return false;
}

}  // namespace

SpecFacts ReadSpecFacts(std::string_view spec) {
  SpecFacts facts;
  // Most specs have none of this, and a search is a hundred times cheaper than a parse.
  const auto mentions = [spec](std::string_view word) {
    return spec.find(word) != std::string_view::npos;
  };
  constexpr std::string_view kGroup = "io.containerd.runc.v2.group";
  constexpr std::string_view kSandbox = "io.kubernetes.cri.sandbox-id";
  if (!mentions("gidMappings") && !mentions("uidMappings") && !mentions("idmap") &&
      !mentions(kGroup) && !mentions(kSandbox)) {
    return facts;
  }
  const json document = json::parse(spec, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return facts;
  const json* annotations = Member(&document, "annotations");
  const json* group = Member(annotations, kGroup.data());
  facts.group = Text(group != nullptr ? group : Member(annotations, kSandbox.data()));
  facts.mapped_gid = MappedGid(Member(Member(&document, "linux"), "gidMappings"));
  const json* mounts = Member(&document, "mounts");
  if (mounts != nullptr && mounts->is_array()) {
    for (const json& mount : *mounts)
      facts.idmapped_mounts = facts.idmapped_mounts || IsIdmapped(mount);
  }
  return facts;
}

}  // namespace corten::runtime
