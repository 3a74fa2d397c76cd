#include "metadata/db/objects.h"
#include "metadata/db/shared_fields.h"

namespace corten::metadata {

namespace {

Error NoContainer(const model::Namespace& ns, const model::ContainerId& id) {
  return NotFoundError("container ", Quoted(id.str()), " in namespace ", Quoted(ns.str()));
}

// In one pass: lists read many rows.
Result<Container> ReadContainer(std::string_view id, const bolt::Bucket& row) {
  Container container;
  container.id = model::ContainerId(id);
  container.created_at = container.updated_at = kZeroTime;
  TRY(ForEachEntry(row, [&](const bolt::Entry& entry, const bolt::Bucket* child) -> Status {
    if (child == nullptr) {
      if (entry.key == key::kImage) container.image = entry.value;
      if (entry.key == key::kSnapshotter) container.snapshotter = entry.value;
      if (entry.key == key::kSnapshotKey) container.snapshot_key = entry.value;
      if (entry.key == key::kSandboxId) container.sandbox = model::SandboxId(entry.value);
    }
    return ReadSharedField(entry, child, &container);
  }));
  return container;
}

Status WriteContainer(bolt::Bucket row, const Container& container) {
  TRY(row.Put(key::kImage, container.image));
  TRY(row.Put(key::kSnapshotter, container.snapshotter));
  TRY(row.Put(key::kSnapshotKey, container.snapshot_key));
  TRY(row.Put(key::kSandboxId, container.sandbox.str()));
  return WriteSharedFields(row, container);
}

Status Validate(const Container& container) {
  TRY(model::ValidateIdentifier(container.id.str(), "identifier").Context("container.ID"));
  for (const auto& [name, any] : container.extensions) {
    if (name.empty())
      return InvalidArgumentError("container.Extension keys must not be zero-length");
  }
  TRY(CheckLabels(container.labels, "containers.Labels"));
  if (container.runtime.name.empty())
    return InvalidArgumentError("container.Runtime.Name must be set");
  if (!container.spec) return InvalidArgumentError("container.Spec must be set");
  if (!container.snapshot_key.empty() && container.snapshotter.empty()) {
    return InvalidArgumentError(
        "container.Snapshotter must be set if container.SnapshotKey is set");
  }
  return Ok();
}

Status CheckNew(const model::Scope& scope, const Container& container) {
  TRY(CheckNamespace(scope.ns));
  return Validate(container).Context("create container failed validation");
}

void DropEmptyLabels(Container* container) {
  std::erase_if(container->labels, [](const auto& label) { return label.second.empty(); });
}

// `before` with the fields of `wanted` that the mask names.
Result<Container> ApplyMask(const Container& before, const Container& wanted, FieldPaths paths) {
  Container after = before;
  if (paths.empty()) {
    if (wanted.snapshotter != before.snapshotter)
      return InvalidArgumentError("container.Snapshotter field is immutable");
    if (wanted.runtime.name != before.runtime.name)
      return InvalidArgumentError("container.Runtime.Name field is immutable");
    paths = {"labels", "spec", "extensions", "image", "snapshotkey"};
  }
  for (const std::string& path : paths) {
    if (ApplySharedPath(path, wanted, &after)) continue;
    if (path == "image") {
      after.image = wanted.image;
    } else if (path == "snapshotkey") {
      after.snapshot_key = wanted.snapshot_key;
    } else {
      return InvalidArgumentError("cannot update ", Quoted(path), " field on ",
                                  Quoted(wanted.id.str()));
    }
  }
  return after;
}

// Decides a filter from the row, reading only the fields that it asks for.
bool Matches(const model::Filter& filter, std::string_view id, const bolt::Bucket& row,
             Status* damage) {
  const auto value = [&](const bolt::Bucket& bucket, std::string_view name) -> std::string {
    Result<std::string_view> bytes = ReadBytes(bucket, name);
    if (bytes.ok()) return std::string(*bytes);
    *damage = std::move(bytes).TakeError();
    return {};
  };
  return filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.size() == 1 && path[0] == "id") return std::string(id);
    if (path.size() == 1 && path[0] == "image") return value(row, key::kImage);
    if (path.size() == 2 && path[0] == "runtime" && path[1] == "name") {
      Result<MaybeBucket> runtime = row.FindBucket(key::kRuntime);
      return runtime.ok() && *runtime ? value(**runtime, key::kName) : std::string();
    }
    if (path.size() > 1 && path[0] == "labels") {
      Result<model::Labels> labels = ReadMap(row, key::kLabels);
      if (labels.ok()) return model::LookupLabel(*labels, path);
      *damage = std::move(labels).TakeError();
    }
    return std::nullopt;
  });
}

