// Rows 6, 7, 9, 10, 12, 13 and 17: /bin/true in a container, from nothing to nothing, by one client
// and by many, with runc and with crun.
#include "journeys.h"

namespace corten::bench {

namespace {

struct Rows {
  OciRuntime runtime;
  const char* started;
  const char* cycle;
  Goal started_goal;
  Goal cycle_goal;
  std::optional<Goal> delete_goal;
  Goal cpu_goal;
  Goal rate_goal;
};

std::vector<Rows> RowsOf(const Run& run) {
  std::vector<Rows> rows = {{{"runc", ""},
                             "6",
                             "9",
                             AtMost(0.45),
                             AtMost(0.42),
                             AtMost(0.35),
                             AtMost(0.45),
                             AtLeast(1.9)}};
  if (!run.options().crun.empty()) {
    rows.push_back({{"crun", run.options().crun},
                    "7",
                    "10",
                    AtMost(0.35),
                    AtMost(0.35),
                    {},
                    AtMost(0.25),
                    AtLeast(4)});
  }
  return rows;
}

struct Times {
  double create_ms = 0;   // of the Tasks.Create call
  double start_ms = 0;    // of the Tasks.Start call
  double started_ms = 0;  // from the first call until it runs
  double delete_ms = 0;   // of the Tasks.Delete call
  double cycle_ms = 0;
};

Times Cycle(Target& target, const std::string& id, const OciRuntime& runtime) {
  Times times;
  const model::Scope scope = PlainScope();
  const auto snapshots = target.Snapshots(scope);
  const auto begin = Now();
  const std::vector<model::Mount> rootfs =
      Must(snapshots->Prepare(id, target.chain_id(), kRoot), "prepare");
  const metadata::Container container =
      Must(target.containers().Create(scope, target.MakeContainer(id, {"/bin/true"}, runtime)),
           "create container");
  auto call = Now();
  Must(target.tasks().Create(container.id, rootfs, {}, container.runtime.options), "create task");
  times.create_ms = Millis(call);
  Result<client::TaskExit> exit = UnavailableError("not waited");
  std::thread waiter([&] { exit = target.tasks().Wait(container.id, {}); });
  call = Now();
  Must(target.tasks().Start(container.id, {}), "start");
  times.start_ms = Millis(call);
  times.started_ms = Millis(begin);
  waiter.join();
  if (Must(std::move(exit), "wait").status != 0) Fail("/bin/true failed in a container");
  call = Now();
  Must(target.tasks().Delete(container.id, {}), "delete task");
  times.delete_ms = Millis(call);
  Must(target.containers().Delete(scope, container.id), "delete container");
  Must(snapshots->Remove(id), "remove snapshot");
  times.cycle_ms = Millis(begin);
  return times;
}

void OneByOne(Run& run, std::vector<Target*>& targets, const Rows& rows) {
  const std::string& runtime = rows.runtime.name;
  // Warm-up: programs and libraries into memory.
  for (Target* target : targets) (void)Cycle(*target, run.Unique("warm"), rows.runtime);
  std::map<std::string, double> cpu;
  for (Target* target : targets) cpu[target->name()] = target->daemon().group().UsageMs();
  const int n = run.N(40, 1);
  run.Alternate(n, targets, [&](Target* target) {
    const Times times = Cycle(*target, run.Unique("cycle"), rows.runtime);
    const auto add = [&](const char* row, const std::string& what, double value,
                         std::optional<Goal> goal) {
      run.report().Add({row, what, "ms", goal}, target->name(), value);
    };
    add(rows.started, StrCat("create to started, ", runtime), times.started_ms, rows.started_goal);
    add(rows.started, StrCat("  of it Tasks.Create, ", runtime), times.create_ms, {});
    add(rows.started, StrCat("  of it Tasks.Start, ", runtime), times.start_ms, {});
    add(rows.cycle, StrCat("full cycle, ", runtime), times.cycle_ms, rows.cycle_goal);
    add("17", StrCat("Tasks.Delete, ", runtime), times.delete_ms, rows.delete_goal);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // shims end after the last answer
  for (Target* target : targets) {
    if (!target->daemon().ours()) continue;
    run.report().Add({"12", StrCat("CPU per full cycle, ", runtime), "ms", rows.cpu_goal},
                     target->name(),
                     (target->daemon().group().UsageMs() - cpu[target->name()]) / n);
  }
}

void Crowded(Run& run, Target& target, int clients, const Rows& rows) {
  const int count = run.N(48, 2) / clients * clients;
  if (count == 0) return;
  const std::string prefix = run.Unique("rate");
  const auto begin = Now();
  AtOnce(clients, count, [&](int i) { (void)Cycle(target, StrCat(prefix, "-", i), rows.runtime); });
  run.report().Add({"13", StrCat("full cycles, ", rows.runtime.name, ", ", clients, " at once"),
                    "/s", rows.rate_goal},
                   target.name(), count / (Millis(begin) / 1000));
}

}  // namespace

void MeasureLifecycle(Run& run) {
  std::vector<Target*> targets = run.Shared();
  for (const Rows& rows : RowsOf(run)) {
    const bool all = run.Wants("lifecycle") || run.Wants("12") || run.Wants("17");
    if (all || run.Wants(rows.started) || run.Wants(rows.cycle)) OneByOne(run, targets, rows);
    if (!all && !run.Wants("13")) continue;
    for (const int clients : {1, 4, 8, 16}) {
      run.Alternate(run.N(2, 1), targets, [&](Target* target) {
        Crowded(run, *target, run.options().quick ? std::min(clients, 2) : clients, rows);
      });
    }
  }
  if (run.options().crun.empty()) run.report().Note("7, 10", "no crun given: not measured");
}

}  // namespace corten::bench
