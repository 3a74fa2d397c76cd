#include "metadata/db/objects.h"

namespace corten::metadata {

namespace {

// What stands in the way of a deletion, in containerd's words.
Result<std::string> Contents(const bolt::Bucket& ns) {
  std::string found;
  const auto add = [&](std::string_view what) { found += StrCat(found.empty() ? "" : ", ", what); };
  const auto check = [&](std::initializer_list<std::string_view> path,
                         std::string_view what) -> Status {
    const MaybeBucket bucket = TRY(FindPath(ns, path));
    if (!bucket) return Ok();
    const bool empty = TRY(bucket->Empty());
    if (!empty) add(what);
    return Ok();
  };
  TRY(check({key::kImages}, "images"));
  TRY(check({key::kContent, key::kBlob}, "blobs"));
  TRY(check({key::kContainers}, "containers"));
  const MaybeBucket snapshots = TRY(ns.FindBucket(key::kSnapshots));
  if (snapshots) {
    TRY(ForEachBucket(*snapshots, [&](std::string_view name, const bolt::Bucket& bucket) -> Status {
      const bool empty = TRY(bucket.Empty());
      if (!empty) add(StrCat("snapshots on ", Quoted(name), " snapshotter"));
      return Ok();
    }));
  }
  return found;
}

Change NamespaceChange(Change::Kind kind, const model::Namespace& ns,
                       const model::Labels& labels = {}) {
  Change change;
  change.kind = kind;
  change.ns = ns;
  change.name = ns.str();
  change.labels = labels;
  return change;
}

}  // namespace

Status Namespaces::Create(const model::Namespace& ns, const model::Labels& labels) {
  TRY(model::ValidateIdentifier(ns.str(), "identifier"));
  TRY(CheckLabels(labels, "namespace.Labels"));
  return core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket found = TRY(FindIn(mutation.tx, ns, {}));
    if (found) return AlreadyExistsError("namespace ", Quoted(ns.str()));
    bolt::Bucket stored = TRY(MakeIn(mutation.tx, ns, {key::kLabels}));
    for (const auto& [label, value] : labels) {
      if (label.empty()) return UnknownError("key required");
      TRY(stored.Put(label, value));
    }
    mutation.Emit(NamespaceChange(Change::Kind::kNamespaceCreate, ns, labels));
    return Ok();
  });
}

Result<model::Labels> Namespaces::GetLabels(const model::Namespace& ns) {
  model::Labels labels;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket found = TRY(FindIn(tx, ns, {}));
    if (found) labels = TRY(ReadMap(*found, key::kLabels));
    return Ok();
  }));
  return labels;
}

Result<model::Labels> Namespaces::Update(const model::Namespace& ns, const model::Labels& labels,
                                         const FieldPaths& paths) {
  TRY(model::ValidateIdentifier(ns.str(), "identifier"));
  model::Labels changed;  // as the event tells them
  for (const std::string& path : paths) {
    std::string label;
    if (!MaskKey(path, "labels", &label))
      return InvalidArgumentError("cannot update ", Quoted(path), " field");
    const auto value = labels.find(label);
    changed[label] = value == labels.end() ? std::string() : value->second;
  }
  if (paths.empty()) changed = labels;
  TRY(CheckLabels(changed, "namespace.Labels"));
  model::Labels after;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    const bolt::Bucket bucket = TRY(MakeIn(mutation.tx, ns, {}));
    bolt::Bucket stored = TRY(MakeIn(mutation.tx, ns, {key::kLabels}));
    if (paths.empty()) {
      const model::Labels before = TRY(ReadMap(bucket, key::kLabels));
      for (const auto& [label, value] : before) {
        if (!changed.contains(label)) TRY(stored.Delete(label));
      }
    }
    for (const auto& [label, value] : changed) {
      if (label.empty()) return UnknownError("key required");
      if (value.empty()) {
        TRY(stored.Delete(label));
      } else {
        TRY(stored.Put(label, value));
      }
    }
    after = TRY(ReadMap(bucket, key::kLabels));
    mutation.Emit(NamespaceChange(Change::Kind::kNamespaceUpdate, ns, changed));
    return Ok();
  }));
  return after;
}

Result<std::vector<model::Namespace>> Namespaces::List() {
  std::vector<model::Namespace> namespaces;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket top = TRY(tx.FindBucket(key::kV1));
    if (!top) return Ok();
    return top->ForEach([&](const bolt::Entry& entry) -> Status {
      if (entry.is_bucket) namespaces.emplace_back(entry.key);
      return Ok();
    });
  }));
  return namespaces;
}

Status Namespaces::Delete(const model::Namespace& ns) {
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket found = TRY(FindIn(mutation.tx, ns, {}));
    if (!found) return NotFoundError("namespace ", Quoted(ns.str()));
    const std::string contents = TRY(Contents(*found));
    if (!contents.empty()) {
      return FailedPreconditionError("namespace ", Quoted(ns.str()),
                                     " must be empty, but it still has ", contents);
    }
    bolt::Bucket top = TRY(mutation.tx.GetBucket(key::kV1));
    TRY(top.DeleteBucket(ns.str()));
    mutation.Emit(NamespaceChange(Change::Kind::kNamespaceDelete, ns));
    return Ok();
  }));
  core_->content_dirty = true;  // its ingests
  return Ok();
}

}  // namespace corten::metadata
