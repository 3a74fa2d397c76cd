// The inside of Tasks, shared by the sources of this room; not for others.
//
// Threads: `shim loop` is loop's thread: replies, events, everything that is published. `control`
// runs what blocks. A callback in flight keeps the Core alive; Stop ends them all.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "runtime/bundle.h"
#include "runtime/loop_thread.h"
#include "runtime/runtime_name.h"
#include "runtime/shim_client.h"
#include "runtime/shim_log.h"
#include "runtime/shim_pool.h"
#include "runtime/shim_start.h"
#include "runtime/task_table.h"
#include "runtime/tasks.h"

namespace corten::runtime {

struct Tasks::Core : std::enable_shared_from_this<Tasks::Core> {
  Core(Settings settings_in, Links links_in, LoopThread& loop_in, BundleStore bundles_in);

  const Settings settings;
  const Links links;
  LoopThread& loop;
  const BundleStore bundles;
  RuntimeResolver resolver;
  const ShimStarter starter;
  TaskTable table;
  ShimPool pool;
  ShimLogs logs;
  Gate gate;  // held by work on `control`
  std::atomic<bool> stopping{false};
  std::mutex info_mutex;  // guards infos
  std::map<std::string, std::string> infos;

  // --- running things ---
  // On `control`; when that is full, here and now. For short work that must not be lost.
  void Complete(std::function<void()> work);
  // On `control`; when that is full, later. For work that blocks and must not be lost. Dropped once
  // Stop has closed the gate: what it was to finish is finished by the next daemon's recovery.
  void Background(std::function<void()> work);
  template <typename T>
  void Finish(Done<T> done, Result<T> result) {
    auto shared =
        std::make_shared<Result<T>>(std::move(result));  // shared only because std::function copies
    Complete([done = std::move(done), shared] { done(std::move(*shared)); });
  }

  // --- calling shims ---
  // The task's shim and METHOD; `reply` runs on the shim loop, or inside the call with kNotFound.
  using Reply = std::function<void(Result<std::string>)>;
  void CallShim(const CallOptions& call, const TaskKey& task, std::string_view method,
                std::string request, Reply reply);
  // For methods whose answer is empty.
  void CallForNothing(const CallOptions& call, const TaskKey& task, std::string_view method,
                      std::string request, Done<void> done);
  static std::chrono::nanoseconds Timeout(const CallOptions& call);
  // kNotFound: names the container if that is what is missing, else the task. Reads metadata.
  Error ExplainMissing(const TaskKey& task, Error error) const;
  // Asks the shim to tell when the process ends, once per process.
  void Watch(const ProcessKey& process);
  // State from the shim, merged into the table. `done` on the shim loop.
  void AskState(const ProcessKey& process, std::chrono::nanoseconds timeout,
                Done<ProcessState> done);

  // --- events; shim loop only ---
  Status TakeEvent(events::Envelope envelope);
  void Publish(const TaskTable::Untold& untold);
  void PublishLeftOut(const ShimClient* shim);

  // --- leaving (remove.cc) ---
  void OnShimClosed(const std::shared_ptr<ShimClient>& shim);
  // Everything but the shim's own Delete, on `control`.
  void FinishDelete(const TaskKey& task, const TaskLink& link, Result<ExitInfo> answer,
                    Done<ExitInfo> done);
  void Delete(const CallOptions& call, const TaskKey& task, Done<ExitInfo> done);
  ExitInfo TrueExit(const TaskKey& task, const ExitInfo& answer);
  // Of a task whose shim is gone, on `control`: delete, tell, unmount, remove. Returns its exit.
  ExitInfo CleanDead(const TaskKey& task, const TaskLink& link);
  ExitInfo DeleteDead(const Bundle& bundle, const std::string& binary) const;
  // Shuts down a shim that lost its tasks but still listens; removes the socket of one that does
  // not.
  void EndRemains(const TaskKey& task, const Endpoint& endpoint, bool joined_sandbox);
  // Shutdown if nobody else uses the shim; waits for the answer.
  void LetGo(const TaskKey& task, const std::shared_ptr<ShimClient>& shim, bool joined_sandbox);

  // --- creation (create.cc) ---
  void Create(const CallOptions& call, CreateRequest request, Done<uint32_t> done);
  Result<std::string> ResolveShim(const std::string& runtime);
  Result<std::string> RuntimeInfo(const std::string& runtime,
                                  const std::optional<model::Any>& options);

  // --- recovery (recovery.cc) ---
  Result<RecoveryReport> Recover();

  void Stop();
};

// A Timestamp that is not set is Go's zero time.
template <typename Stamp>
Time FromStamp(bool has, const Stamp& stamp) {
  return has ? Time{stamp.seconds(), stamp.nanos()} : kZeroTime;
}

}  // namespace corten::runtime
