// The program that metadata_crash_test kills: a pull, a container and a clean-up through the
// database over real backends, telling on standard output what it was promised. Can be run again on
// what a kill left. Usage: metadata_crash_journey ROOT
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/hash.h"
#include "crash_backends.h"

namespace corten::metadata {
namespace {

const model::Namespace kNs("default");
const model::Scope kLeased{kNs, model::LeaseId("pull")};
const model::Scope kPlain{kNs, model::LeaseId()};

// What stands there was answered before the kill; write(2) is not undone by it.
void Tell(const std::string& line) {
  const std::string text = line + "\n";
  if (write(1, text.data(), text.size()) != static_cast<ssize_t>(text.size())) abort();
}

// A step that an earlier run may have done already.
Status Done(Status status, std::string_view told) {
  if (!status.ok() && !status.error().Is(Code::kAlreadyExists)) return status;
  if (!told.empty()) Tell(std::string(told));
  return Ok();
}
template <typename T>
Status Done(const Result<T>& result, std::string_view told) {
  return Done(result.ok() ? Ok() : Status(result.error().Clone()), told);
}
// A step whose object an earlier run may have removed.
Status Gone(const Status& status) {
  if (!status.ok() && !status.error().Is(Code::kNotFound)) return status.error().Clone();
  return Ok();
}

Status PutBlob(Database& db, const std::string& text, const model::Labels& labels) {
  Hasher hasher = TRY(Hasher::Create("sha256"));
  hasher.Update(text);
  model::Descriptor descriptor;
  descriptor.digest = TRY(model::Digest::Parse(hasher.Digest()));
  descriptor.size = static_cast<int64_t>(text.size());
  TRY(content::WriteBlob(*db.Content(kLeased), "ingest " + text, text, descriptor, labels));
  Tell("blob " + descriptor.digest.str());
  return Ok();
}

Status PutLayer(Database& db, const std::string& name, const std::string& parent) {
  const auto snapshots = TRY(db.Snapshots(kLeased, "overlayfs"));
  const Result<snapshot::Info> there = snapshots->Stat(name);
  if (!there.ok()) {
    TRY(Done(snapshots->Prepare("extract " + name, parent, {}), ""));
    snapshot::Snapshotter::CommitOptions options;
    options.labels = {{"layer", name}};
    TRY(Done(snapshots->Commit(name, "extract " + name, options), ""));
  }
  Tell("snapshot " + name);
  return Ok();
}

Status Journey(Database& db) {
  Lease lease;
  lease.id = kLeased.lease;
  TRY(Done(db.leases().Create(kNs, lease), "lease"));
  TRY(PutBlob(db, "layer", {}));
  TRY(PutBlob(db, "manifest",
              {{"containerd.io/gc.ref.content.l.0", CrashLayer()},
               {"containerd.io/gc.ref.snapshot.overlayfs", "top"}}));
  TRY(PutLayer(db, "base", ""));
  TRY(PutLayer(db, "top", "base"));
  Image image;
  image.name = "image";
  image.target.digest = TRY(model::Digest::Parse(CrashManifest()));
  image.target.size = 8;
  image.target.media_type = std::string(model::media_type::kOciManifest);
  TRY(Done(db.images().Create(kLeased, image, {}), "image"));

  const auto snapshots = TRY(db.Snapshots(kLeased, "overlayfs"));
  TRY(Done(snapshots->Prepare("rootfs", "top", {}), ""));
  Container container;
  container.id = model::ContainerId("c");
  container.runtime.name = "r";
  container.spec = model::Any{"t", "{}"};
  container.snapshotter = "overlayfs";
  container.snapshot_key = "rootfs";
  TRY(Done(db.containers().Create(kLeased, container), "container"));
  Tell("-lease");
  TRY(Gone(db.leases().Delete(kNs, lease.id, false)));
  TRY(db.CollectGarbage());
  Tell("-container");
  TRY(Gone(db.containers().Delete(kPlain, container.id)));
  Tell("-image");
  Tell("-blob");
  Tell("-snapshot");
  ImageStore::DeleteOptions synchronous;
  synchronous.synchronous = true;
  TRY(Gone(db.images().Delete(kPlain, "image", synchronous)));
  TRY(db.CollectGarbage());
  return Ok();
}

Status Run(const std::string& root) {
  CrashBackends backends = TRY(OpenCrashBackends(root));
  const std::unique_ptr<Database> db = TRY(backends.OpenDatabase(root));
  return Journey(*db);
}

}  // namespace
}  // namespace corten::metadata

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const corten::Status done = corten::metadata::Run(argv[1]);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.error().text().c_str());
  return done.ok() ? 0 : 1;
}
