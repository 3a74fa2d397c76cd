#include "metadata/db/codec.h"
#include "metadata/db/objects.h"

namespace corten::metadata {

namespace {

Status ReadTarget(const bolt::Bucket& stored, model::Descriptor* target) {
  return stored.ForEach([&](const bolt::Entry& entry) -> Status {
    if (entry.key == key::kDigest) target->digest = TRY(model::Digest::Parse(entry.value));
    if (entry.key == key::kMediaType) target->media_type = entry.value;
    if (entry.key == key::kSize) target->size = TRY(DecodeVarint(entry.value));
    return Ok();
  });
}

// In one pass: lists read many rows.
Result<Image> ReadImage(std::string_view name, const bolt::Bucket& row) {
  Image image;
  image.name = name;
  image.created_at = image.updated_at = kZeroTime;
  TRY(ForEachEntry(row, [&](const bolt::Entry& entry, const bolt::Bucket* child) -> Status {
    if (child != nullptr) {
      if (entry.key == key::kLabels) image.labels = TRY(ReadPairs(*child));
      if (entry.key == key::kAnnotations) image.target.annotations = TRY(ReadPairs(*child));
      if (entry.key == key::kTarget) TRY(ReadTarget(*child, &image.target));
      return Ok();
    }
    if (entry.key == key::kCreatedAt) image.created_at = TRY(DecodeTime(entry.value));
    if (entry.key == key::kUpdatedAt) image.updated_at = TRY(DecodeTime(entry.value));
    return Ok();
  }));
  return image;
}

Status WriteImage(bolt::Bucket row, const Image& image) {
  TRY(row.Put(key::kCreatedAt, EncodeTime(image.created_at)));
  TRY(row.Put(key::kUpdatedAt, EncodeTime(image.updated_at)));
  TRY(WriteMap(row, key::kLabels, image.labels));
  TRY(WriteMap(row, key::kAnnotations, image.target.annotations));
  bolt::Bucket target = TRY(row.CreateBucketIfNotExists(key::kTarget));
  TRY(target.Put(key::kDigest, image.target.digest.str()));
  TRY(target.Put(key::kMediaType, image.target.media_type));
  return target.Put(key::kSize, EncodeVarint(image.target.size));
}

Status Validate(const Image& image) {
  if (image.name.empty()) return InvalidArgumentError("image name must not be empty");
  TRY(CheckLabels(image.labels, "image.Labels"));
  if (image.target.digest.empty())
    return InvalidArgumentError("target.Digest \"\" invalid: invalid checksum digest format");
  if (image.target.size <= 0) return InvalidArgumentError("Target.Size must be greater than zero");
  if (image.target.media_type.empty()) return InvalidArgumentError("target.MediaType must be set");
  return Ok();
}

Result<Image> ApplyMask(const Image& before, const Image& wanted, const FieldPaths& paths) {
  Image after = before;
  if (paths.empty()) {
    after = wanted;
    after.created_at = before.created_at;
  }
  for (const std::string& path : paths) {
    std::string name;
    if (MaskKey(path, "labels", &name)) {
      const auto value = wanted.labels.find(name);
      after.labels[name] = value == wanted.labels.end() ? std::string() : value->second;
    } else if (MaskKey(path, "annotations", &name)) {
      const auto value = wanted.target.annotations.find(name);
      after.target.annotations[name] =
          value == wanted.target.annotations.end() ? std::string() : value->second;
    } else if (path == "labels") {
      after.labels = wanted.labels;
    } else if (path == "target") {
      after.target = wanted.target;
    } else if (path == "annotations") {
      after.target.annotations = wanted.target.annotations;
    } else {
      return InvalidArgumentError("cannot update ", Quoted(path), " field on image ",
                                  Quoted(wanted.name));
    }
  }
  return after;
}

void DropEmptyValues(Image* image) {
  const auto empty = [](const auto& pair) { return pair.second.empty(); };
  std::erase_if(image->labels, empty);
  std::erase_if(image->target.annotations, empty);
}

// The fields of an image that filters see, read when asked for.
bool Matches(const model::Filter& filter, const Image& image) {
  return filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.size() == 1 && path[0] == "name") return image.name;
    if (path.size() == 2 && path[0] == "target" && path[1] == "digest")
      return image.target.digest.str();
    if (path.size() == 2 && path[0] == "target" && path[1] == "mediatype")
      return image.target.media_type;
    if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(image.labels, path);
    if (path.size() > 1 && path[0] == "annotations")
      return model::LookupLabel(image.target.annotations, path);
    return std::nullopt;
  });
}

Change ImageChange(Change::Kind kind, const model::Namespace& ns, const Image& image) {
  Change change;
  change.kind = kind;
  change.ns = ns;
  change.name = image.name;
  change.labels = image.labels;
  return change;
}

