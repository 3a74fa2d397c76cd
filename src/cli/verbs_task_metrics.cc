// ctr tasks metrics: what a task's cgroup has used.
#include <nlohmann/json.hpp>

#include "cli/message_json.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "client/tasks.h"
#include "io/containerd/cgroups/v1/metrics.pb.h"
#include "io/containerd/cgroups/v2/metrics.pb.h"
#include "wire/any_types.h"

namespace corten::cli {

namespace {

namespace v1 = io::containerd::cgroups::v1;
namespace v2 = io::containerd::cgroups::v2;

void PrintHead(const client::TaskMetric& metric) {
  Table head({1, 4, false});
  head.Row({"ID", "TIMESTAMP"});
  head.Row({metric.id, StrCat("seconds:", metric.at.seconds, "  nanos:", metric.at.nanos)});
  head.Print();
  PrintLine("");
}

void PrintV1(const v1::Metrics& metrics) {
  Table table({1, 4, false});
  table.Row({"METRIC", "VALUE"});
  if (metrics.has_memory()) {
    table.Row({"memory.usage_in_bytes", StrCat(metrics.memory().usage().usage())});
    table.Row({"memory.limit_in_bytes", StrCat(metrics.memory().usage().limit())});
    table.Row({"memory.stat.cache", StrCat(metrics.memory().total_cache())});
  }
  if (metrics.has_cpu()) {
    std::string per_cpu;
    for (const uint64_t used : metrics.cpu().usage().per_cpu())
      per_cpu += StrCat(per_cpu.empty() ? "" : " ", used);
    table.Row({"cpuacct.usage", StrCat(metrics.cpu().usage().total())});
    table.Row({"cpuacct.usage_percpu", StrCat("[", per_cpu, "]")});
  }
  if (metrics.has_pids()) {
    table.Row({"pids.current", StrCat(metrics.pids().current())});
    table.Row({"pids.limit", StrCat(metrics.pids().limit())});
  }
  table.Print();
}

void PrintV2(const v2::Metrics& metrics) {
  Table table({1, 4, false});
  table.Row({"METRIC", "VALUE"});
  if (metrics.has_pids()) {
    table.Row({"pids.current", StrCat(metrics.pids().current())});
    table.Row({"pids.limit", StrCat(metrics.pids().limit())});
  }
  if (metrics.has_cpu()) {
    const v2::CPUStat& cpu = metrics.cpu();
    table.Row({"cpu.usage_usec", StrCat(cpu.usage_usec())});
    table.Row({"cpu.user_usec", StrCat(cpu.user_usec())});
    table.Row({"cpu.system_usec", StrCat(cpu.system_usec())});
    table.Row({"cpu.nr_periods", StrCat(cpu.nr_periods())});
    table.Row({"cpu.nr_throttled", StrCat(cpu.nr_throttled())});
    table.Row({"cpu.throttled_usec", StrCat(cpu.throttled_usec())});
  }
  if (metrics.has_memory()) {
    const v2::MemoryStat& memory = metrics.memory();
    table.Row({"memory.usage", StrCat(memory.usage())});
    table.Row({"memory.usage_limit", StrCat(memory.usage_limit())});
    table.Row({"memory.swap_usage", StrCat(memory.swap_usage())});
    table.Row({"memory.swap_limit", StrCat(memory.swap_limit())});
  }
  table.Print();
}

Result<int> Metrics(Session& session, const Values& values) {
  const metadata::Container container =
      TRY(session.containers().Get(session.ns(), model::ContainerId(values.Arg(0))));
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  TRY(tasks->Get(container.id));
  const std::vector<client::TaskMetric> found =
      TRY(tasks->Metrics({StrCat("id==", container.id.str())}));
  if (found.empty()) return NotFoundError("no metrics received");
  const client::TaskMetric& metric = found[0];
  const bool is_v1 = wire::CheckType(metric.data.type_url, wire::kCgroupV1MetricsType).ok();
  v1::Metrics first;
  v2::Metrics second;
  if (!(is_v1 ? first.ParseFromString(metric.data.value)
              : second.ParseFromString(metric.data.value)))
    return InvalidArgumentError("metrics: not understood");
  if (values.Text("format") == "table") {
    PrintHead(metric);
    is_v1 ? PrintV1(first) : PrintV2(second);
    return 0;
  }
  if (values.Text("format") != "json") return UnknownError("format must be table or json");
  PrintLine((is_v1 ? MessageTree(first) : MessageTree(second)).dump(4));
  return 0;
}

}  // namespace

Command TaskMetricsCommand() {
  return {{"metrics", "metric"},
          "get a single data point of metrics for a task with the built-in Linux runtime",
          "CONTAINER",
          "",
          {TextFlag({"format"}, "\"table\" or \"json\"", "table")},
          {},
          Connected(&Metrics)};
}

}  // namespace corten::cli
