#include "runtime/recovery.h"

#include <poll.h>

#include <algorithm>
#include <csignal>
#include <mutex>

#include "base/failpoint.h"
#include "containerd/task/v3/task.pb.h"
#include "runtime/tasks_core.h"
#include "wire/ttrpc_client.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

using Clock = std::chrono::steady_clock;

constexpr size_t kRecoverThreads = 16;  // they wait most of the time

enum class Outcome { kAdopted, kStopped, kDoubtful, kDead, kLeftover, kEmpty };

// One bundle's way back. Runs on a thread of its own executor.
class Revival {
 public:
  Revival(Tasks::Core& core, TaskKey key)
      : core_(core),
        key_(std::move(key)),
        bundle_(core.bundles.At(key_)),
        end_(Clock::now() + core.settings.load_deadline) {}

  // nullopt with a trouble: the bundle is left as it is.
  std::optional<Outcome> Run(std::string* trouble);

 private:
  std::chrono::nanoseconds Left() const {
    return std::max<std::chrono::nanoseconds>(end_ - Clock::now(), std::chrono::milliseconds(1));
  }
  bool Connect();
  Outcome Adopt(ProcessStatus status);
  Outcome Evict();
  Outcome Bury();
  Outcome Leftover();
  bool IsSandbox() const;
  Result<pb::StateResponse> AskState();
  Result<pb::StateResponse> AwaitTask();

  Tasks::Core& core_;
  const TaskKey key_;
  const Bundle bundle_;
  const Clock::time_point end_;
  TaskLink link_;
  Endpoint endpoint_;
  ProcessState init_;
};

std::optional<Outcome> Revival::Run(std::string* trouble) {
  FAILPOINT("runtime.recover.begin");
  const Result<bool> empty = bundle_.IsEmpty();
  if (empty.ok() && *empty) {
    (void)core_.bundles.Remove(key_);  // swept at the next start otherwise
    return Outcome::kEmpty;
  }
  Status reserved = core_.table.Reserve(key_);
  if (!reserved.ok()) {
    *trouble = reserved.error().text();
    return std::nullopt;
  }
  const Result<metadata::Container> container = core_.links.containers->Get(key_.ns, key_.id);
  if (!container.ok() && !container.error().Is(Code::kNotFound)) {
    *trouble = StrCat("bundle ", key_.ns.str(), "/", key_.id.str(), ": ", container.error().text());
    core_.table.Abandon(key_);
    return std::nullopt;
  }
  if (container.ok()) link_.runtime = container->runtime.name;
  link_.joined_sandbox = bundle_.JoinedSandbox();
  Result<std::string> binary = bundle_.ReadShimBinary();
  if (!binary.ok() && !link_.runtime.empty()) binary = core_.ResolveShim(link_.runtime);
  if (binary.ok()) link_.binary = std::move(*binary);
  link_.keeps_events = core_.starter.IsOwn(link_.binary);

  // First: a shim that was just starting waits for a reader of its log.
  (void)core_.logs.Watch(bundle_);  // without it the shim's log is lost, nothing else
  const bool connected = Connect();
  FAILPOINT("runtime.recover.connected");
  if (!connected) return Bury();
  Result<pb::StateResponse> state = AskState();
  if (!state.ok() && state.error().Is(Code::kNotFound) && !IsSandbox() &&
      !FAILPOINT_SKIPS("runtime.recover.await")) {
    state = AwaitTask();
    if (!state.ok() && wire::IsClosedError(state.error()))
      return Leftover();  // it had nothing and has ended
  }
  if (state.ok()) {
    init_.pid = state->pid();
    init_.io = {state->stdin(), state->stdout(), state->stderr(), state->terminal()};
    init_.exit_status = state->exit_status();
    init_.exited_at = FromStamp(state->has_exited_at(), state->exited_at());
    const Outcome outcome =
        Adopt(static_cast<ProcessStatus>(std::clamp<int>(state->status(), 0, 5)));
    const bool owned = container.ok() || IsSandbox() || FAILPOINT_SKIPS("runtime.recover.evict");
    return owned ? outcome : Evict();
  }
  if (state.error().Is(Code::kNotFound)) return Leftover();
  if (wire::IsClosedError(state.error())) return Bury();
  *trouble = StrCat("task ", key_.ns.str(), "/", key_.id.str(),
                    ": shim does not answer: ", state.error().text());
  return Adopt(ProcessStatus::kUnknown);
}

