#include <algorithm>

#include "api/objects.h"
#include "api/values.h"
#include "client/remote.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"

namespace corten::client {

namespace {

using api::FromProto;
using api::ToProto;

namespace contents = containerd::services::content::v1;
namespace diffs = containerd::services::diff::v1;
namespace snapshots = containerd::services::snapshots::v1;

constexpr size_t kMaxWrite = size_t{8}
                             << 20;  // bytes in one message, below the daemon's limit of 16 MiB

class RemoteReader final : public content::Reader {
 public:
  RemoteReader(ConnectionPtr connection, model::Scope scope, model::Digest digest, int64_t size)
      : connection_(std::move(connection)),
        scope_(std::move(scope)),
        digest_(std::move(digest)),
        size_(size),
        stub_(contents::Content::NewStub(connection_->channel())) {}
  ~RemoteReader() override { Drop(); }

  int64_t size() const override { return size_; }

  // Sequential reads share one stream; a jump begins a new one.
  Result<size_t> ReadAt(std::span<char> buffer, int64_t offset) override {
    if (offset >= size_ || buffer.empty()) return size_t{0};
    if (stream_ == nullptr || offset != next_) {
      Drop();
      contents::ReadContentRequest request;
      request.set_digest(digest_.str());
      request.set_offset(offset);
      context_ = std::make_unique<grpc::ClientContext>();
      connection_->Prepare(context_.get(), scope_);
      stream_ = stub_->Read(context_.get(), request);
      next_ = offset;
      chunk_.clear();
      used_ = 0;
    }
    if (used_ == chunk_.size()) {
      contents::ReadContentResponse response;
      if (!stream_->Read(&response)) {
        Status end = FromGrpc(stream_->Finish());
        stream_.reset();
        if (!end.ok()) return std::move(end).TakeError();
        return size_t{0};
      }
      chunk_ = std::move(*response.mutable_data());
      used_ = 0;
    }
    const size_t n = std::min(buffer.size(), chunk_.size() - used_);
    std::copy_n(chunk_.data() + used_, n, buffer.data());
    used_ += n;
    next_ += static_cast<int64_t>(n);
    return n;
  }

 private:
  void Drop() {
    if (stream_ == nullptr) return;
    context_->TryCancel();
    (void)stream_->Finish();  // cancelled on purpose
    stream_.reset();
  }

  ConnectionPtr connection_;
  const model::Scope scope_;
  const model::Digest digest_;
  const int64_t size_;
  std::unique_ptr<contents::Content::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<contents::ReadContentResponse>> stream_;
  std::string chunk_;
  size_t used_ = 0;
  int64_t next_ = 0;
};

class RemoteWriter final : public content::Writer {
 public:
  RemoteWriter(ConnectionPtr connection, const model::Scope& scope,
               const content::WriterOptions& options)
      : connection_(std::move(connection)),
        options_(options),
        stub_(contents::Content::NewStub(connection_->channel())) {
    connection_->Prepare(&context_, scope);
    stream_ = stub_->Write(&context_);
  }
  ~RemoteWriter() override {
    if (finished_) return;
    (void)stream_->WritesDone();  // the ingest stays
    contents::WriteContentResponse rest;
    while (stream_->Read(&rest)) {
    }
    (void)stream_->Finish();
  }

