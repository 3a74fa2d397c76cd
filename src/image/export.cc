#include "image/export.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/hash.h"
#include "diff/tar_writer.h"
#include "image/json_text.h"
#include "image/manifest.h"
#include "image/tree.h"
#include "model/reference.h"

namespace corten::image {

namespace {

constexpr size_t kReadSize = 256u << 10;
constexpr std::string_view kSource = "containerd.io/distribution.source.";

std::string BlobPath(const model::Digest& digest) {
  return StrCat("blobs/", digest.algorithm(), "/", digest.hex());
}

// "docker.io/library/alpine:3" -> "alpine:3".
std::string FamiliarName(std::string name) {
  if (name.starts_with("docker.io/")) name.erase(0, 10);
  if (name.starts_with("library/")) name.erase(0, 8);
  return name;
}

class Exporter {
 public:
  Exporter(content::Store& store, diff::ByteSink& sink, const ExportOptions& options)
      : store_(store), tar_(sink), options_(options) {
    platforms_ = options.platforms;
    if (platforms_.empty()) platforms_ = {model::HostPlatform()};
  }

  Status Run(const std::vector<metadata::Image>& images) {
    if (images.empty()) return InvalidArgumentError("no images to export");
    for (const metadata::Image& image : images) TRY(Collect(image).Context(image.name));
    members_["oci-layout"] = {"{\"imageLayoutVersion\":\"1.0.0\"}", {}, 0444};
    members_["index.json"] = {
        StrCat("{\"schemaVersion\":2,\"mediaType\":", JsonString(model::media_type::kOciIndex),
               ",\"manifests\":", JsonList(entries_), "}"),
        {},
        0644};
    if (!options_.skip_docker_manifest) TRY(AddDockerManifest());
    TRY(WriteDir("blobs/"));
    std::set<std::string> dirs;
    for (const auto& [name, member] : members_) {
      if (member.blob.empty()) continue;
      const std::string dir = StrCat("blobs/", member.blob.algorithm(), "/");
      if (dirs.insert(dir).second) TRY(WriteDir(dir));
      TRY(WriteBlobMember(name, member.blob));
    }
    for (const auto& [name, member] : members_) {
      if (member.blob.empty()) TRY(WriteText(name, member));
    }
    return tar_.Finish();
  }

 private:
  struct Member {
    std::string text;
    model::Digest blob;  // not empty: the blob instead of the text
    int64_t mode = 0444;
  };
  struct DockerEntry {
    model::Descriptor manifest;
    std::vector<std::string> tags;
  };

  Status Collect(const metadata::Image& image) {
    const model::Descriptor& target = image.target;
    if (!model::IsManifestType(target.media_type) && !model::IsIndexType(target.media_type)) {
      return InvalidArgumentError("only manifests and indices can be exported, not ",
                                  Quoted(target.media_type));
    }
    model::Descriptor entry = target;
    const content::Info info = TRY(store_.GetInfo(target.digest));
    for (const auto& [key, value] : info.labels) {
      if (key.starts_with(kSource)) entry.annotations[key] = value;
    }
    entry.annotations["io.containerd.image.name"] = image.name;
    entry.annotations["org.opencontainers.image.ref.name"] = RefName(image.name);
    entries_.push_back(DescriptorJson(entry));
    StoreRequest request;
    if (!options_.all_platforms) request.platforms = platforms_;
    TRY(AddTree(request, target));
    return NoteForDocker(image);
  }

  static std::string RefName(const std::string& name) {
    const Result<model::Reference> parsed = model::ParseReference(name);
    if (parsed.ok() && !parsed->tag().empty()) return std::string(parsed->tag());
    return name;
  }

  // Without labelling: an export changes nothing.
  Status AddTree(const StoreRequest& request, const model::Descriptor& blob) {
    if (options_.skip_non_distributable && model::IsNonDistributableType(blob.media_type))
      return Ok();
    if (!members_.emplace(BlobPath(blob.digest), Member{{}, blob.digest, 0444}).second) return Ok();
    std::vector<model::Descriptor> children = TRY(Children(store_, blob));
    for (const model::Descriptor& child : WantedChildren(request, blob, std::move(children)))
      TRY(AddTree(request, child));
    return Ok();
  }

