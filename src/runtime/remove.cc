// Leaving: a task that is deleted, and tasks whose shim has died.
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "base/failpoint.h"
#include "containerd/task/v3/task.pb.h"
#include "runtime/tasks_core.h"
#include "wire/ttrpc_client.h"
#include "wire/unix_socket.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

constexpr uint32_t kUnknownExit = 255;
constexpr int kDeleteAttempts = 3;
// A shim's last events come on another connection than the one whose end was noticed.
constexpr std::chrono::milliseconds kLastEvents{50};
// Only the connection of a shim may have died: one that still listens has nothing left to do and is
// told to end.
constexpr std::chrono::milliseconds kProbe{100};
// A shim that keeps its connection after Shutdown: it may serve others. Ours is closed then.
constexpr std::chrono::seconds kLeaveGrace{10};

}  // namespace

void Tasks::Core::Delete(const CallOptions& call, const TaskKey& task, Done<ExitInfo> done) {
  FAILPOINT("runtime.delete.asked");
  const Result<TaskLink> link = table.Find(task);
  pb::DeleteRequest request;
  request.set_id(task.id.str());
  CallShim(call, task, "Delete", request.SerializeAsString(),
           [self = shared_from_this(), task, link = link.ok() ? *link : TaskLink{},
            found = link.ok(), done = std::move(done)](Result<std::string> reply) {
             if (!found) return self->Finish<ExitInfo>(done, std::move(reply).TakeError());
             const bool gone = !reply.ok() && wire::IsClosedError(reply.error());
             if (gone && self->stopping)
               return done(std::move(reply).TakeError());  // our own closing: recovery goes on
             if (!reply.ok() && !gone && !reply.error().Is(Code::kNotFound)) {
               return self->Finish<ExitInfo>(
                   done, std::move(reply).TakeError().Context("failed to delete task"));
             }
             // Now it is certain that the shim has nothing left of it. Of several callers one goes
             // on.
             if (!self->table.TakeForRemoval(task)) {
               return self->Finish<ExitInfo>(done,
                                             NotFoundError("task ", task.id.str(), " not found"));
             }
             auto answer = std::make_shared<Result<ExitInfo>>(ExitInfo{});
             pb::DeleteResponse response;
             if (!reply.ok()) {
               *answer = std::move(reply).TakeError();
             } else if (response.ParseFromString(*reply)) {
               *answer = ExitInfo{response.pid(), response.exit_status(),
                                  FromStamp(response.has_exited_at(), response.exited_at())};
             }
             self->Background([self, task, link, answer, done] {
               self->FinishDelete(task, link, std::move(*answer), done);
             });
           });
}

void Tasks::Core::FinishDelete(const TaskKey& task, const TaskLink& link, Result<ExitInfo> answer,
                               Done<ExitInfo> done) {
  FAILPOINT("runtime.delete.deleted");
  if (!answer.ok() && wire::IsClosedError(answer.error())) {
    // The shim died over it: the container is ended without it, and then the delete has succeeded.
    const ExitInfo exit = CleanDead(task, link);
    return done(exit);
  }
  // Before the shim ends: the next daemon would take it for one that died, and tell the exit again.
  if (answer.ok() && link.keeps_events) (void)bundles.At(task).MarkDeleted();
  LetGo(task, link.shim, link.joined_sandbox);
  FAILPOINT("runtime.delete.shut_down");
  logs.Forget(task);
  Status removed = bundles.Remove(task);
  if (links.mounts != nullptr)
    (void)links.mounts->Deactivate(task);  // the collector does it otherwise
  if (answer.ok()) answer = TrueExit(task, *answer);
  const bool gone = link.shim->closed();
  table.Remove(task, answer.ok() ? *answer : ExitInfo{});
  if (gone) PublishLeftOut(link.shim.get());
  FAILPOINT("runtime.delete.removed");
  if (!removed.ok() && answer.ok())
    answer = std::move(removed).TakeError().Context("failed to delete bundle");
  done(std::move(answer));
}

// Go's shim answers the Delete of a task that never started before it has seen the end of the
// process: then the exit that it tells a moment later is the true one (I6).
ExitInfo Tasks::Core::TrueExit(const TaskKey& task, const ExitInfo& answer) {
  if (answer.at > kZeroTime) return answer;
  struct Seen {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<ExitInfo> exit;
  };
  auto seen = std::make_shared<Seen>();  // shared with a waiter that may outlast this wait
  const Result<TaskTable::WaitId> wait = table.Wait({task, {}}, [seen](Result<ExitInfo> exit) {
    const std::lock_guard lock(seen->mutex);
    if (exit.ok()) seen->exit = *exit;
    seen->changed.notify_all();
  });
  if (!wait.ok()) return answer;
  std::unique_lock lock(seen->mutex);
  (void)seen->changed.wait_for(lock, kLastEvents * 4, [&] { return seen->exit.has_value(); });
  const ExitInfo exit = seen->exit.value_or(ExitInfo{answer.pid, kUnknownExit, Now()});
  lock.unlock();
  (void)table.CancelWait(*wait);
  return exit;
}

