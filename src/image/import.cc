#include "image/import.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/hash.h"
#include "base/json_depth.h"
#include "diff/chunk_source.h"
#include "diff/compress.h"
#include "diff/decompress.h"
#include "diff/tar_reader.h"
#include "image/json_text.h"
#include "image/manifest.h"
#include "model/reference.h"

namespace corten::image {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxArchiveDocument = 20u << 20;
constexpr size_t kMaxMembers = 100000;
constexpr size_t kMaxName = 4096;
constexpr int kMaxLinks = 255;
constexpr size_t kReadSize = 256u << 10;
constexpr std::string_view kUncompressed = "containerd.io/uncompressed";

// "./a//b/../c" -> "a/c". Steps above the top end there.
std::string CleanName(std::string_view name) {
  std::vector<std::string_view> parts;
  while (!name.empty()) {
    const size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    name.remove_prefix(slash == std::string_view::npos ? name.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) {
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Result<Json> ParseDocument(const std::string& text, std::string_view name) {
  if (NestedTooDeep(text)) return InvalidArgumentError(name, ": nested too deeply");
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgumentError(name, ": not valid JSON");
  return json;
}

// One entry of a Docker archive's manifest.json.
struct DockerImage {
  std::string config;
  std::vector<std::string> repo_tags;
  std::vector<std::string> layers;
};

Result<std::vector<std::string>> Texts(const Json& entry, const char* key) {
  std::vector<std::string> out;
  const auto found = entry.find(key);
  if (found == entry.end() || found->is_null()) return out;
  if (!found->is_array()) return InvalidArgumentError("manifest.json: ", key, " is not a list");
  for (const Json& text : *found) {
    if (!text.is_string())
      return InvalidArgumentError("manifest.json: ", key, " is not a list of strings");
    out.push_back(text.get<std::string>());
  }
  return out;
}

Result<std::vector<DockerImage>> ParseDockerManifest(const std::string& text) {
  const Json json = TRY(ParseDocument(text, "manifest.json"));
  if (!json.is_array()) return InvalidArgumentError("manifest.json: not a list");
  std::vector<DockerImage> out;
  for (const Json& entry : json) {
    if (!entry.is_object()) return InvalidArgumentError("manifest.json: an entry is not an object");
    DockerImage image;
    const auto config = entry.find("Config");
    if (config == entry.end() || !config->is_string())
      return InvalidArgumentError("manifest.json: Config is missing");
    image.config = config->get<std::string>();
    image.repo_tags = TRY(Texts(entry, "RepoTags"));
    image.layers = TRY(Texts(entry, "Layers"));
    out.push_back(std::move(image));
  }
  return out;
}

class Importer {
 public:
  Importer(content::Store& store, const ImportOptions& options)
      : store_(store), options_(options) {}

  Result<model::Descriptor> Run(diff::ByteSource& source) {
    const std::unique_ptr<diff::ByteSource> plain = TRY(diff::OpenSniffed(source));
    diff::BufferedChunks chunks(*plain, kReadSize);
    diff::TarReader tar(chunks);
    for (size_t members = 0;; ++members) {
      Result<const diff::TarEntry*> next = tar.Next();
      // Wire: clients know this one as Go's reader says it.
      if (!next.ok() && next.error().text() == "archive: invalid tar header")
        return UnknownError("archive/tar: invalid tar header");
      const diff::TarEntry* entry = TRY(std::move(next));
      if (entry == nullptr) break;
      if (members == kMaxMembers)
        return InvalidArgumentError("archive: more than ", kMaxMembers, " members");
      TRY(TakeMember(tar, *entry));
    }
    TRY(tar.Drain());
    TRY(FollowLinks());
    if (!layout_.empty()) return LayoutIndex();
    if (!docker_.empty()) return DockerIndex();
    return InvalidArgumentError("unrecognized image format");
  }

 private:
  Status CheckCanceled() const {
    if (options_.canceled && options_.canceled()) return CanceledError("import: canceled");
    return Ok();
  }

  Status TakeMember(diff::TarReader& tar, const diff::TarEntry& entry) {
    if (entry.name.size() > kMaxName)
      return InvalidArgumentError("archive: a name is longer than ", kMaxName, " bytes");
    const std::string name = CleanName(entry.name);
    if (entry.type == diff::kSymlink) {
      const size_t slash = name.rfind('/');
      const std::string folder = slash == std::string::npos ? std::string() : name.substr(0, slash);
      links_[name] = CleanName(StrCat(folder, "/", entry.link_name));
      return Ok();
    }
    if (!entry.has_data()) return Ok();
    if (name == "oci-layout") return ReadDocument(tar, entry, &layout_);
    if (name == "manifest.json") return ReadDocument(tar, entry, &docker_);
    return StoreFile(tar, entry, name);
  }

  static Status ReadDocument(diff::TarReader& tar, const diff::TarEntry& entry, std::string* out) {
    if (entry.size > static_cast<int64_t>(kMaxArchiveDocument))
      return InvalidArgumentError(entry.name, ": larger than ", kMaxArchiveDocument, " bytes");
    out->assign(static_cast<size_t>(entry.size), '\0');  // holes of a sparse file are zeros
    while (true) {
      const diff::TarReader::Piece piece = TRY(tar.ReadPiece());
      if (piece.bytes.empty()) return Ok();
      out->replace(static_cast<size_t>(piece.offset), piece.bytes.size(), piece.bytes);
    }
  }

  Status StoreFile(diff::TarReader& tar, const diff::TarEntry& entry, const std::string& name) {
    if (entry.sparse)
      return InvalidArgumentError("archive: ", name, ": sparse files are not images");
    const int64_t size = entry.size;
    const std::string ref = StrCat("tar-", name);
    std::unique_ptr<content::Writer> writer = TRY(store_.OpenWriter({ref, {}, size}));
    const content::IngestStatus status = TRY(writer->GetStatus());
    if (status.offset != 0) TRY(writer->Truncate(0));
    Hasher hasher =
        Hasher::Sha256();  // the store's own digest is not told when the blob turns out to exist
    while (true) {
      TRY(CheckCanceled());
      const diff::TarReader::Piece piece = TRY(tar.ReadPiece());
      if (piece.bytes.empty()) break;
      TRY(writer->Write(piece.bytes));
      if (size <= kSmall) hasher.Update(piece.bytes);
    }
    model::Descriptor blob;
    blob.size = size;
    Result<model::Digest> digest =
        size <= kSmall ? model::Digest::Parse(hasher.Digest()) : writer->CurrentDigest();
    blob.digest = TRY(std::move(digest));
    TRY(Commit(*writer, blob, {}).Context(name));
    blobs_[name] = std::move(blob);
    return Ok();
  }

  static Status Commit(content::Writer& writer, const model::Descriptor& blob,
                       const model::Labels& labels) {
    const Result<model::Digest> done = writer.Commit({blob.size, blob.digest, labels});
    if (!done.ok() && !done.error().Is(Code::kAlreadyExists)) return done.error().Clone();
    return Ok();
  }

  Status FollowLinks() {
    std::map<std::string, model::Descriptor> found;
    for (const auto& [name, first] : links_) {
      std::string target = first;
      for (int steps = 0; links_.contains(target); ++steps) {
        if (steps == kMaxLinks)
          return InvalidArgumentError("archive: ", name, ": too many symbolic links");
        target = links_[target];
      }
      if (const auto blob = blobs_.find(target); blob != blobs_.end()) found[name] = blob->second;
    }
    blobs_.merge(found);
    return Ok();
  }

  Result<model::Descriptor> LayoutIndex() {
    const Json layout = TRY(ParseDocument(layout_, "oci-layout"));
    const auto version = layout.is_object() ? layout.find("imageLayoutVersion") : layout.end();
    if (version == layout.end() || !version->is_string())
      return InvalidArgumentError("oci-layout: imageLayoutVersion is missing");
    if (version->get<std::string>() != "1.0.0")
      return InvalidArgumentError("unsupported OCI version ", version->get<std::string>());
    const auto index = blobs_.find("index.json");
    if (index == blobs_.end())
      return InvalidArgumentError("missing index.json in OCI layout 1.0.0");
    model::Descriptor out = index->second;
    out.media_type = model::media_type::kOciIndex;
    return out;
  }

  Result<model::Descriptor> Find(const std::string& name, std::string_view what) const {
    const auto found = blobs_.find(CleanName(name));
    if (found == blobs_.end()) return NotFoundError(what, " ", Quoted(name));
    return found->second;
  }

  Result<model::Descriptor> DockerIndex() {
    const std::vector<DockerImage> images = TRY(ParseDockerManifest(docker_));
    std::vector<model::Descriptor> entries;
    for (const DockerImage& image : images) {
      model::Descriptor config = TRY(Find(image.config, "image config"));
      config.media_type = model::media_type::kDockerConfig;
      std::vector<model::Descriptor> layers;
      for (const std::string& name : image.layers) {
        const model::Descriptor stored = TRY(Find(name, "layer"));
        model::Descriptor layer = TRY(TypedLayer(stored).Context(name));
        layers.push_back(std::move(layer));
      }
      const model::Descriptor manifest = TRY(WriteManifest(config, layers));
      if (image.repo_tags.empty()) entries.push_back(manifest);
      for (const std::string& tag : image.repo_tags) {
        model::Descriptor named = manifest;
        const std::string full = TRY(model::NormalizeDockerReference(tag));
        named.annotations["io.containerd.image.name"] = full;
        const model::Reference parsed = TRY(model::ParseReference(full));
        named.annotations["org.opencontainers.image.ref.name"] = std::string(parsed.tag());
        entries.push_back(std::move(named));
      }
    }
    return WriteIndex(entries);
  }

  // Finds out how a layer is compressed; an uncompressed one may be replaced by its compressed
  // form.
  Result<model::Descriptor> TypedLayer(model::Descriptor layer) {
    const std::unique_ptr<content::Reader> reader = TRY(store_.OpenReader(layer.digest));
    char first[diff::kSniffBytes] = {};
    const size_t n = TRY(reader->ReadAt(first, 0));
    switch (diff::Sniff({first, n})) {
      case diff::Compression::kGzip:
        layer.media_type = model::media_type::kDockerLayerGzip;
        return layer;
      case diff::Compression::kZstd:
        layer.media_type = model::media_type::kDockerLayerZstd;
        return layer;
      case diff::Compression::kNone:
        break;
    }
    layer.media_type = model::media_type::kDockerLayer;
    const std::optional<model::Descriptor> known = TRY(KnownCompressed(layer.digest));
    if (known.has_value()) return *known;
    if (!options_.compress) return layer;
    return CompressLayer(layer, *reader);
  }

  // A gzip blob of this namespace whose label says that it unpacks to `plain`.
  Result<std::optional<model::Descriptor>> KnownCompressed(const model::Digest& plain) {
    std::vector<content::Info> candidates;
    TRY(store_.Walk({StrCat("labels.\"", kUncompressed, "\"==", Quoted(plain.str()))},
                    [&](const content::Info& info) -> Status {
                      candidates.push_back(info);
                      return Ok();
                    }));
    for (const content::Info& info : candidates) {
      const std::unique_ptr<content::Reader> reader = TRY(store_.OpenReader(info.digest));
      char first[diff::kSniffBytes] = {};
      const size_t n = TRY(reader->ReadAt(first, 0));
      if (diff::Sniff({first, n}) != diff::Compression::kGzip) continue;
      model::Descriptor out;
      out.media_type = model::media_type::kDockerLayerGzip;
      out.digest = info.digest;
      out.size = reader->size();
      return std::optional(std::move(out));
    }
    return std::optional<model::Descriptor>();
  }

  Result<model::Descriptor> CompressLayer(const model::Descriptor& layer, content::Reader& reader) {
    class ToWriter final : public diff::ByteSink {
     public:
      explicit ToWriter(content::Writer& writer) : writer_(writer) {}
      Status Write(std::string_view data) override {
        size_ += static_cast<int64_t>(data.size());
        return writer_.Write(data);
      }
      int64_t size() const { return size_; }

     private:
      content::Writer& writer_;
      int64_t size_ = 0;
    };
    std::unique_ptr<content::Writer> writer =
        TRY(store_.OpenWriter({StrCat("compress-blob-", layer.digest.str()), {}, 0}));
    const content::IngestStatus status = TRY(writer->GetStatus());
    if (status.offset != 0) TRY(writer->Truncate(0));
    ToWriter sink(*writer);
    const std::unique_ptr<diff::Compressor> packer =
        TRY(diff::OpenCompressor(sink, diff::Compression::kGzip));
    const auto buffer = std::make_unique<char[]>(kReadSize);
    for (int64_t at = 0;;) {
      TRY(CheckCanceled());
      const size_t n = TRY(reader.ReadAt({buffer.get(), kReadSize}, at));
      if (n == 0) break;
      TRY(packer->Write({buffer.get(), n}));
      at += static_cast<int64_t>(n);
    }
    TRY(packer->Finish());
    model::Descriptor out;
    out.media_type = model::media_type::kDockerLayerGzip;
    out.size = sink.size();
    out.digest = TRY(writer->CurrentDigest());
    TRY(Commit(*writer, out, {{std::string(kUncompressed), layer.digest.str()}}));
    return out;
  }

  Result<model::Descriptor> WriteDocument(std::string_view kind, std::string_view media_type,
                                          const std::string& json,
                                          const std::vector<model::Descriptor>& children) {
    model::Descriptor out;
    out.media_type = media_type;
    out.size = static_cast<int64_t>(json.size());
    out.digest = TRY(model::Digest::Parse(Sha256Digest(json)));
    TRY(content::WriteBlob(store_, StrCat(kind, "-", out.digest.str()), json, out,
                           ChildLabels(children)));
    return out;
  }

  Result<model::Descriptor> WriteManifest(const model::Descriptor& config,
                                          const std::vector<model::Descriptor>& layers) {
    std::vector<std::string> texts;
    std::vector<model::Descriptor> children = {config};
    for (const model::Descriptor& layer : layers) {
      texts.push_back(DescriptorJson(layer));
      children.push_back(layer);
    }
    const std::string json = StrCat(
        "{\"schemaVersion\":2,\"mediaType\":", JsonString(model::media_type::kDockerManifest),
        ",\"config\":", DescriptorJson(config),
        ",\"layers\":", layers.empty() ? "null" : JsonList(texts), "}");
    model::Descriptor out =
        TRY(WriteDocument("manifest", model::media_type::kDockerManifest, json, children));
    const std::string config_json = TRY(content::ReadBlob(store_, config.digest, kMaxConfig));
    const ImageConfig parsed = TRY(ParseConfig(config_json));
    if (!parsed.platform.os.empty()) out.platform = parsed.platform;
    return out;
  }

  Result<model::Descriptor> WriteIndex(const std::vector<model::Descriptor>& entries) {
    std::vector<std::string> texts;
    for (const model::Descriptor& entry : entries) texts.push_back(DescriptorJson(entry));
    const std::string json = StrCat(
        "{\"schemaVersion\":2,\"manifests\":", entries.empty() ? "null" : JsonList(texts), "}");
    return WriteDocument("index", model::media_type::kOciIndex, json, entries);
  }

  // Files up to here are hashed a second time rather than asking the store: a digest so far costs a
  // message remotely.
  static constexpr int64_t kSmall = 64 << 10;

  content::Store& store_;
  const ImportOptions& options_;
  std::string layout_;  // oci-layout
  std::string docker_;  // manifest.json
  std::map<std::string, std::string> links_;
  std::map<std::string, model::Descriptor> blobs_;
};

}  // namespace

Result<model::Descriptor> ImportArchive(content::Store& store, diff::ByteSource& source,
                                        const ImportOptions& options) {
  return Importer(store, options).Run(source);
}

}  // namespace corten::image