bool Revival::Connect() {
  Result<Endpoint> endpoint = bundle_.ReadEndpoint();
  if (!endpoint.ok()) {
    // Killed before the address was written: the shim listens where it must, or does not exist.
    const Result<std::string> spec = bundle_.ReadSpec();
    endpoint = core_.starter.GuessEndpoint(key_, ReadSpecFacts(spec.ok() ? *spec : std::string()));
  }
  endpoint_ = *endpoint;
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(Left());
  Result<std::shared_ptr<ShimClient>> client = core_.pool.Acquire(endpoint_, -1, timeout);
  if (!client.ok()) return false;
  link_.shim = std::move(*client);
  return true;
}

Result<pb::StateResponse> Revival::AskState() {
  pb::StateRequest request;
  request.set_id(key_.id.str());
  Result<std::string> reply =
      link_.shim->CallSync(key_.ns, "State", request.SerializeAsString(), Left());
  if (!reply.ok() && reply.error().Is(Code::kUnimplemented) && link_.shim->Downgrade()) {
    reply = link_.shim->CallSync(key_.ns, "State", request.SerializeAsString(), Left());
  }
  if (!reply.ok()) return std::move(reply).TakeError();
  pb::StateResponse response;
  if (!response.ParseFromString(*reply)) return InternalError("unreadable answer");
  return response;
}

// The shim lives and knows no such task. If it has none at all it ends when it is told to. If a
// create that the killed daemon had asked for is still under way, the shim stays and the task
// appears: it must not be left to itself.
Result<pb::StateResponse> Revival::AwaitTask() {
  constexpr int kStepMs = 10;
  // A call that is given less may run out of time though the shim is well: what it said last
  // stands.
  constexpr std::chrono::milliseconds kAnswerTime{500};
  pb::ShutdownRequest shutdown;
  shutdown.set_id(key_.id.str());
  (void)link_.shim->CallSync(key_.ns, "Shutdown", shutdown.SerializeAsString(),
                             Left());  // what counts is what follows
  while (true) {
    Result<pb::StateResponse> state = AskState();
    if (state.ok() || !state.error().Is(Code::kNotFound) ||
        Left() <= std::chrono::milliseconds(kStepMs) + kAnswerTime)
      return state;
    (void)poll(nullptr, 0, kStepMs);
  }
}

bool Revival::IsSandbox() const {
  return core_.links.sandboxes != nullptr &&
         core_.links.sandboxes->Get(key_.ns, model::SandboxId(key_.id.str())).ok();
}

Outcome Revival::Adopt(ProcessStatus status) {
  init_.status = status;
  core_.table.Adopt(key_, link_, init_);
  FAILPOINT("runtime.recover.adopted");
  if (status == ProcessStatus::kStopped) return Outcome::kStopped;
  core_.Watch({key_, {}});
  if (status != ProcessStatus::kUnknown) return Outcome::kAdopted;
  // Asked without hurry: whenever it wakes up, the table learns.
  core_.AskState({key_, {}}, kCallLimit, [](Result<ProcessState>) {});
  return Outcome::kDoubtful;
}

// An adopted task that no container row stands for: ended by its shim, which then tells the exit as
// usual.
Outcome Revival::Evict() {
  pb::KillRequest kill;
  kill.set_id(key_.id.str());
  kill.set_signal(SIGKILL);
  kill.set_all(true);
  pb::WaitRequest wait;
  wait.set_id(key_.id.str());
  pb::DeleteRequest remove;
  remove.set_id(key_.id.str());
  (void)link_.shim->CallSync(key_.ns, "Kill", kill.SerializeAsString(),
                             Left());  // exited already, or Wait will tell
  (void)link_.shim->CallSync(key_.ns, "Wait", wait.SerializeAsString(), Left());  // or Delete will
  const Result<std::string> removed =
      link_.shim->CallSync(key_.ns, "Delete", remove.SerializeAsString(), Left());
  if (!core_.table.TakeForRemoval(key_))
    return Outcome::kDead;  // its shim died: that is being cleaned up
  pb::DeleteResponse answer;
  if (!removed.ok() || !answer.ParseFromString(*removed)) return Bury();
  if (link_.keeps_events) (void)bundle_.MarkDeleted();  // as in FinishDelete
  core_.LetGo(key_, link_.shim, link_.joined_sandbox);
  core_.logs.Forget(key_);
  (void)core_.bundles.Remove(key_);  // as in Bury
  core_.table.Remove(key_, {answer.pid(), answer.exit_status(),
                            FromStamp(answer.has_exited_at(), answer.exited_at())});
  FAILPOINT("runtime.recover.evicted");
  return Outcome::kDead;
}