Change ContainerChange(Change::Kind kind, const model::Namespace& ns, const Container& container) {
  Change change;
  change.kind = kind;
  change.ns = ns;
  change.name = container.id.str();
  change.image = container.image;
  if (kind == Change::Kind::kContainerCreate) change.runtime = container.runtime;
  if (kind == Change::Kind::kContainerUpdate) {
    change.labels = container.labels;
    change.snapshot_key = container.snapshot_key;
  }
  return change;
}

}  // namespace

Result<Container> Containers::Get(const model::Namespace& ns, const model::ContainerId& id) {
  TRY(CheckNamespace(ns));
  Container container;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, ns, {key::kContainers, id.str()}));
    if (!row) return NoContainer(ns, id);
    container = TRY(ReadContainer(id.str(), *row));
    return Ok();
  }));
  return container;
}

Result<std::vector<Container>> Containers::List(const model::Namespace& ns,
                                                const Filters& filters) {
  TRY(CheckNamespace(ns));
  const model::Filter filter = TRY(ParseListFilters(filters));
  std::vector<Container> containers;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, ns, {key::kContainers}));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view id, const bolt::Bucket& row) -> Status {
      Status damage;
      if (!filter.matches_all() && !Matches(filter, id, row, &damage)) return damage;
      Container container = TRY(ReadContainer(id, row));
      containers.push_back(std::move(container));
      return Ok();
    });
  }));
  return containers;
}

Status Containers::WriteNew(Mutation& mutation, const model::Scope& scope, Container& container) {
  bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope.ns, {key::kContainers}));
  const MaybeBucket found = TRY(rows.FindBucket(container.id.str()));
  if (found) return AlreadyExistsError("container ", Quoted(container.id.str()));
  const bolt::Bucket row = TRY(rows.CreateBucket(container.id.str()));
  container.created_at = container.updated_at = core_->Clock();
  TRY(WriteContainer(row, container));
  mutation.Touch(NodeKind::kContainer, scope.ns, container.id.str());
  mutation.Emit(ContainerChange(Change::Kind::kContainerCreate, scope.ns, container));
  return Ok();
}

Result<Container> Containers::Create(const model::Scope& scope, Container container) {
  TRY(CheckNew(scope, container));
  TRY(core_->Update([&](Mutation& mutation) { return WriteNew(mutation, scope, container); }));
  DropEmptyLabels(&container);
  return container;
}

void Containers::CreateLater(const model::Scope& scope, Container container,
                             std::function<void(Result<Container>)> done) {
  Status checked = CheckNew(scope, container);
  if (!checked.ok()) return done(std::move(checked).TakeError());
  auto made = std::make_shared<Container>(std::move(container));  // shared by both functions
  core_->UpdateLater(
      [this, scope, made](Mutation& mutation) { return WriteNew(mutation, scope, *made); },
      [made, done = std::move(done)](Status status) {
        if (!status.ok()) return done(std::move(status).TakeError());
        DropEmptyLabels(made.get());
        done(std::move(*made));
      });
}

Result<Container> Containers::Update(const model::Scope& scope, Container container,
                                     const FieldPaths& paths) {
  TRY(CheckNamespace(scope.ns));
  if (container.id.empty()) return InvalidArgumentError("must specify a container id");
  Container after;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket row =
        TRY(FindIn(mutation.tx, scope.ns, {key::kContainers, container.id.str()}));
    if (!row) return NoContainer(scope.ns, container.id);
    const Container before = TRY(ReadContainer(container.id.str(), *row));
    after = TRY(ApplyMask(before, container, paths));
    TRY(Validate(after).Context("update failed validation"));
    after.updated_at = core_->Clock();
    TRY(WriteContainer(*row, after));
    mutation.Touch(NodeKind::kContainer, scope.ns, container.id.str());
    DropEmptyLabels(&after);
    mutation.Emit(ContainerChange(Change::Kind::kContainerUpdate, scope.ns, after));
    return Ok();
  }));
  return after;
}

Status Containers::Delete(const model::Scope& scope, const model::ContainerId& id) {
  TRY(CheckNamespace(scope.ns));
  return core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, scope.ns, {key::kContainers}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(id.str()));
    if (!row) return NoContainer(scope.ns, id);
    TRY(rows->DeleteBucket(id.str()));
    mutation.is_deletion = true;
    Change change;
    change.kind = Change::Kind::kContainerDelete;
    change.ns = scope.ns;
    change.name = id.str();
    mutation.Emit(std::move(change));
    return Ok();
  });
}

}  // namespace corten::metadata
