// Rows 15 and 16: a process in a running container, and how soon a killed one is reported.
#include <csignal>

#include "journeys.h"
#include "oci/spec.h"

namespace corten::bench {

namespace {

const Figure kKill{"16", "SIGKILL to exit reported", "ms", AtMost(0.15)};
const Figure kKillCall{"16", "  of it the Kill call", "ms", {}};

void OneExec(Run& run, Target& target, const model::ContainerId& id, const Figure& figure) {
  const metadata::Container container =
      Must(target.containers().Get(PlainScope().ns, id), "get container");
  const std::string process =
      Must(oci::MakeExecProcess(container.spec->value, {"/bin/true"}, {}, /*terminal=*/false, ""),
           "process");
  const model::ExecId exec(run.Unique("exec"));
  const auto begin = Now();
  Must(target.tasks().Exec(id, exec, {std::string(oci::kProcessType), process}, {}), "exec");
  Must(target.tasks().Start(id, exec), "start exec");
  if (Must(target.tasks().Wait(id, exec), "wait exec").status != 0) Fail("/bin/true failed");
  Must(target.tasks().Delete(id, exec), "delete exec");
  run.report().Add(figure, target.name(), Millis(begin));
}

void Execs(Run& run, std::vector<Target*>& targets, const OciRuntime& runtime, Goal goal) {
  const Figure figure{"15", StrCat("exec /bin/true, ", runtime.name), "ms", goal};
  std::map<Target*, model::ContainerId> kept;
  for (Target* target : targets) kept[target] = target->Keep(run.Unique("exec-host"), runtime);
  run.Alternate(run.N(40, 1), targets,
                [&](Target* target) { OneExec(run, *target, kept[target], figure); });
  for (Target* target : targets) target->Drop(kept[target]);
}

void OneKill(Run& run, Target& target) {
  const model::ContainerId id = target.Keep(run.Unique("kill"), {});
  std::chrono::steady_clock::time_point reported;
  std::thread waiter([&] {
    Must(target.tasks().Wait(id, {}), "wait");
    reported = Now();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the wait must stand before the kill
  const auto begin = Now();
  Must(target.tasks().Kill(id, {}, SIGKILL, /*all=*/false), "kill");
  run.report().Add(kKillCall, target.name(), Millis(begin));
  waiter.join();
  run.report().Add(kKill, target.name(),
                   std::chrono::duration<double, std::milli>(reported - begin).count());
  Must(target.tasks().Delete(id, {}), "delete task");
  Must(target.containers().Delete(PlainScope(), id), "delete container");
  Must(target.Snapshots(PlainScope())->Remove(id.str()), "remove snapshot");
}

}  // namespace

void MeasureProcesses(Run& run) {
  std::vector<Target*> targets = run.Shared();
  const bool all = run.Wants("processes");
  if (all || run.Wants("15")) {
    Execs(run, targets, {"runc", ""}, AtMost(0.8));
    if (!run.options().crun.empty()) Execs(run, targets, {"crun", run.options().crun}, AtMost(0.6));
  }
  if (all || run.Wants("16"))
    run.Alternate(run.N(40, 1), targets, [&](Target* target) { OneKill(run, *target); });
}

}  // namespace corten::bench
