#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "services/convert.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace api = containerd::services::snapshots::v1;

namespace {

constexpr int kListBatch = 100;

void ToProto(const snapshot::Info& info, api::Info* out) {
  out->set_name(info.name);
  out->set_parent(info.parent);
  out->set_kind(static_cast<api::Kind>(info.kind));  // same numbers
  services::ToProto(info.created_at, out->mutable_created_at());
  services::ToProto(info.updated_at, out->mutable_updated_at());
  services::ToProto(info.labels, out->mutable_labels());
}

class SnapshotsService final : public api::Snapshots::CallbackService {
 public:
  SnapshotsService(Executors executors, metadata::ScopedStores* stores) : executors_(executors), stores_(stores) {}

  grpc::ServerUnaryReactor* Prepare(grpc::CallbackServerContext* context, const api::PrepareSnapshotRequest* request,
                                    api::PrepareSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts =
          TRY(snapshots.Prepare(request->key(), request->parent(), FromProto(request->labels())));
      services::ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* View(grpc::CallbackServerContext* context, const api::ViewSnapshotRequest* request,
                                 api::ViewSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts = TRY(snapshots.View(request->key(), request->parent(), FromProto(request->labels())));
      services::ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Mounts(grpc::CallbackServerContext* context, const api::MountsRequest* request,
                                   api::MountsResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const std::vector<model::Mount> mounts = TRY(snapshots.Mounts(request->key()));
      services::ToProto(mounts, response->mutable_mounts());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Commit(grpc::CallbackServerContext* context, const api::CommitSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return With(context, request, [request](snapshot::Snapshotter& snapshots) {
      return snapshots.Commit(request->name(), request->key(), {FromProto(request->labels()), request->parent()});
    });
  }

  grpc::ServerUnaryReactor* Remove(grpc::CallbackServerContext* context, const api::RemoveSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return With(context, request, [request](snapshot::Snapshotter& snapshots) { return snapshots.Remove(request->key()); });
  }

  grpc::ServerUnaryReactor* Stat(grpc::CallbackServerContext* context, const api::StatSnapshotRequest* request,
                                 api::StatSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const snapshot::Info info = TRY(snapshots.Stat(request->key()));
      ToProto(info, response->mutable_info());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const api::UpdateSnapshotRequest* request,
                                   api::UpdateSnapshotResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      snapshot::Info wanted;
      wanted.name = request->info().name();
      wanted.labels = FromProto(request->info().labels());
      const snapshot::Info info = TRY(snapshots.Update(wanted, PathsOf(request->update_mask())));
      ToProto(info, response->mutable_info());
      return Ok();
    });
  }

  grpc::ServerWriteReactor<api::ListSnapshotsResponse>* List(grpc::CallbackServerContext* context,
                                                             const api::ListSnapshotsRequest* request) override {
    using Stream = PullStream<api::ListSnapshotsResponse>;
    const Result<model::Scope> scope = RequireScope(*context);
    if (!scope.ok()) return Stream::Fail(scope.error());
    struct State {
      bool listed = false;
      size_t next = 0;
      std::vector<snapshot::Info> infos;
    };
    auto state = std::make_shared<State>();  // owned by the stream's function, which must be copyable
    return Stream::Start(executors_.quick, [this, state, scope = *scope, name = request->snapshotter(),
                                            filters = FromProto(request->filters())](api::ListSnapshotsResponse* message) -> Result<bool> {
      if (!state->listed) {
        const std::unique_ptr<snapshot::Snapshotter> snapshots = TRY(stores_->Snapshots(scope, name));
        TRY(snapshots->Walk(filters, [&](const snapshot::Info& info) {
          state->infos.push_back(info);
          return Ok();
        }));
        state->listed = true;
      }
      for (int i = 0; i < kListBatch && state->next < state->infos.size(); ++i) ToProto(state->infos[state->next++], message->add_info());
      return message->info_size() > 0;
    });
  }

  grpc::ServerUnaryReactor* Usage(grpc::CallbackServerContext* context, const api::UsageRequest* request,
                                  api::UsageResponse* response) override {
    return With(context, request, [request, response](snapshot::Snapshotter& snapshots) -> Status {
      const snapshot::Usage usage = TRY(snapshots.GetUsage(request->key()));
      response->set_size(usage.size);
      response->set_inodes(usage.inodes);
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Cleanup(grpc::CallbackServerContext* context, const api::CleanupRequest* request,
                                    google::protobuf::Empty*) override {
    return With(context, request, [](snapshot::Snapshotter& snapshots) { return snapshots.Cleanup(); });
  }

 private:
  // Runs `work` on the named snapshotter's view for the caller. Drivers touch the disk, hence the bulk executor.
  template <typename Request, typename Work>
  grpc::ServerUnaryReactor* With(grpc::CallbackServerContext* context, const Request* request, Work work) {
    return UnaryInNamespace(context, executors_.bulk, [this, request, work](const model::Scope& scope) -> Status {
      const std::unique_ptr<snapshot::Snapshotter> snapshots = TRY(stores_->Snapshots(scope, request->snapshotter()));
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