// Images join leases only if they have an end of their own.
Status LeaseImage(Mutation& mutation, const model::Scope& scope, const Image& image) {
  mutation.NoteExpiry(image.labels);
  if (image.labels.contains(gc_label::kExpire))
    TRY(AddLeaseMember(mutation, scope, NodeKind::kImage, image.name));
  return Ok();
}

}  // namespace

Result<Image> Images::Get(const model::Namespace& ns, const std::string& name) {
  TRY(CheckNamespace(ns));
  Image image;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, ns, {key::kImages, name}));
    if (!row) return NotFoundError("image ", Quoted(name));
    image = TRY(ReadImage(name, *row));
    return Ok();
  }));
  return image;
}

Result<std::vector<Image>> Images::List(const model::Namespace& ns, const Filters& filters) {
  TRY(CheckNamespace(ns));
  const model::Filter filter = TRY(ParseListFilters(filters));
  std::vector<Image> images;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, ns, {key::kImages}));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view name, const bolt::Bucket& row) -> Status {
      Image image = TRY(ReadImage(name, row));
      if (filter.matches_all() || Matches(filter, image)) images.push_back(std::move(image));
      return Ok();
    });
  }));
  return images;
}

Status Images::WriteNew(Mutation& mutation, const model::Scope& scope, Image& image,
                        std::optional<Time> epoch) {
  bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope.ns, {key::kImages}));
  const MaybeBucket found = TRY(rows.FindBucket(image.name));
  if (found) return AlreadyExistsError("image ", Quoted(image.name));
  const bolt::Bucket row = TRY(rows.CreateBucket(image.name));
  image.created_at = image.updated_at = epoch.value_or(core_->Clock());
  TRY(WriteImage(row, image));
  TRY(LeaseImage(mutation, scope, image));
  mutation.Touch(NodeKind::kImage, scope.ns, image.name);
  mutation.Emit(ImageChange(Change::Kind::kImageCreate, scope.ns, image));
  return Ok();
}

Result<Image> Images::Create(const model::Scope& scope, Image image, std::optional<Time> epoch) {
  TRY(CheckNamespace(scope.ns));
  TRY(Validate(image));
  TRY(core_->Update([&](Mutation& mutation) { return WriteNew(mutation, scope, image, epoch); }));
  DropEmptyValues(&image);
  return image;
}

void Images::CreateLater(const model::Scope& scope, Image image, std::optional<Time> epoch,
                         std::function<void(Result<Image>)> done) {
  Status checked = CheckNamespace(scope.ns);
  if (checked.ok()) checked = Validate(image);
  if (!checked.ok()) return done(std::move(checked).TakeError());
  auto made = std::make_shared<Image>(std::move(image));  // shared by both functions
  core_->UpdateLater([this, scope, made, epoch](
                         Mutation& mutation) { return WriteNew(mutation, scope, *made, epoch); },
                     [made, done = std::move(done)](Status status) {
                       if (!status.ok()) return done(std::move(status).TakeError());
                       DropEmptyValues(made.get());
                       done(std::move(*made));
                     });
}

Result<Image> Images::Update(const model::Scope& scope, Image image, const FieldPaths& paths,
                             std::optional<Time> epoch) {
  TRY(CheckNamespace(scope.ns));
  if (image.name.empty()) return InvalidArgumentError("image name is required for update");
  Image after;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket row = TRY(FindIn(mutation.tx, scope.ns, {key::kImages, image.name}));
    if (!row) return NotFoundError("image ", Quoted(image.name));
    const Image before = TRY(ReadImage(image.name, *row));
    after = TRY(ApplyMask(before, image, paths));
    TRY(Validate(after));
    after.updated_at = epoch.value_or(core_->Clock());
    TRY(WriteImage(*row, after));
    TRY(LeaseImage(mutation, scope, after));
    mutation.Touch(NodeKind::kImage, scope.ns, image.name);
    DropEmptyValues(&after);
    mutation.Emit(ImageChange(Change::Kind::kImageUpdate, scope.ns, after));
    return Ok();
  }));
  return after;
}

Status Images::Delete(const model::Scope& scope, const std::string& name,
                      const DeleteOptions& options) {
  TRY(CheckNamespace(scope.ns));
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, scope.ns, {key::kImages}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(name));
    if (!row) return NotFoundError("image ", Quoted(name));
    if (options.target) {
      const Image image = TRY(ReadImage(name, *row));
      if (image.target.digest != *options.target) {
        return NotFoundError("image ", Quoted(name), " has target ", image.target.digest.str(),
                             ", not ", options.target->str());
      }
    }
    TRY(RemoveLeaseMember(mutation, scope, NodeKind::kImage, name));
    TRY(rows->DeleteBucket(name));
    mutation.is_deletion = true;
    Change change;
    change.kind = Change::Kind::kImageDelete;
    change.ns = scope.ns;
    change.name = name;
    mutation.Emit(std::move(change));
    return Ok();
  }));
  return options.synchronous ? core_->WaitForCollection() : Ok();
}

}  // namespace corten::metadata
