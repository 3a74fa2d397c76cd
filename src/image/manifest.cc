#include "image/manifest.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json_depth.h"
#include "image/json_text.h"

namespace corten::image {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxEntries = 10000;

Result<Json> ParseObject(std::string_view text, std::string_view what) {
  if (NestedTooDeep(text)) return InvalidArgumentError(what, ": nested too deeply");
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgumentError(what, ": not valid JSON");
  if (!json.is_object()) return InvalidArgumentError(what, ": not a JSON object");
  return json;
}

// A string member; "" if absent. kInvalidArgument for another type.
Result<std::string> Text(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::string();
  if (!found->is_string()) return InvalidArgumentError("field ", Quoted(key), ": not a string");
  return found->get<std::string>();
}

Result<std::vector<std::string>> TextList(const Json& json, const char* key) {
  std::vector<std::string> out;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return out;
  if (!found->is_array() || found->size() > kMaxEntries)
    return InvalidArgumentError("field ", Quoted(key), ": not a list of strings");
  for (const Json& entry : *found) {
    if (!entry.is_string())
      return InvalidArgumentError("field ", Quoted(key), ": not a list of strings");
    out.push_back(entry.get<std::string>());
  }
  return out;
}

Result<model::Labels> TextMap(const Json& json, const char* key) {
  model::Labels out;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return out;
  if (!found->is_object()) return InvalidArgumentError("field ", Quoted(key), ": not an object");
  for (const auto& [name, value] : found->items()) {
    if (!value.is_string())
      return InvalidArgumentError("field ", Quoted(key), ": values must be strings");
    out[name] = value.get<std::string>();
  }
  return out;
}

Result<model::Platform> ToPlatform(const Json& json) {
  model::Platform platform;
  platform.os = TRY(Text(json, "os"));
  platform.architecture = TRY(Text(json, "architecture"));
  platform.variant = TRY(Text(json, "variant"));
  platform.os_version = TRY(Text(json, "os.version"));
  platform.os_features = TRY(TextList(json, "os.features"));
  return platform;
}

Result<model::Descriptor> ToDescriptor(const Json& json) {
  if (!json.is_object()) return InvalidArgumentError("descriptor: not an object");
  model::Descriptor out;
  out.media_type = TRY(Text(json, "mediaType"));
  const std::string digest = TRY(Text(json, "digest"));
  out.digest = TRY(model::Digest::Parse(digest).Context(StrCat("descriptor ", Quoted(digest))));
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_integer() || size->get<int64_t>() < 0)
    return InvalidArgumentError("descriptor ", digest, ": bad size");
  out.size = size->get<int64_t>();
  out.annotations = TRY(TextMap(json, "annotations"));
  out.urls = TRY(TextList(json, "urls"));
  out.artifact_type = TRY(Text(json, "artifactType"));
  if (const auto platform = json.find("platform"); platform != json.end() && platform->is_object())
    out.platform = TRY(ToPlatform(*platform));
  return out;
}

Result<std::vector<model::Descriptor>> ToDescriptors(const Json& json, const char* key) {
  std::vector<model::Descriptor> out;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return out;
  if (!found->is_array() || found->size() > kMaxEntries)
    return InvalidArgumentError("field ", Quoted(key), ": not a list of at most ", kMaxEntries);
  for (const Json& entry : *found) {
    model::Descriptor descriptor = TRY(ToDescriptor(entry));
    out.push_back(std::move(descriptor));
  }
  return out;
}

Status RefuseSchema1(const Json& json, std::string_view what) {
  if (json.contains("fsLayers") || (json.contains("schemaVersion") && json["schemaVersion"] == 1)) {
    return InvalidArgumentError(
        what, ": media type schema1 is not supported, rebuild the image in schema 2 or OCI form");
  }
  return Ok();
}

}  // namespace

Result<Index> ParseIndex(std::string_view json) {
  const Json parsed = TRY(ParseObject(json, "index"));
  TRY(RefuseSchema1(parsed, "index"));
  if (parsed.contains("config") || parsed.contains("layers"))
    return InvalidArgumentError("index: has fields of a manifest");
  Index index;
  index.manifests = TRY(ToDescriptors(parsed, "manifests").Context("index"));
  return index;
}

Result<Manifest> ParseManifest(std::string_view json) {
  const Json parsed = TRY(ParseObject(json, "manifest"));
  TRY(RefuseSchema1(parsed, "manifest"));
  if (parsed.contains("manifests")) return InvalidArgumentError("manifest: has fields of an index");
  if (!parsed.contains("config")) return InvalidArgumentError("manifest: config is missing");
  Manifest manifest;
  manifest.config = TRY(ToDescriptor(parsed["config"]).Context("manifest"));
  manifest.layers = TRY(ToDescriptors(parsed, "layers").Context("manifest"));
  return manifest;
}

Result<ImageConfig> ParseConfig(std::string_view json) {
  const Json parsed = TRY(ParseObject(json, "image config"));
  ImageConfig config;
  config.platform = TRY(ToPlatform(parsed).Context("image config"));
  config.platform = model::NormalizePlatform(std::move(config.platform));
  if (const auto rootfs = parsed.find("rootfs"); rootfs != parsed.end() && rootfs->is_object()) {
    config.rootfs_type = TRY(Text(*rootfs, "type").Context("image config"));
    const std::vector<std::string> ids = TRY(TextList(*rootfs, "diff_ids").Context("image config"));
    for (const std::string& id : ids) {
      model::Digest digest = TRY(model::Digest::Parse(id).Context("image config"));
      config.diff_ids.push_back(std::move(digest));
    }
  }
  if (const auto inner = parsed.find("config"); inner != parsed.end() && inner->is_object()) {
    config.labels = TRY(TextMap(*inner, "Labels").Context("image config"));
    config.stop_signal = TRY(Text(*inner, "StopSignal").Context("image config"));
  }
  return config;
}

