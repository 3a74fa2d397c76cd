// What every runtime test needs: an own root, state, sockets and cgroup, a busybox rootfs, specs,
// and Tasks made to wait.
//
// The shim under test: CORTEN_TEST_SHIM (a path), started through its `start` action; without it
// Corten's own, started directly, whose path the build compiles in. The OCI runtime is the
// machine's runc. Needs root.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "events/exchange.h"
#include "metadata/stores.h"
#include "runtime/scratch_dir.h"
#include "runtime/task_event.h"
#include "runtime/tasks.h"

namespace corten::runtime {

// Container rows in memory; writes through the contract are not needed here.
class FakeContainers final : public metadata::ContainerStore {
 public:
  Result<metadata::Container> Get(const model::Namespace& ns,
                                  const model::ContainerId& id) override;
  Result<std::vector<metadata::Container>> List(const model::Namespace& ns,
                                                const metadata::Filters& filters) override;
  Result<metadata::Container> Create(const model::Scope& scope,
                                     metadata::Container container) override;
  Result<metadata::Container> Update(const model::Scope& scope, metadata::Container container,
                                     const metadata::FieldPaths& paths) override;
  Status Delete(const model::Scope& scope, const model::ContainerId& id) override;

 private:
  std::mutex mutex_;
  std::map<TaskKey, metadata::Container> rows_;
};

// Everything that was published, in order; tests wait for what they expect.
class EventRecorder {
 public:
  // `ordered`: the shim under test tells an exit before the delete that follows it.
  EventRecorder(events::Exchange& exchange, bool ordered);
  // Waits until `count` task events of `kind` for `process` have been seen; false after 20 s.
  bool Await(TaskEvent::Kind kind, const ProcessKey& process, size_t count = 1);
  size_t Count(TaskEvent::Kind kind, const ProcessKey& process);
  // "create c", "start c", "exit c:e=7" ... of one container, in order.
  std::vector<std::string> Story(const TaskKey& task);

 private:
  void Drain();
  const bool ordered_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TaskEvent> seen_;
  std::unique_ptr<events::Subscription> subscription_;
};

class RuntimeFixture : public testing::Test {
 protected:
  static constexpr std::chrono::seconds kLong{30};

  void SetUp() override;
  void TearDown() override;

  void MakeRootfs();
  // The daemon of this test: opened over the same directories each time.
  void OpenDaemon();
  void CloseDaemon();
  RecoveryReport Reopen();

  // A container row whose process runs `args`.
  struct Extra {
    bool terminal = false;
    bool shared_pids = false;
    std::map<std::string, std::string> annotations;
  };
  TaskKey AddContainer(const std::string& id, const std::vector<std::string>& args) {
    return AddContainer(id, args, Extra{});
  }
  TaskKey AddContainer(const std::string& id, const std::vector<std::string>& args,
                       const Extra& extra);
  void DropContainer(const TaskKey& task) { (void)containers_.Delete({task.ns, {}}, task.id); }
  CreateRequest RequestFor(const TaskKey& task);
  static std::string ProcessJson(const std::vector<std::string>& args, bool terminal);

  // Calls that wait.
  Result<uint32_t> Create(const TaskKey& task);
  Result<uint32_t> Create(CreateRequest request);
  Result<uint32_t> Start(const ProcessKey& process);
  Result<uint32_t> StartInit(const TaskKey& task) { return Start({task, {}}); }
  Status Exec(const ProcessKey& process, const std::vector<std::string>& args,
              const Stdio& io = {});
  Status Kill(const ProcessKey& process, uint32_t signal, bool all = false);
  Result<ExitInfo> Delete(const TaskKey& task);
  Result<ExitInfo> DeleteProcess(const ProcessKey& process);
  Result<ProcessState> State(const ProcessKey& process);
  Result<ExitInfo> Wait(const ProcessKey& process);
  Status Pause(const TaskKey& task);
  Status Resume(const TaskKey& task);

  // A call under way.
  template <typename T>
  class Pending {
   public:
    Done<T> Callback() {
      return [state = state_](Result<T> result) {
        const std::lock_guard lock(state->mutex);
        EXPECT_FALSE(state->result) << "called twice";
        state->result.emplace(std::move(result));
        state->changed.notify_all();
      };
    }
    bool ready() const {
      const std::lock_guard lock(state_->mutex);
      return state_->result.has_value();
    }
    Result<T> Get() {
      std::unique_lock lock(state_->mutex);
      if (!state_->changed.wait_for(lock, kLong, [&] { return state_->result.has_value(); })) {
        return DeadlineExceededError("the test waited in vain");
      }
      return std::move(*state_->result);
    }

   private:
    struct Shared {
      std::mutex mutex;
      std::condition_variable changed;
      std::optional<Result<T>> result;
    };
    std::shared_ptr<Shared> state_ = std::make_shared<Shared>();
  };

  // Pid of the shim that was started for `task` (it stands in its bundle); -1: none.
  int ShimPid(const TaskKey& task);
  // SIGSTOP, until each thread has stopped: a signal reaches one thread first, and the others
  // answer meanwhile. False: they did not stop.
  static bool Freeze(int pid);
  bool BundleExists(const TaskKey& task);
  // Waits until `done` says so, looking every few ms (for states of other processes that nobody
  // announces).
  static bool Eventually(const std::function<bool()>& done);
  // Names of mounts and cgroups of this test that are still there.
  std::vector<std::string> Leaks();

  const ScratchDir dir_;
  const std::string group_ =
      "corten-test-" + dir_.path().substr(dir_.path().size() - 6);  // parent cgroup
  FakeContainers containers_;
  std::optional<events::Exchange> exchange_;
  std::optional<EventRecorder> events_;
  std::unique_ptr<Executor> control_;
  Tasks::Settings settings_;
  std::unique_ptr<Tasks> tasks_;
  const model::Namespace ns_{"test"};
  const CallOptions call_;
};

}  // namespace corten::runtime