  Status Open() {
    contents::WriteContentRequest request;
    request.set_action(contents::STAT);
    request.set_ref(options_.ref);
    request.set_total(options_.total);
    request.set_expected(options_.expected.str());
    return Exchange(request);
  }
  Status Write(std::string_view data) override {
    while (!data.empty()) {
      contents::WriteContentRequest request;
      request.set_action(contents::WRITE);
      request.set_offset(offset_);
      const size_t n = std::min(data.size(), kMaxWrite);
      request.set_data(data.data(), n);
      TRY(Exchange(request));
      data.remove_prefix(n);
    }
    return Ok();
  }
  Result<content::IngestStatus> GetStatus() override {
    contents::WriteContentRequest request;
    request.set_action(contents::STAT);
    TRY(Exchange(request));
    content::IngestStatus status;
    status.ref = options_.ref;
    status.offset = offset_;
    status.total = last_.total();
    status.expected = options_.expected;
    status.started_at = FromProto(last_.started_at());
    status.updated_at = FromProto(last_.updated_at());
    return status;
  }
  Result<model::Digest> CurrentDigest() override {
    contents::WriteContentRequest request;
    request.set_action(contents::STAT);
    TRY(Exchange(request));
    return model::Digest::Parse(last_.digest());
  }
  Status Truncate(int64_t size) override {
    if (size != 0) return InvalidArgumentError("truncate: only to 0");
    if (offset_ == 0) return Ok();
    contents::WriteContentRequest request;
    request.set_action(contents::WRITE);
    return Exchange(request);  // offset 0 on a non-empty ingest starts again
  }
  Result<model::Digest> Commit(const CommitOptions& options) override {
    contents::WriteContentRequest request;
    request.set_action(contents::COMMIT);
    request.set_offset(offset_);
    request.set_total(options.size);
    request.set_expected(options.expected.str());
    ToProto(options.labels, request.mutable_labels());
    TRY(Exchange(request));
    finished_ = true;
    (void)stream_->WritesDone();
    contents::WriteContentResponse rest;
    while (stream_->Read(&rest)) {  // the original repeats its last answer
    }
    (void)stream_->Finish();
    return model::Digest::Parse(last_.digest());
  }

 private:
  // One request, one response. A broken stream's own error says why.
  Status Exchange(const contents::WriteContentRequest& request) {
    if (finished_) return FailedPreconditionError("content writer ", options_.ref, ": closed");
    if (!stream_->Write(request) || !stream_->Read(&last_)) {
      finished_ = true;
      Status end = FromGrpc(stream_->Finish());
      if (end.ok())
        return UnavailableError("content writer ", options_.ref, ": the daemon ended the stream");
      return end;
    }
    offset_ = last_.offset();
    return Ok();
  }

  ConnectionPtr connection_;
  const content::WriterOptions options_;
  grpc::ClientContext context_;
  std::unique_ptr<contents::Content::Stub> stub_;
  std::unique_ptr<
      grpc::ClientReaderWriter<contents::WriteContentRequest, contents::WriteContentResponse>>
      stream_;
  contents::WriteContentResponse last_;
  int64_t offset_ = 0;
  bool finished_ = false;
};

class RemoteContent final : public content::Store {
 public:
  RemoteContent(ConnectionPtr connection, model::Scope scope)
      : connection_(std::move(connection)),
        scope_(std::move(scope)),
        stub_(contents::Content::NewStub(connection_->channel())) {}

