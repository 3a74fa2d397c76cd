// Rows 4, 5, 14, 18, 19 and 20: what a hundred and three hundred running containers cost.
//
// Each daemon has its crowd alone: the mounts and groups of another crowd would be measured too.
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "journeys.h"

namespace corten::bench {

namespace {

namespace tasks_api = containerd::services::tasks::v1;

constexpr int kClients = 4;
constexpr std::chrono::seconds kSettle{5};

Figure Growth(const std::string& what, const char* unit, std::optional<Goal> goal) {
  return {"4", what, unit, goal};
}

// CPU of cycles of one client, by the group's count.
void CyclesCpu(Run& run, Target& target, int running) {
  const int n = run.N(15, 1);
  const model::Scope scope = PlainScope();
  const double before = target.daemon().group().UsageMs();
  for (int i = 0; i < n; ++i) {
    const std::string id = run.Unique("among");
    const auto snapshots = target.Snapshots(scope);
    const auto rootfs = Must(snapshots->Prepare(id, target.chain_id(), kRoot), "prepare");
    const metadata::Container container =
        Must(target.containers().Create(scope, target.MakeContainer(id, {"/bin/true"}, {})),
             "create container");
    Must(target.tasks().Create(container.id, rootfs, {}, std::nullopt), "create task");
    Must(target.tasks().Start(container.id, {}), "start");
    Must(target.tasks().Wait(container.id, {}), "wait");
    Must(target.tasks().Delete(container.id, {}), "delete task");
    Must(target.containers().Delete(scope, container.id), "delete container");
    Must(snapshots->Remove(id), "remove snapshot");
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // shims end after the last answer
  const double cpu = (target.daemon().group().UsageMs() - before) / n;
  run.report().Add({"14", StrCat("CPU per full cycle among ", running), "ms", {}}, target.name(),
                   cpu);
  const std::vector<double> alone =
      run.report().Samples({"14", "CPU per full cycle among 0", "", {}}, target.name());
  if (running == 0 || alone.empty()) return;
  run.report().Add(
      {"14", StrCat("  of that alone, in percent (goal: 105), among ", running), "%", {}},
      target.name(), 100 * cpu / alone[0]);
}

void Metrics(Run& run, Target& target, int running) {
  const auto stub = tasks_api::Tasks::NewStub(target.connection()->channel());
  grpc::ClientContext context;
  target.connection()->Prepare(&context, PlainScope());
  tasks_api::MetricsResponse response;
  const auto begin = Now();
  Must(client::FromGrpc(stub->Metrics(&context, tasks_api::MetricsRequest(), &response)),
       "metrics");
  run.report().Add({"19", StrCat("Tasks.Metrics, ", running), "ms", AtMost(0.12)}, target.name(),
                   Millis(begin));
  if (response.metrics_size() != running)
    Fail(StrCat(response.metrics_size(), " metrics of ", running, " tasks"));
}

void Lists(Run& run, Target& target, const std::vector<model::ContainerId>& ids) {
  const int running = static_cast<int>(ids.size());
  for (int i = 0; i < run.N(15, 1); ++i) {
    auto begin = Now();
    const auto tasks = Must(target.tasks().List(), "list tasks");
    run.report().Add({"18", StrCat("Tasks.List, ", running), "ms", AtMost(0.02)}, target.name(),
                     Millis(begin));
    if (tasks.size() != ids.size()) Fail("a running task is not listed");
    Metrics(run, target, running);
    begin = Now();
    Must(target.containers().List(PlainScope().ns, {}), "list containers");
    run.report().Add({"20", StrCat("Containers.List, ", running), "ms", AtMost(0.15)},
                     target.name(), Millis(begin));
    begin = Now();
    Must(target.tasks().Get(ids[static_cast<size_t>(i) % ids.size()]), "get task");
    run.report().Add({"20", StrCat("Tasks.Get among ", running), "ms", AtMost(0.25)}, target.name(),
                     Millis(begin));
  }
}

void Shims(Run& run, Target& target) {
  for (const pid_t shim : target.daemon().Shims()) {
    const ProcessFacts facts = FactsOf(shim);
    if (facts.rss == 0) continue;  // ended meanwhile
    run.report().Add({"5", "shim, private dirty", "KiB", AtMost(0.04)}, target.name(),
                     facts.private_dirty);
    run.report().Add({"5", "shim, RSS", "KiB", AtMost(0.10)}, target.name(), facts.rss);
    run.report().Add({"5", "shim, threads", "", {}}, target.name(), facts.threads);
    run.report().Add({"5", "shim, descriptors", "", {}}, target.name(), facts.fds);
  }
}

void Settle(const Run& run) {
  if (!run.options().quick) std::this_thread::sleep_for(kSettle);
}

void AddDaemon(Run& run, const Target& target, const std::string& when, const ProcessFacts& now) {
  run.report().Add(Growth(StrCat("daemon RSS ", when), "KiB", {}), target.name(), now.rss);
  run.report().Add(Growth(StrCat("daemon private ", when), "KiB", {}), target.name(),
                   now.private_dirty);
  run.report().Add(Growth(StrCat("daemon descriptors ", when), "", {}), target.name(), now.fds);
}

void Crowd(Run& run, const Candidate& candidate) {
  const std::unique_ptr<Daemon> daemon = run.Start(candidate, DaemonConfig::kSame);
  Target target(*daemon);
  run.Import(target);
  Settle(run);
  const ProcessFacts idle = daemon->Facts();
  AddDaemon(run, target, "with 0", idle);
  CyclesCpu(run, target, 0);
  std::vector<model::ContainerId> ids;
  for (const int running : {run.N(100, 2), run.N(300, 4)}) {
    const int missing = running - static_cast<int>(ids.size());
    const auto more = target.KeepMany(run.Unique("crowd"), missing, kClients, {});
    ids.insert(ids.end(), more.begin(), more.end());
    Settle(run);
    const ProcessFacts facts = daemon->Facts();
    AddDaemon(run, target, StrCat("with ", running), facts);
    run.report().Add(Growth(StrCat("growth per container, ", running), "KiB", AtMost(0.08)),
                     candidate.name, (facts.private_dirty - idle.private_dirty) / running);
    run.report().Add(Growth(StrCat("descriptors per container, ", running), "", AtMost(0.5)),
                     candidate.name, (facts.fds - idle.fds) / running);
    if (running == run.N(100, 2)) Shims(run, target);
    Lists(run, target, ids);
    CyclesCpu(run, target, running);
  }
  target.DropMany(ids, kClients);
  Settle(run);
  const ProcessFacts after = daemon->Facts();
  AddDaemon(run, target, "after all are gone", after);
  run.report().Add(Growth("private above idle after all are gone (goal: 1024)", "KiB", {}),
                   candidate.name, after.private_dirty - idle.private_dirty);
  run.report().Add(Growth("daemon peak RSS", "KiB", {}), candidate.name, after.peak_rss);
}

}  // namespace

void MeasureCrowd(Run& run) {
  for (const Candidate& candidate : run.options().candidates) Crowd(run, candidate);
}

}  // namespace corten::bench
