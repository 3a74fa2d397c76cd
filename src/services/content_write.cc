#include "services/content_write.h"

#include <utility>

#include "api/values.h"

namespace corten::services {

namespace wire_api = containerd::services::content::v1;

namespace {

using api::FromProto;
using api::ToProto;

// One request at a time: read -> work on the bulk executor -> write the response -> read. So
// nothing here needs a lock.
class WriteReactor final : public grpc::ServerBidiReactor<wire_api::WriteContentRequest,
                                                          wire_api::WriteContentResponse> {
 public:
  WriteReactor(Result<model::Scope> scope, Executors executors, metadata::ScopedStores* stores)
      : executors_(executors) {
    if (!scope.ok()) {
      Finish(ToGrpc(scope.error()));
      return;
    }
    store_ = stores->Content(*scope);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {  // half-close or cancel: the ingest stays
      Post([this] {
        writer_.reset();
        Finish(grpc::Status::OK);
      });
      return;
    }
    Post([this] { Serve(); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      Post([this] {
        writer_.reset();
        Finish(grpc::Status(grpc::StatusCode::CANCELLED, "context canceled"));
      });
    } else if (committed_) {
      Finish(grpc::Status::OK);
    } else {
      StartRead(&request_);
    }
  }

  void OnDone() override { delete this; }

 private:
  void Post(std::function<void()> work) {
    const Status accepted = executors_.bulk->Submit(std::move(work));
    if (!accepted.ok()) Finish(ToGrpc(accepted.error()));
  }

  void Serve() {
    response_.Clear();
    const Status done = Handle();
    if (!done.ok()) {
      writer_.reset();  // the ref is free before the client hears of the failure and tries again
      Finish(ToGrpc(done.error()));
      return;
    }
    StartWrite(&response_);
  }

  Status Handle() {
    if (writer_ == nullptr) TRY(Open());
    TRY(TakeExpectations());
    response_.set_action(request_.action());
    switch (request_.action()) {
      case wire_api::STAT:
        return Describe();
      case wire_api::WRITE:
        TRY(Append());
        return Describe();
      case wire_api::COMMIT:
        TRY(Append());
        return Commit();
      default:
        return InvalidArgumentError("content write: unknown action ",
                                    static_cast<int>(request_.action()));
    }
  }

  Status Open() {
    if (request_.ref().empty()) return InvalidArgumentError("first message must have a reference");
    content::WriterOptions options;
    options.ref = request_.ref();
    options.total = request_.total();
    if (!request_.expected().empty())
      options.expected = TRY(model::Digest::Parse(request_.expected()));
    writer_ = TRY(store_->OpenWriter(options));
    const content::IngestStatus status = TRY(writer_->GetStatus());
    ref_ = options.ref;
    just_opened_ = true;
    offset_ = status.offset;
    started_at_ = status.started_at;
    return Ok();
  }

  // `expected` and `total` may come, or change, with any message.
  Status TakeExpectations() {
    if (request_.total() > 0) total_ = request_.total();
    if (request_.expected().empty()) {
      just_opened_ = false;
      return Ok();
    }
    const model::Digest expected = TRY(model::Digest::Parse(request_.expected()));
    if (expected == expected_) return Ok();
    expected_ = expected;
    if (std::exchange(just_opened_, false)) return Ok();  // OpenWriter has looked for it already
    if (store_->GetInfo(expected).ok()) {
      writer_.reset();
      (void)store_->Abort(ref_);  // it may be gone already
      return AlreadyExistsError("blob with expected digest ", expected.str(), " exists");
    }
    return Ok();
  }

  Status Append() {
    const int64_t offset = request_.offset();
    if (offset > 0 && offset != offset_) {
      return OutOfRangeError("write @", offset, " must occur at current offset ", offset_);
    }
    if (offset == 0 && offset_ > 0) {  // start again
      TRY(writer_->Truncate(0));
      offset_ = 0;
    }
    if (request_.data().empty()) return Ok();
    TRY(writer_->Write(request_.data()));
    offset_ += static_cast<int64_t>(request_.data().size());
    return Ok();
  }

  Status Describe() {
    if (request_.action() == wire_api::STAT) {
      const content::IngestStatus status = TRY(writer_->GetStatus());
      const model::Digest digest = TRY(writer_->CurrentDigest());
      offset_ = status.offset;
      response_.set_digest(digest.str());
      response_.set_total(status.total);
      ToProto(status.started_at, response_.mutable_started_at());
      ToProto(status.updated_at, response_.mutable_updated_at());
    }
    // The digest so far is finalised on a copy of the state for STAT and COMMIT only: clients read
    // it there.
    response_.set_offset(offset_);
    return Ok();
  }

  Status Commit() {
    content::Writer::CommitOptions options;
    options.size = total_;
    options.expected = expected_;
    options.labels = FromProto(request_.labels());
    const model::Digest digest = TRY(writer_->Commit(options));
    committed_ = true;
    response_.set_digest(digest.str());
    response_.set_offset(offset_);
    response_.set_total(total_);
    ToProto(started_at_, response_.mutable_started_at());
    ToProto(Now(), response_.mutable_updated_at());
    writer_.reset();
    return Ok();
  }

  const Executors executors_;
  std::unique_ptr<content::Store> store_;
  std::unique_ptr<content::Writer> writer_;
  wire_api::WriteContentRequest request_;
  wire_api::WriteContentResponse response_;
  std::string ref_;
  Time started_at_;
  int64_t offset_ = 0;
  int64_t total_ = 0;
  model::Digest expected_;
  bool just_opened_ = false;
  bool committed_ = false;
};

}  // namespace

grpc::ServerBidiReactor<wire_api::WriteContentRequest, wire_api::WriteContentResponse>*
StartContentWrite(grpc::CallbackServerContext* context, Executors executors,
                  metadata::ScopedStores* stores) {
  return new WriteReactor(RequireScope(*context), executors, stores);
}

}  // namespace corten::services