  Result<content::Info> GetInfo(const model::Digest& digest) override {
    contents::InfoRequest request;
    request.set_digest(digest.str());
    contents::InfoResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Info(context, request, &response); }));
    return FromProto(response.info());
  }
  Result<content::Info> Update(const content::Info& info,
                               const content::FieldPaths& paths) override {
    contents::UpdateRequest request;
    ToProto(info, request.mutable_info());
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    contents::UpdateResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Update(context, request, &response); }));
    return FromProto(response.info());
  }
  Status Walk(const content::Filters& filters,
              const std::function<Status(const content::Info&)>& visit) override {
    contents::ListContentRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    const auto stream = stub_->List(&context, request);
    contents::ListContentResponse response;
    Status visited;
    while (visited.ok() && stream->Read(&response)) {
      for (const contents::Info& message : response.info()) {
        const Result<content::Info> info = FromProto(message);
        visited = info.ok() ? visit(*info) : Status(info.error().Clone());
        if (!visited.ok()) break;
      }
    }
    if (!visited.ok()) context.TryCancel();
    const Status done = FromGrpc(stream->Finish());
    return visited.ok() && !done.ok() ? Status(done.error().Clone()) : std::move(visited);
  }
  Status Delete(const model::Digest& digest) override {
    contents::DeleteContentRequest request;
    request.set_digest(digest.str());
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Delete(context, request, &response); });
  }
  Result<std::unique_ptr<content::Reader>> OpenReader(const model::Digest& digest) override {
    const content::Info info = TRY(GetInfo(digest));
    return std::make_unique<RemoteReader>(connection_, scope_, digest, info.size);
  }
  Result<std::unique_ptr<content::Writer>> OpenWriter(
      const content::WriterOptions& options) override {
    auto writer = std::make_unique<RemoteWriter>(connection_, scope_, options);
    TRY(writer->Open());
    return writer;
  }
  Result<content::IngestStatus> GetStatus(const std::string& ref) override {
    contents::StatusRequest request;
    request.set_ref(ref);
    contents::StatusResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Status(context, request, &response); }));
    return FromProto(response.status());
  }
  Result<std::vector<content::IngestStatus>> ListStatuses(
      const content::Filters& filters) override {
    contents::ListStatusesRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    contents::ListStatusesResponse response;
    TRY(Call([&](grpc::ClientContext* context) {
      return stub_->ListStatuses(context, request, &response);
    }));
    std::vector<content::IngestStatus> out;
    for (const contents::Status& message : response.statuses()) {
      content::IngestStatus status = TRY(FromProto(message));
      out.push_back(std::move(status));
    }
    return out;
  }
  Status Abort(const std::string& ref) override {
    contents::AbortRequest request;
    request.set_ref(ref);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Abort(context, request, &response); });
  }

 private:
  template <typename F>
  Status Call(F call) {
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    return FromGrpc(call(&context));
  }
  ConnectionPtr connection_;
  const model::Scope scope_;
  std::unique_ptr<contents::Content::Stub> stub_;
};

class RemoteSnapshotter final : public snapshot::Snapshotter {
 public:
  RemoteSnapshotter(ConnectionPtr connection, model::Scope scope, std::string name)
      : connection_(std::move(connection)),
        scope_(std::move(scope)),
        name_(std::move(name)),
        stub_(snapshots::Snapshots::NewStub(connection_->channel())) {}

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    snapshots::PrepareSnapshotRequest request = Named<snapshots::PrepareSnapshotRequest>(key);
    request.set_parent(parent);
    ToProto(labels, request.mutable_labels());
    snapshots::PrepareSnapshotResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Prepare(context, request, &response); }));
    return FromProto(response.mounts());
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    snapshots::ViewSnapshotRequest request = Named<snapshots::ViewSnapshotRequest>(key);
    request.set_parent(parent);
    ToProto(labels, request.mutable_labels());
    snapshots::ViewSnapshotResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->View(context, request, &response); }));
    return FromProto(response.mounts());
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
    const snapshots::MountsRequest request = Named<snapshots::MountsRequest>(key);
    snapshots::MountsResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Mounts(context, request, &response); }));
    return FromProto(response.mounts());
  }
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override {
    snapshots::CommitSnapshotRequest request = Named<snapshots::CommitSnapshotRequest>(key);
    request.set_name(name);
    request.set_parent(options.parent);
    ToProto(options.labels, request.mutable_labels());
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Commit(context, request, &response); });
  }
  Status Remove(const std::string& key) override {
    const snapshots::RemoveSnapshotRequest request = Named<snapshots::RemoveSnapshotRequest>(key);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Remove(context, request, &response); });
  }
  Result<snapshot::Info> Stat(const std::string& key) override {
    const snapshots::StatSnapshotRequest request = Named<snapshots::StatSnapshotRequest>(key);
    snapshots::StatSnapshotResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Stat(context, request, &response); }));
    return FromProto(response.info());
  }
  Result<snapshot::Info> Update(const snapshot::Info& info,
                                const snapshot::FieldPaths& paths) override {
    snapshots::UpdateSnapshotRequest request;
    request.set_snapshotter(name_);
    ToProto(info, request.mutable_info());
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    snapshots::UpdateSnapshotResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Update(context, request, &response); }));
    return FromProto(response.info());
  }
  Status Walk(const snapshot::Filters& filters,
              const std::function<Status(const snapshot::Info&)>& visit) override {
    snapshots::ListSnapshotsRequest request;
    request.set_snapshotter(name_);
    for (const std::string& filter : filters) request.add_filters(filter);
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    const auto stream = stub_->List(&context, request);
    snapshots::ListSnapshotsResponse response;
    Status visited;
    while (visited.ok() && stream->Read(&response)) {
      for (const snapshots::Info& info : response.info()) {
        visited = visit(FromProto(info));
        if (!visited.ok()) break;
      }
    }
    if (!visited.ok()) context.TryCancel();
    const Status done = FromGrpc(stream->Finish());
    return visited.ok() && !done.ok() ? Status(done.error().Clone()) : std::move(visited);
  }
  Result<snapshot::Usage> GetUsage(const std::string& key) override {
    const snapshots::UsageRequest request = Named<snapshots::UsageRequest>(key);
    snapshots::UsageResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Usage(context, request, &response); }));
    return snapshot::Usage{response.inodes(), response.size()};
  }
  Status Cleanup() override {
    snapshots::CleanupRequest request;
    request.set_snapshotter(name_);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Cleanup(context, request, &response); });
  }

 private:
  template <typename Request>
  Request Named(const std::string& key) const {
    Request request;
    request.set_snapshotter(name_);
    request.set_key(key);
    return request;
  }
  template <typename F>
  Status Call(F call) {
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    return FromGrpc(call(&context));
  }
  ConnectionPtr connection_;
  const model::Scope scope_;
  const std::string name_;
  std::unique_ptr<snapshots::Snapshots::Stub> stub_;
};