  Status NoteForDocker(const metadata::Image& image) {
    for (const model::Platform& platform :
         options_.all_platforms ? std::vector{model::HostPlatform()} : platforms_) {
      const Result<model::Descriptor> manifest = SelectManifest(store_, image.target, platform);
      if (!manifest.ok() && !manifest.error().Is(Code::kNotFound)) return manifest.error().Clone();
      if (!manifest.ok() || !members_.contains(BlobPath(manifest->digest))) continue;
      for (DockerEntry& known : docker_) {
        if (known.manifest.digest == manifest->digest) {
          known.tags.push_back(FamiliarName(image.name));
          return Ok();
        }
      }
      docker_.push_back({*manifest, {FamiliarName(image.name)}});
      return Ok();
    }
    return Ok();  // Docker cannot load it; the layout still can be
  }

  Status AddDockerManifest() {
    std::vector<std::string> texts;
    for (const DockerEntry& entry : docker_) {
      const std::string json = TRY(content::ReadBlob(store_, entry.manifest.digest, kMaxDocument));
      const Manifest manifest = TRY(ParseManifest(json));
      std::vector<std::string> tags;
      std::vector<std::string> layers;
      for (const std::string& tag : entry.tags) tags.push_back(JsonString(tag));
      for (const model::Descriptor& layer : manifest.layers)
        layers.push_back(JsonString(BlobPath(layer.digest)));
      texts.push_back(StrCat("{\"Config\":", JsonString(BlobPath(manifest.config.digest)),
                             ",\"RepoTags\":", JsonList(tags),
                             ",\"Layers\":", layers.empty() ? "null" : JsonList(layers), "}"));
    }
    if (!texts.empty()) members_["manifest.json"] = {JsonList(texts), {}, 0644};
    return Ok();
  }

  Status WriteDir(const std::string& name) {
    diff::TarEntry entry;
    entry.type = diff::kDirectory;
    entry.name = name;
    entry.mode = 0755;
    return tar_.WriteHeader(entry);
  }

  Status WriteText(const std::string& name, const Member& member) {
    diff::TarEntry entry;
    entry.name = name;
    entry.mode = member.mode;
    entry.size = static_cast<int64_t>(member.text.size());
    TRY(tar_.WriteHeader(entry));
    return tar_.WriteData(member.text);
  }

  Status WriteBlobMember(const std::string& name, const model::Digest& digest) {
    const std::unique_ptr<content::Reader> reader = TRY(store_.OpenReader(digest));
    diff::TarEntry entry;
    entry.name = name;
    entry.mode = 0444;
    entry.size = reader->size();
    TRY(tar_.WriteHeader(entry));
    Hasher hasher = TRY(Hasher::Create(digest.algorithm()));
    if (buffer_ == nullptr) buffer_ = std::make_unique<char[]>(kReadSize);
    for (int64_t at = 0; at < entry.size;) {
      if (options_.canceled && options_.canceled()) return CanceledError("export: canceled");
      const size_t n = TRY(reader->ReadAt({buffer_.get(), kReadSize}, at));
      if (n == 0) return DataLossError("content ", digest.str(), ": ends early");
      hasher.Update(buffer_.get(), n);
      TRY(tar_.WriteData({buffer_.get(), n}));
      at += static_cast<int64_t>(n);
    }
    if (hasher.Hex() != digest.hex())
      return DataLossError("content ", digest.str(), ": unexpected digest ", hasher.Digest());
    return Ok();
  }

  content::Store& store_;
  diff::TarWriter tar_;
  const ExportOptions& options_;
  std::vector<model::Platform> platforms_;
  std::map<std::string, Member> members_;
  std::vector<std::string> entries_;
  std::vector<DockerEntry> docker_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace

Status ExportImages(content::Store& store, const std::vector<metadata::Image>& images,
                    diff::ByteSink& sink, const ExportOptions& options) {
  return Exporter(store, sink, options).Run(images);
}

}  // namespace corten::image
