#include "metadata/db/objects.h"
#include "metadata/db/shared_fields.h"

namespace corten::metadata {

namespace {

Error NoSandbox(const model::SandboxId& id) { return NotFoundError("sandbox ", Quoted(id.str())); }

Result<Sandbox> ReadSandbox(std::string_view id, const bolt::Bucket& row) {
  Sandbox sandbox;
  sandbox.id = model::SandboxId(id);
  sandbox.created_at = sandbox.updated_at = kZeroTime;
  TRY(ForEachEntry(row, [&](const bolt::Entry& entry, const bolt::Bucket* child) -> Status {
    if (child == nullptr && entry.key == key::kSandboxer) sandbox.sandboxer = entry.value;
    return ReadSharedField(entry, child, &sandbox);
  }));
  return sandbox;
}

Status WriteSandbox(bolt::Bucket row, const Sandbox& sandbox) {
  TRY(row.Put(key::kSandboxer, sandbox.sandboxer));
  return WriteSharedFields(row, sandbox);
}

Status Validate(const Sandbox& sandbox) {
  TRY(model::ValidateIdentifier(sandbox.id.str(), "identifier").Context("invalid sandbox ID"));
  for (const auto& [name, any] : sandbox.extensions) {
    if (name.empty()) return InvalidArgumentError("extension key must not be zero-length");
  }
  return CheckLabels(sandbox.labels, "sandbox.Labels");
}

Result<Sandbox> ApplyMask(const Sandbox& before, const Sandbox& wanted, FieldPaths paths) {
  Sandbox after = before;
  if (paths.empty()) {
    if (wanted.runtime.name != before.runtime.name)
      return InvalidArgumentError("sandbox.Runtime.Name field is immutable");
    paths = {"labels", "extensions", "spec", "runtime"};
  }
  for (const std::string& path : paths) {
    if (ApplySharedPath(path, wanted, &after)) continue;
    if (path == "runtime") {
      after.runtime = wanted.runtime;
    } else {
      return InvalidArgumentError("cannot update ", Quoted(path), " field on sandbox ",
                                  Quoted(wanted.id.str()));
    }
  }
  return after;
}

bool Matches(const model::Filter& filter, const Sandbox& sandbox) {
  return filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.size() == 1 && path[0] == "id") return sandbox.id.str();
    if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(sandbox.labels, path);
    return std::nullopt;
  });
}

}  // namespace

Result<Sandbox> Sandboxes::Get(const model::Namespace& ns, const model::SandboxId& id) {
  TRY(CheckNamespace(ns));
  Sandbox sandbox;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, ns, {key::kSandboxes, id.str()}));
    if (!row) return NoSandbox(id);
    sandbox = TRY(ReadSandbox(id.str(), *row));
    return Ok();
  }));
  return sandbox;
}

Result<std::vector<Sandbox>> Sandboxes::List(const model::Namespace& ns, const Filters& filters) {
  TRY(CheckNamespace(ns));
  const model::Filter filter = TRY(ParseListFilters(filters));
  std::vector<Sandbox> sandboxes;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, ns, {key::kSandboxes}));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view id, const bolt::Bucket& row) -> Status {
      Sandbox sandbox = TRY(ReadSandbox(id, row));
      if (Matches(filter, sandbox)) sandboxes.push_back(std::move(sandbox));
      return Ok();
    });
  }));
  return sandboxes;
}

Result<Sandbox> Sandboxes::Create(const model::Namespace& ns, Sandbox sandbox) {
  TRY(CheckNamespace(ns));
  TRY(Validate(sandbox).Context("failed to validate sandbox"));
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, ns, {key::kSandboxes}));
    const MaybeBucket found = TRY(rows.FindBucket(sandbox.id.str()));
    if (found)
      return AlreadyExistsError("sandbox bucket ", Quoted(sandbox.id.str()), " already exists");
    const bolt::Bucket row = TRY(rows.CreateBucket(sandbox.id.str()));
    sandbox.created_at = sandbox.updated_at = core_->Clock();
    TRY(WriteSandbox(row, sandbox));
    mutation.Touch(NodeKind::kSandbox, ns, sandbox.id.str());
    return Ok();
  }));
  return sandbox;
}

Result<Sandbox> Sandboxes::Update(const model::Namespace& ns, Sandbox sandbox,
                                  const FieldPaths& paths) {
  TRY(CheckNamespace(ns));
  Sandbox after;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket row = TRY(FindIn(mutation.tx, ns, {key::kSandboxes, sandbox.id.str()}));
    if (!row) return NoSandbox(sandbox.id);
    const Sandbox before = TRY(ReadSandbox(sandbox.id.str(), *row));
    after = TRY(ApplyMask(before, sandbox, paths));
    TRY(Validate(after));
    after.updated_at = core_->Clock();
    TRY(WriteSandbox(*row, after));
    mutation.Touch(NodeKind::kSandbox, ns, sandbox.id.str());
    std::erase_if(after.labels, [](const auto& label) { return label.second.empty(); });
    return Ok();
  }));
  return after;
}

Status Sandboxes::Delete(const model::Namespace& ns, const model::SandboxId& id) {
  TRY(CheckNamespace(ns));
  return core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, ns, {key::kSandboxes}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(id.str()));
    if (!row) return NoSandbox(id);
    return rows->DeleteBucket(id.str());
  });
}

}  // namespace corten::metadata