class Differ final : public diff::Differ {
 public:
  Differ(ConnectionPtr connection, model::Scope scope)
      : connection_(std::move(connection)),
        scope_(std::move(scope)),
        stub_(diffs::Diff::NewStub(connection_->channel())) {}

  Result<model::Descriptor> Apply(const model::Descriptor& descriptor,
                                  const std::vector<model::Mount>& mounts,
                                  const diff::ApplyOptions& options) override {
    diffs::ApplyRequest request;
    ToProto(descriptor, request.mutable_diff());
    ToProto(mounts, request.mutable_mounts());
    for (const auto& [id, any] : options.processor_payloads)
      ToProto(any, &(*request.mutable_payloads())[id]);
    request.set_sync_fs(options.sync_fs);
    diffs::ApplyResponse response;
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    TRY(FromGrpc(stub_->Apply(&context, request, &response)));
    return FromProto(response.applied());
  }
  Result<model::Descriptor> Compare(const std::vector<model::Mount>& lower,
                                    const std::vector<model::Mount>& upper,
                                    const diff::CompareOptions& options) override {
    diffs::DiffRequest request;
    ToProto(lower, request.mutable_left());
    ToProto(upper, request.mutable_right());
    request.set_media_type(options.media_type);
    request.set_ref(options.reference);
    ToProto(options.labels, request.mutable_labels());
    if (options.source_date_epoch.has_value())
      ToProto(*options.source_date_epoch, request.mutable_source_date_epoch());
    diffs::DiffResponse response;
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    TRY(FromGrpc(stub_->Diff(&context, request, &response)));
    return FromProto(response.diff());
  }

 private:
  ConnectionPtr connection_;
  const model::Scope scope_;
  std::unique_ptr<diffs::Diff::Stub> stub_;
};

class Stores final : public metadata::ScopedStores {
 public:
  explicit Stores(ConnectionPtr connection) : connection_(std::move(connection)) {}
  std::unique_ptr<content::Store> Content(const model::Scope& scope) override {
    return std::make_unique<RemoteContent>(connection_, scope);
  }
  Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(
      const model::Scope& scope, const std::string& snapshotter) override {
    return std::make_unique<RemoteSnapshotter>(connection_, scope, snapshotter);
  }

 private:
  ConnectionPtr connection_;
};

}  // namespace

std::unique_ptr<metadata::ScopedStores> RemoteStores(ConnectionPtr connection) {
  return std::make_unique<Stores>(std::move(connection));
}
std::unique_ptr<diff::Differ> RemoteDiffer(ConnectionPtr connection, model::Scope scope) {
  return std::make_unique<Differ>(std::move(connection), std::move(scope));
}

}  // namespace corten::client