Result<std::vector<model::Descriptor>> Children(content::Store& store,
                                                const model::Descriptor& descriptor) {
  if (model::IsIndexType(descriptor.media_type)) {
    const std::string json = TRY(content::ReadBlob(store, descriptor.digest, kMaxDocument));
    Index index = TRY(ParseIndex(json).Context(descriptor.digest.str()));
    return std::move(index.manifests);
  }
  std::vector<model::Descriptor> out;
  if (!model::IsManifestType(descriptor.media_type)) return out;
  const std::string json = TRY(content::ReadBlob(store, descriptor.digest, kMaxDocument));
  Manifest manifest = TRY(ParseManifest(json).Context(descriptor.digest.str()));
  out.push_back(std::move(manifest.config));
  for (model::Descriptor& layer : manifest.layers) out.push_back(std::move(layer));
  return out;
}

Result<model::Platform> PlatformOf(content::Store& store, const model::Descriptor& manifest) {
  if (manifest.platform.has_value()) return model::NormalizePlatform(*manifest.platform);
  const std::string json = TRY(content::ReadBlob(store, manifest.digest, kMaxDocument));
  const Manifest parsed = TRY(ParseManifest(json));
  const std::string config_json = TRY(content::ReadBlob(store, parsed.config.digest, kMaxConfig));
  const ImageConfig config = TRY(ParseConfig(config_json));
  return config.platform;
}

Result<model::Descriptor> SelectManifest(content::Store& store, const model::Descriptor& target,
                                         const model::Platform& wanted) {
  if (model::IsManifestType(target.media_type)) {
    const model::Platform platform = TRY(PlatformOf(store, target));
    if (!platform.os.empty() && model::PlatformMatch(wanted, platform) < 0) {
      return NotFoundError("no match for platform ", model::FormatPlatform(wanted), " in manifest ",
                           target.digest.str());
    }
    return target;
  }
  if (!model::IsIndexType(target.media_type)) {
    return NotFoundError("unexpected media type ", target.media_type, " for ", target.digest.str());
  }
  const std::vector<model::Descriptor> children = TRY(Children(store, target));
  std::vector<std::pair<int, const model::Descriptor*>> ranked;
  for (const model::Descriptor& child : children) {
    if (!model::IsManifestType(child.media_type) && !model::IsIndexType(child.media_type)) continue;
    const int rank =
        child.platform.has_value() ? model::PlatformMatch(wanted, *child.platform) : 1000;
    if (rank >= 0) ranked.emplace_back(rank, &child);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [rank, child] : ranked) {
    Result<model::Descriptor> found = SelectManifest(store, *child, wanted);
    if (found.ok() || !found.error().Is(Code::kNotFound)) return found;
  }
  return NotFoundError("no match for platform ", model::FormatPlatform(wanted), " in manifest ",
                       target.digest.str());
}

model::Labels ChildLabels(const std::vector<model::Descriptor>& children) {
  model::Labels labels;
  std::map<std::string, int> next;
  for (const model::Descriptor& child : children) {
    std::string suffix;
    if (model::IsManifestType(child.media_type)) {
      suffix = StrCat("m.", next["m."]++);
    } else if (model::IsLayerType(child.media_type)) {
      suffix = StrCat("l.", next["l."]++);
    } else if (model::IsConfigType(child.media_type)) {
      const int number = next["config"]++;
      suffix = number == 0 ? std::string("config") : StrCat("config", number);
    } else {
      suffix = StrCat(next[""]++);  // an index within an index, too
    }
    labels[StrCat("containerd.io/gc.ref.content.", suffix)] = child.digest.str();
  }
  return labels;
}

Status LabelChildren(content::Store& store, const model::Descriptor& parent,
                     const std::vector<model::Descriptor>& children) {
  if (children.empty()) return Ok();
  content::Info info;
  info.digest = parent.digest;
  info.labels = ChildLabels(children);
  content::FieldPaths paths;
  for (const auto& [key, value] : info.labels) paths.push_back(StrCat("labels.", key));
  const content::Info done = TRY(store.Update(info, paths));
  return Ok();
}

std::vector<model::Digest> ChainIds(const std::vector<model::Digest>& diff_ids) {
  std::vector<model::Digest> out;
  for (const model::Digest& id : diff_ids) {
    out.push_back(
        out.empty()
            ? id
            : model::Digest::Parse(Sha256Digest(StrCat(out.back().str(), " ", id.str()))).value());
  }
  return out;
}

std::string IngestRef(const model::Descriptor& descriptor) {
  if (const auto name = descriptor.annotations.find("org.opencontainers.image.ref.name");
      name != descriptor.annotations.end()) {
    return StrCat(name->second, "@", descriptor.digest.str());
  }
  const std::string& type = descriptor.media_type;
  const std::string_view kind = model::IsManifestType(type) ? "manifest"
                                : model::IsIndexType(type)  ? "index"
                                : model::IsLayerType(type)  ? "layer"
                                : model::IsConfigType(type) ? "config"
                                                            : "unknown";
  return StrCat(kind, "-", descriptor.digest.str());
}

}  // namespace corten::image