void Tasks::Core::LetGo(const TaskKey& task, const std::shared_ptr<ShimClient>& shim,
                        bool joined_sandbox) {
  if (!pool.Release(shim)) return;
  if (!joined_sandbox || shim->version() < kMaxTaskVersion) {
    pb::ShutdownRequest request;
    request.set_id(task.id.str());
    // Answered or closed are both fine; without an answer the shim is left to itself.
    (void)shim->CallSync(task.ns, "Shutdown", request.SerializeAsString(),
                         settings.shutdown_deadline);
  }
  loop.Post([self = shared_from_this(), shim] {
    self->loop.loop().After(kLeaveGrace, [self, shim] { self->pool.Forget(shim); });
  });
}

void Tasks::Core::PublishLeftOut(const ShimClient* shim) {
  loop.Post([self = shared_from_this(), shim] {
    self->loop.loop().After(kLastEvents, [self, shim] {
      for (const TaskTable::Untold& untold : self->table.LeftOut(shim)) self->Publish(untold);
    });
  });
}

void Tasks::Core::OnShimClosed(const std::shared_ptr<ShimClient>& shim) {
  if (stopping) return;
  PublishLeftOut(shim.get());
  for (auto& [task, link] : table.ShimLost(shim.get())) {
    Background([self = shared_from_this(), task = task, link = link] {
      (void)self->CleanDead(task, link);
    });
  }
}

ExitInfo Tasks::Core::DeleteDead(const Bundle& bundle, const std::string& binary) const {
  // More than once: when it fails, a container without a bundle stays behind that nobody would ever
  // look for.
  for (int attempt = 0; !binary.empty() && attempt < kDeleteAttempts; ++attempt) {
    Result<ExitInfo> exit = starter.Delete(binary, bundle);
    if (exit.ok()) return std::move(*exit);
    if (!exit.error().Is(Code::kDeadlineExceeded)) break;
  }
  return {0, kUnknownExit, Now()};
}

ExitInfo Tasks::Core::CleanDead(const TaskKey& task, const TaskLink& link) {
  const Bundle bundle = bundles.At(task);
  std::string binary = link.binary;
  if (binary.empty()) {  // joined by its sandbox: the record's runtime has to do
    Result<std::string> resolved = ResolveShim(link.runtime);
    if (resolved.ok()) binary = std::move(*resolved);
  }
  const ExitInfo said = DeleteDead(bundle, binary);
  FAILPOINT("runtime.dead.deleted");
  (void)UnmountRootfs(bundle.rootfs());  // tried again by Remove
  ExitInfo exit = said;
  // All publishing happens on the shim loop, so that it stays in order with what shims send.
  loop.RunSync([&] {
    TaskTable::Untold untold = table.Bury(task, said);
    if (!untold.exits.empty() && untold.exits.back().first.exec.empty())
      exit = untold.exits.back().second;
    Publish(untold);
  });
  FAILPOINT("runtime.dead.told");
  logs.Forget(task);
  (void)bundles.Remove(task);  // busy: the next Create of this id, or recovery, tries again
  if (links.mounts != nullptr)
    (void)links.mounts->Deactivate(task);  // the collector does it otherwise
  if (link.shim != nullptr) EndRemains(task, link.shim->endpoint(), link.joined_sandbox);
  table.Remove(task, exit);
  return exit;
}

void Tasks::Core::EndRemains(const TaskKey& task, const Endpoint& endpoint, bool joined_sandbox) {
  Result<std::shared_ptr<ShimClient>> alive = pool.Acquire(endpoint, -1, kProbe);
  if (alive.ok()) return LetGo(task, *alive, joined_sandbox);
  const std::string ours = StrCat("unix://", settings.shim.socket_dir, "/");
  // Nobody listens: the socket is litter of a killed shim.
  if (alive.error().Is(Code::kUnavailable) && endpoint.address.starts_with(ours)) {
    (void)unlink(endpoint.address.c_str() + std::string_view("unix://").size());
  }
}

}  // namespace corten::runtime
