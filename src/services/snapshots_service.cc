#include "api/objects.h"
#include "api/values.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::snapshots::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

constexpr int kListBatch = 100;

class SnapshotsService final : public wire_api::Snapshots::CallbackService {
 public:
  SnapshotsService(Executors executors, metadata::ScopedStores* stores)
      : executors_(executors), stores_(stores) {}

  grpc::ServerUnaryReactor* Prepare(grpc::CallbackServerContext* context,
                                    const wire_api::PrepareSnapshotRequest* request,
                                    wire_api::PrepareSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts =
          TRY(snapshots.Prepare(request->key(), request->parent(), FromProto(request->labels())));
      ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* View(grpc::CallbackServerContext* context,
                                 const wire_api::ViewSnapshotRequest* request,
                                 wire_api::ViewSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts =
          TRY(snapshots.View(request->key(), request->parent(), FromProto(request->labels())));
      ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Mounts(grpc::CallbackServerContext* context,
                                   const wire_api::MountsRequest* request,
                                   wire_api::MountsResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts = TRY(snapshots.Mounts(request->key()));
      ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Commit(grpc::CallbackServerContext* context,
                                   const wire_api::CommitSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return With(context, request, [request](snapshot::Snapshotter& snapshots) {
      return snapshots.Commit(request->name(), request->key(),
                              {FromProto(request->labels()), request->parent()});
    });
  }

  grpc::ServerUnaryReactor* Remove(grpc::CallbackServerContext* context,
                                   const wire_api::RemoveSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return With(context, request, [request](snapshot::Snapshotter& snapshots) {
      return snapshots.Remove(request->key());
    });
  }

  grpc::ServerUnaryReactor* Stat(grpc::CallbackServerContext* context,
                                 const wire_api::StatSnapshotRequest* request,
                                 wire_api::StatSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const snapshot::Info info = TRY(snapshots.Stat(request->key()));
      ToProto(info, response->mutable_info());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const wire_api::UpdateSnapshotRequest* request,
                                   wire_api::UpdateSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      snapshot::Info wanted;
      wanted.name = request->info().name();
      wanted.labels = FromProto(request->info().labels());
      const snapshot::Info info = TRY(snapshots.Update(wanted, PathsOf(request->update_mask())));
      ToProto(info, response->mutable_info());
      return Ok();
    });
  }

  grpc::ServerWriteReactor<wire_api::ListSnapshotsResponse>* List(
      grpc::CallbackServerContext* context,
      const wire_api::ListSnapshotsRequest* request) override {
    return ListStreamInNamespace<wire_api::ListSnapshotsResponse, snapshot::Info>(
        context, executors_.quick, kListBatch,
        [this, name = request->snapshotter(), filters = FromProto(request->filters())](
            const model::Scope& scope) -> Result<std::vector<snapshot::Info>> {
          const std::unique_ptr<snapshot::Snapshotter> snapshots =
              TRY(stores_->Snapshots(scope, name));
          std::vector<snapshot::Info> infos;
          TRY(snapshots->Walk(filters, [&](const snapshot::Info& info) {
            infos.push_back(info);
            return Ok();
          }));
          return infos;
        },
        [](const snapshot::Info& info, wire_api::ListSnapshotsResponse* message) {
          ToProto(info, message->add_info());
        });
  }

  grpc::ServerUnaryReactor* Usage(grpc::CallbackServerContext* context,
                                  const wire_api::UsageRequest* request,
                                  wire_api::UsageResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const snapshot::Usage usage = TRY(snapshots.GetUsage(request->key()));
      response->set_size(usage.size);
      response->set_inodes(usage.inodes);
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Cleanup(grpc::CallbackServerContext* context,
                                    const wire_api::CleanupRequest* request,
                                    google::protobuf::Empty*) override {
    return With(context, request,
                [](snapshot::Snapshotter& snapshots) { return snapshots.Cleanup(); });
  }

 private:
  // Runs `work` on the named snapshotter's view for the caller. Drivers touch the disk, hence the
  // bulk executor.
  template <typename Request, typename Work>
  grpc::ServerUnaryReactor* With(grpc::CallbackServerContext* context, const Request* request,
                                 Work work) {
    return UnaryInNamespace(context, executors_.bulk,
                            [this, request, work](const model::Scope& scope) -> Status {
                              const std::unique_ptr<snapshot::Snapshotter> snapshots =
                                  TRY(stores_->Snapshots(scope, request->snapshotter()));
                              return work(*snapshots);
                            });
  }

  const Executors executors_;
  metadata::ScopedStores* const stores_;
};

}  // namespace

ServicePtr MakeSnapshotsService(Executors executors, metadata::ScopedStores* stores) {
  return std::make_unique<SnapshotsService>(executors, stores);
}

}  // namespace corten::services
