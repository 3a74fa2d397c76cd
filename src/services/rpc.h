// What every gRPC facade needs: whose call it is, where blocking work runs, and how answers leave.
//
// Facades use the callback API: a handler decodes, posts to an executor and returns; no thread
// waits for a client. A cancelled call lets the posted work finish and drops its answer. Source:
// containerd's metadata keys and error mapping, WIRE notes of the API (docs/wire.md).
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/executor.h"
#include "model/scope.h"

namespace corten::services {

// Where work runs; owned by the daemon, outlives the server.
struct Executors {
  Executor* quick;    // metadata, stat: short
  Executor* bulk;     // blobs and layers
  Executor* control;  // shim calls, mounts
};

// Code and text for the wire, with a serialised google.rpc.Status as details.
grpc::Status ToGrpc(const Error& error);
template <typename T>
grpc::Status ToGrpc(const Result<T>& result) {
  return result.ok() ? grpc::Status::OK : ToGrpc(result.error());
}

// The namespace and lease of a call's metadata, the first value of each key; empty if absent.
model::Scope ScopeOf(const grpc::ServerContextBase& context);
// As ScopeOf, but kFailedPrecondition "namespace is required" without a namespace and
// kInvalidArgument for a bad one.
Result<model::Scope> RequireScope(const grpc::ServerContextBase& context);

// Runs `work` on `executor` and ends the call with its result. `work` is Status() and fills the
// response.
template <typename Work>
grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, Executor* executor,
                                Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Status accepted = executor->Submit(
      [reactor, work = std::move(work)]() mutable { reactor->Finish(ToGrpc(work())); });
  if (!accepted.ok()) reactor->Finish(ToGrpc(accepted.error()));
  return reactor;
}
// The same with a namespace checked first: `work` is Status(const model::Scope&).
template <typename Work>
grpc::ServerUnaryReactor* UnaryInNamespace(grpc::CallbackServerContext* context, Executor* executor,
                                           Work work) {
  Result<model::Scope> scope = RequireScope(*context);
  if (!scope.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(scope.error()));
    return reactor;
  }
  return Unary(
      context, executor,
      [scope = std::move(scope).value(), work = std::move(work)]() mutable { return work(scope); });
}

// For work that holds no thread while it waits: `work` is void(const model::Scope&,
// std::function<void(Status)> done), runs in the reaction itself, must not block, and calls `done`
// once, in any thread, after the response is filled.
template <typename Work>
grpc::ServerUnaryReactor* UnaryLater(grpc::CallbackServerContext* context, Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<model::Scope> scope = RequireScope(*context);
  if (!scope.ok()) {
    reactor->Finish(ToGrpc(scope.error()));
  } else {
    work(*scope, [reactor](Status status) { reactor->Finish(ToGrpc(status)); });
  }
  return reactor;
}
// For what is in memory: an event on its way to the subscribers' queues, one row of the database,
// which is read from its mapping and never waits for a writer. `work` is
// Status(const model::Scope&), in the reaction: two changes of thread would cost more than it does.
template <typename Work>
grpc::ServerUnaryReactor* UnaryAtOnce(grpc::CallbackServerContext* context, Work work) {
  return UnaryLater(context,
                    [&](const model::Scope& scope, const auto& done) { done(work(scope)); });
}

// A server stream that is pulled: `next` fills one message and answers true, or false at the end.
// It runs on the executor, one call at a time, only after the message before has left: a slow
// client costs no thread and no memory. Deletes itself when the call is done.
template <typename Message>
class PullStream final : public grpc::ServerWriteReactor<Message> {
 public:
  using Next = std::function<Result<bool>(Message*)>;
  // kFirstCall: only the first call blocks (it gathers everything); the others run in the reaction
  // itself.
  enum class Blocking { kAlways, kFirstCall };
  // kReused: `next` is given the message as it filled it the last time. Clearing a large string
  // means writing zeros over it when it grows again.
  enum class Filled { kAnew, kReused };
  static PullStream* Start(Executor* executor, Next next, Blocking blocking = Blocking::kAlways,
                           Filled filled = Filled::kAnew) {
    auto* stream = new PullStream(executor, std::move(next), blocking, filled);
    stream->Pull();
    return stream;
  }
  static PullStream* Fail(const Error& error) {
    auto* stream = new PullStream(nullptr, {}, Blocking::kAlways, Filled::kAnew);
    stream->Finish(ToGrpc(error));
    return stream;
  }
  void OnWriteDone(bool ok) override {
    if (!ok) {
      this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "context canceled"));
    } else if (blocking_ == Blocking::kFirstCall) {
      Step();
    } else {
      Pull();
    }
  }
  void OnCancel() override { canceled_ = true; }
  void OnDone() override { delete this; }

 private:
  PullStream(Executor* executor, Next next, Blocking blocking, Filled filled)
      : executor_(executor), next_(std::move(next)), blocking_(blocking), filled_(filled) {}
  void Pull() {
    const Status accepted = executor_->Submit([this] { Step(); });
    if (!accepted.ok()) this->Finish(ToGrpc(accepted.error()));
  }
  void Step() {
    if (canceled_)
      return this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "context canceled"));
    if (filled_ == Filled::kAnew) message_.Clear();
    const Result<bool> more = next_(&message_);
    if (!more.ok()) return this->Finish(ToGrpc(more.error()));
    if (!*more) return this->Finish(grpc::Status::OK);
    this->StartWrite(&message_);
  }
  Executor* executor_;
  Next next_;
  const Blocking blocking_;
  const Filled filled_;
  Message message_;
  std::atomic<bool> canceled_{false};
};

// A stream of a list in the caller's namespace. `gather`, Result<std::vector<Entry>>(const
// model::Scope&), runs on the executor; then each message takes up to `batch` entries, each put in
// by `add`. The list is kept until the stream ends.
template <typename Message, typename Entry, typename Gather>
grpc::ServerWriteReactor<Message>* ListStreamInNamespace(grpc::CallbackServerContext* context,
                                                         Executor* executor, int batch,
                                                         Gather gather,
                                                         void (*add)(const Entry&, Message*)) {
  Result<model::Scope> scope = RequireScope(*context);
  if (!scope.ok()) return PullStream<Message>::Fail(scope.error());
  struct State {
    bool gathered = false;
    size_t next = 0;
    std::vector<Entry> entries;
  };
  auto state = std::make_shared<State>();  // owned by the stream's function, which must be copyable
  return PullStream<Message>::Start(
      executor,
      [state, batch, add, gather = std::move(gather),
       scope = std::move(scope).value()](Message* message) -> Result<bool> {
        if (!state->gathered) {
          state->entries = TRY(gather(scope));
          state->gathered = true;
        }
        const size_t left = state->entries.size() - state->next;
        const size_t count = std::min(left, static_cast<size_t>(batch));
        for (size_t i = 0; i < count; ++i) add(state->entries[state->next++], message);
        return count > 0;
      },
      PullStream<Message>::Blocking::kFirstCall);
}

}  // namespace corten::services
