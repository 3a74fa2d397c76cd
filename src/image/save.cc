#include "image/save.h"

#include <algorithm>

namespace corten::image {

namespace {

constexpr std::string_view kFullName = "io.containerd.image.name";
constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";
constexpr std::string_view kBackReference = "containerd.io/gc.bref.image";
constexpr std::string_view kExpire = "containerd.io/gc.expire";
constexpr int kPutTries = 8;

bool Begins(const std::string& name, const std::string& base) {
  if (!name.starts_with(base)) return false;
  return name.size() == base.size() || name[base.size()] == '/' || name[base.size()] == ':' ||
         name[base.size()] == '@';
}

void AddName(std::string name, std::vector<std::string>* names) {
  if (std::find(names->begin(), names->end(), name) == names->end())
    names->push_back(std::move(name));
}

}  // namespace

std::string NameInArchive(const model::Labels& annotations, const std::string& base, bool any) {
  if (const auto full = annotations.find(kFullName);
      full != annotations.end() && !full->second.empty()) {
    return any || Begins(full->second, base) ? full->second : std::string();
  }
  const auto ref = annotations.find(kRefName);
  if (ref == annotations.end() || ref->second.empty()) return std::string();
  if (ref->second.find_first_of("/:@") == std::string::npos) return StrCat(base, ":", ref->second);
  return any || Begins(ref->second, base) ? ref->second : std::string();
}

std::vector<std::string> NamesFor(const StoreRequest& request, const model::Descriptor& target,
                                  Origin origin) {
  std::vector<std::string> names;
  if (origin == Origin::kArchive) {
    for (const ExtraReference& extra : request.extra_references) {
      if (!extra.is_prefix) continue;
      const std::string name = NameInArchive(target.annotations, extra.name, extra.allow_overwrite);
      if (!name.empty()) AddName(name, &names);
      if (extra.add_digest && (name.empty() || !extra.skip_named_digest))
        AddName(StrCat(extra.name, "@", target.digest.str()), &names);
    }
    return names;
  }
  if (!request.name.empty()) AddName(request.name, &names);
  for (const ExtraReference& extra : request.extra_references) {
    if (extra.add_digest) {
      AddName(StrCat(extra.name, "@", target.digest.str()), &names);
    } else if (!extra.is_prefix) {
      AddName(extra.name, &names);
    }
  }
  return names;
}

Result<metadata::Image> PutImage(metadata::ImageStore& images, const model::Scope& scope,
                                 metadata::Image image) {
  // Somebody may delete or create the name between two calls.
  for (int attempt = 0;; ++attempt) {
    Result<metadata::Image> created = images.Create(scope, image, std::nullopt);
    if (created.ok() || !created.error().Is(Code::kAlreadyExists)) return created;
    Result<metadata::Image> updated = images.Update(scope, image, {}, std::nullopt);
    if (updated.ok() || !updated.error().Is(Code::kNotFound) || attempt == kPutTries)
      return updated;
  }
}

Result<std::vector<metadata::Image>> SaveImages(metadata::ImageStore& images,
                                                const model::Scope& scope,
                                                const StoreRequest& request,
                                                const model::Descriptor& target, Origin origin,
                                                Time now) {
  std::vector<metadata::Image> out;
  for (const std::string& name : NamesFor(request, target, origin)) {
    metadata::Image image;
    image.name = name;
    image.target = target;
    image.labels = request.labels;
    if (!request.name.empty() && name != request.name) {
      image.labels[std::string(kBackReference)] = request.name;
      image.labels[std::string(kExpire)] = FormatRfc3339({now.seconds, 0});
    }
    metadata::Image saved =
        TRY(PutImage(images, scope, std::move(image)).Context("failed to store image"));
    out.push_back(std::move(saved));
  }
  return out;
}

}  // namespace corten::image
