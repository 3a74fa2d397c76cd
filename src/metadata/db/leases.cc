#include <random>

#include "metadata/db/codec.h"
#include "metadata/db/objects.h"

namespace corten::metadata {

namespace {

// Where a resource stands inside a lease's bucket.
struct Place {
  NodeKind kind = NodeKind::kContent;
  std::string_view bucket;
  std::string snapshotter;
};

Result<Place> PlaceOf(const LeaseResource& resource) {
  const std::string& type = resource.type;
  if (type == key::kContent) {
    const Result<model::Digest> digest = model::Digest::Parse(resource.id);
    if (!digest.ok())
      return InvalidArgumentError("invalid content resource id ", resource.id, ": ",
                                  digest.error().text());
    return Place{NodeKind::kContent, key::kContent, {}};
  }
  if (type == key::kImages) return Place{NodeKind::kImage, key::kImages, {}};
  if (type == key::kIngests) return Place{NodeKind::kIngest, key::kIngests, {}};
  const size_t slash = type.find('/');
  const std::string_view kind = std::string_view(type).substr(0, slash);
  if (kind == key::kSnapshots) {
    const std::string name = slash == std::string::npos ? std::string() : type.substr(slash + 1);
    if (name.empty() || name.find('/') != std::string::npos)
      return InvalidArgumentError("invalid snapshot resource type ", type);
    return Place{NodeKind::kSnapshot, key::kSnapshots, name};
  }
  if (kind == key::kContent || kind == key::kImages || kind == key::kIngests)
    return InvalidArgumentError("invalid resource type ", type);
  return UnimplementedError("resource type ", type, " not supported yet");
}

// A number below a second and four characters, as clients see them: "123456789-Ab_9".
std::string MakeLeaseId(Time now) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::random_device random;
  uint32_t bits = random();
  std::string id = StrCat(now.nanos, "-");
  for (int i = 0; i < 4; ++i, bits >>= 6) id += kAlphabet[bits & 63];
  return id;
}

Result<Lease> ReadLease(std::string_view id, const bolt::Bucket& row) {
  Lease lease;
  lease.id = model::LeaseId(id);
  lease.created_at = TRY(ReadTime(row, key::kCreatedAt));
  lease.labels = TRY(ReadMap(row, key::kLabels));
  return lease;
}

Error NoLease(const model::LeaseId& id) { return NotFoundError("lease ", Quoted(id.str())); }

Status AppendMembers(const bolt::Bucket& bucket, const std::string& type,
                     std::vector<LeaseResource>* resources) {
  return bucket.ForEach([&](const bolt::Entry& entry) -> Status {
    if (!entry.is_bucket) resources->push_back({std::string(entry.key), type});
    return Ok();
  });
}

}  // namespace

Result<Lease> Leases::Create(const model::Namespace& ns, Lease lease) {
  TRY(CheckNamespace(ns));
  if (lease.id.empty()) lease.id = model::LeaseId(MakeLeaseId(core_->Clock()));
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, ns, {key::kLeases}));
    const MaybeBucket found = TRY(rows.FindBucket(lease.id.str()));
    if (found) return AlreadyExistsError("lease ", Quoted(lease.id.str()));
    bolt::Bucket row = TRY(rows.CreateBucket(lease.id.str()));
    lease.created_at = core_->Clock();
    TRY(row.Put(key::kCreatedAt, EncodeTime(lease.created_at)));
    TRY(WriteMap(row, key::kLabels, lease.labels));
    mutation.Touch(NodeKind::kLease, ns, lease.id.str());
    mutation.NoteExpiry(lease.labels);
    return Ok();
  }));
  return lease;
}

Status Leases::Delete(const model::Namespace& ns, const model::LeaseId& id, bool synchronous) {
  TRY(CheckNamespace(ns));
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, ns, {key::kLeases}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(id.str()));
    if (!row) return NoLease(id);
    mutation.is_deletion = true;
    return rows->DeleteBucket(id.str());
  }));
  return synchronous ? core_->WaitForCollection() : Ok();
}

Result<std::vector<Lease>> Leases::List(const model::Namespace& ns, const Filters& filters) {
  TRY(CheckNamespace(ns));
  const model::Filter filter = TRY(ParseListFilters(filters));
  std::vector<Lease> leases;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, ns, {key::kLeases}));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view id, const bolt::Bucket& row) -> Status {
      Lease lease = TRY(ReadLease(id, row));
      const bool matches =
          filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
            if (path.size() == 1 && path[0] == "id") return lease.id.str();
            if (path.size() > 1 && path[0] == "labels")
              return model::LookupLabel(lease.labels, path);
            return std::nullopt;
          });
      if (matches) leases.push_back(std::move(lease));
      return Ok();
    });
  }));
  return leases;
}

Status Leases::AddResource(const model::Namespace& ns, const model::LeaseId& id,
                           const LeaseResource& resource) {
  TRY(CheckNamespace(ns));
  const Place place = TRY(PlaceOf(resource));
  return core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket row = TRY(FindIn(mutation.tx, ns, {key::kLeases, id.str()}));
    if (!row) return NoLease(id);
    TRY(AddLeaseMember(mutation, {ns, id}, place.kind, resource.id, place.snapshotter));
    return Ok();
  });
}

Status Leases::DeleteResource(const model::Namespace& ns, const model::LeaseId& id,
                              const LeaseResource& resource) {
  TRY(CheckNamespace(ns));
  const Place place = TRY(PlaceOf(resource));
  return core_->Update([&](Mutation& mutation) -> Status {
    const MaybeBucket row = TRY(FindIn(mutation.tx, ns, {key::kLeases, id.str()}));
    if (!row) return NoLease(id);
    mutation.is_deletion = true;
    return RemoveLeaseMember(mutation, {ns, id}, place.kind, resource.id, place.snapshotter);
  });
}

Result<std::vector<LeaseResource>> Leases::ListResources(const model::Namespace& ns,
                                                         const model::LeaseId& id) {
  TRY(CheckNamespace(ns));
  std::vector<LeaseResource> resources;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, ns, {key::kLeases, id.str()}));
    if (!row) return NoLease(id);
    for (const std::string_view type : {key::kContent, key::kImages, key::kIngests}) {
      const MaybeBucket members = TRY(row->FindBucket(type));
      if (members) TRY(AppendMembers(*members, std::string(type), &resources));
    }
    const MaybeBucket snapshots = TRY(row->FindBucket(key::kSnapshots));
    if (!snapshots) return Ok();
    return ForEachBucket(*snapshots, [&](std::string_view name, const bolt::Bucket& members) {
      return AppendMembers(members, StrCat(key::kSnapshots, "/", name), &resources);
    });
  }));
  return resources;
}

}  // namespace corten::metadata