Outcome Revival::Bury() {
  const ExitInfo exit = FAILPOINT_SKIPS("runtime.recover.delete")
                            ? ExitInfo{}
                            : core_.DeleteDead(bundle_, link_.binary);
  FAILPOINT("runtime.recover.deleted");
  // Its shim answered a Delete and ended after the daemon had taken its events.
  const bool told = link_.keeps_events && bundle_.Deleted();
  (void)UnmountRootfs(bundle_.rootfs());  // tried again by Remove
  core_.loop.RunSync([&] {
    const TaskTable::Untold untold = core_.table.Bury(key_, exit);
    if (!told && !FAILPOINT_SKIPS("runtime.recover.tell")) core_.Publish(untold);
  });
  FAILPOINT("runtime.recover.told");
  if (link_.shim != nullptr && !link_.shim->closed()) {
    core_.LetGo(key_, link_.shim, link_.joined_sandbox);
  } else {  // or it died over the question: then its socket is still there
    core_.EndRemains(key_, endpoint_, link_.joined_sandbox);
  }
  core_.logs.Forget(key_);
  if (!FAILPOINT_SKIPS("runtime.recover.remove"))
    (void)core_.bundles.Remove(key_);  // busy: met by the next Create of this id, or the next start
  core_.table.Remove(key_, exit);
  FAILPOINT("runtime.recover.removed");
  return Outcome::kDead;
}

// The shim lives and knows no such task: it was deleted, or never made, when the daemon died.
Outcome Revival::Leftover() {
  if (IsSandbox()) {
    // The sandbox's controller looks after it; it only must not be taken for a task.
    core_.logs.Forget(key_);
    core_.table.Abandon(key_);
    (void)core_.pool.Release(link_.shim);
    return Outcome::kLeftover;
  }
  if (!FAILPOINT_SKIPS("runtime.recover.let_go"))
    core_.LetGo(key_, link_.shim, link_.joined_sandbox);
  core_.logs.Forget(key_);
  (void)core_.bundles.Remove(key_);  // as above
  core_.table.Abandon(key_);
  FAILPOINT("runtime.recover.leftover");
  return Outcome::kLeftover;
}

void Count(Outcome outcome, RecoveryReport* report) {
  switch (outcome) {
    case Outcome::kDoubtful:
      ++report->doubtful;
      ++report->adopted;
      break;
    case Outcome::kStopped:
      ++report->stopped;
      ++report->adopted;
      break;
    case Outcome::kAdopted:
      ++report->adopted;
      break;
    case Outcome::kDead:
      ++report->dead;
      break;
    case Outcome::kLeftover:
      ++report->leftover;
      break;
    case Outcome::kEmpty:
      ++report->swept;
      break;
  }
}

}  // namespace

Result<RecoveryReport> Tasks::Core::Recover() {
  RecoveryReport report;
  if (!FAILPOINT_SKIPS("runtime.recover.sweep")) report.swept = bundles.SweepHidden();
  const std::vector<TaskKey> keys = TRY(bundles.List());
  std::mutex mutex;
  {
    Executor workers("recover", {.threads = kRecoverThreads, .queue = keys.size() + 1});
    for (const TaskKey& key : keys) {
      TRY(workers.Submit([this, key, &mutex, &report] {
        std::string trouble;
        const std::optional<Outcome> outcome = Revival(*this, key).Run(&trouble);
        const std::lock_guard lock(mutex);
        if (outcome) Count(*outcome, &report);
        if (!trouble.empty()) report.troubles.push_back(std::move(trouble));
      }));
    }
  }  // waits for all of them
  if (!FAILPOINT_SKIPS("runtime.recover.sweep")) report.swept += bundles.SweepHidden();
  return report;
}

}  // namespace corten::runtime
