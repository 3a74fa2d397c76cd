#include "daemon/web.h"

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/build_version.h"
#include "base/dir.h"
#include "base/log.h"
#include "daemon/container_figures.h"
#include "daemon/process_figures.h"
#include "runtime/tasks.h"

namespace corten::daemon {

namespace {

constexpr size_t kMaxCommandLine = size_t{2} << 20;

// Metrics of all namespaces, asked at once. What has not come at the deadline is left out: its
// callback finds the gathering closed.
std::vector<ContainerFigures> GatherContainers(runtime::Tasks& tasks,
                                               std::chrono::milliseconds deadline) {
  struct Gathering {
    std::mutex mutex;
    std::condition_variable changed;
    size_t waiting = 0;
    std::vector<ContainerFigures> found;
  };
  auto gathering = std::make_shared<Gathering>();  // shared with callbacks that come too late
  const std::vector<model::Namespace> namespaces = tasks.Namespaces();
  gathering->waiting = namespaces.size();
  for (const model::Namespace& ns : namespaces) {
    tasks.Metrics(ns, nullptr, [gathering, ns](Result<std::vector<runtime::Metric>> metrics) {
      const std::lock_guard lock(gathering->mutex);
      if (metrics.ok()) {
        for (runtime::Metric& metric : *metrics)
          gathering->found.push_back({ns.str(), metric.id.str(), std::move(metric.data)});
      }
      --gathering->waiting;
      gathering->changed.notify_all();
    });
  }
  std::unique_lock lock(gathering->mutex);
  if (!gathering->changed.wait_for(lock, deadline, [&] { return gathering->waiting == 0; }))
    log::Warn("metrics: some tasks did not answer in time");
  return std::move(gathering->found);
}

std::string Page(const MetricsSource& source) {
  Meter& meter = *source.meter;
  Exposition out;
  if (source.tasks != nullptr)
    WriteContainerFigures(GatherContainers(*source.tasks, source.task_deadline), &out);
  out.Family("containerd_build_info_total", MetricKind::kCounter,
             "The version that answers, as labels.");
  out.Sample({{"revision", std::string(BuildRevision())}, {"version", std::string(BuildVersion())}},
             uint64_t{1});
  out.Family("containerd_gc_collections_total", MetricKind::kCounter,
             "Garbage collections, by how they ended.");
  out.Sample({{"status", "fail"}}, meter.collections_failed.load());
  out.Sample({{"status", "success"}}, meter.collections_ok.load());
  out.Family("containerd_gc_gc_seconds", MetricKind::kHistogram,
             "Time of a garbage collection that succeeded.");
  out.Sample({}, meter.collection_time);
  meter.rpc.Write(source.rpc_histogram, &out);
  WriteProcessFigures(&out);
  out.Family("promhttp_metric_handler_requests_in_flight", MetricKind::kGauge,
             "Scrapes being answered.");
  out.Sample({}, meter.scrapes_now.load());
  out.Family("promhttp_metric_handler_requests_total", MetricKind::kCounter,
             "Scrapes answered, by code.");
  out.Sample({{"code", "200"}}, meter.scrapes.load());
  return out.Take();
}

HttpResponse NotFound(std::string_view path) {
  return {404, "text/plain; charset=utf-8", StrCat(path, ": not found\n")};
}

std::string CommandLine() {
  Result<std::string> text = ReadFileAt("/proc/self/cmdline", kMaxCommandLine);
  if (!text.ok()) return "";
  if (!text->empty() && text->back() == '\0') text->pop_back();
  return std::move(*text);
}

HttpResponse Variables() {
  const ProcessFigures figures = ReadProcessFigures();
  nlohmann::ordered_json out;
  out["cmdline"] = nlohmann::json::array();
  std::string word;
  for (const char c : CommandLine() + '\0') {
    if (c != '\0') {
      word += c;
    } else {
      out["cmdline"].push_back(std::exchange(word, ""));
    }
  }
  out["process"] = {{"cpu_seconds", figures.cpu_seconds},
                    {"resident_bytes", figures.resident_bytes},
                    {"virtual_bytes", figures.virtual_bytes},
                    {"open_fds", figures.open_fds},
                    {"threads", figures.threads}};
  out["version"] = BuildVersion();
  // A command line need not be UTF-8.
  return {200, "application/json; charset=utf-8",
          out.dump(1, '\t', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

}  // namespace

HttpHandler MetricsPage(MetricsSource source) {
  return [source](const HttpRequest& request) -> HttpResponse {
    if (request.path != "/v1/metrics") return NotFound(request.path);
    source.meter->scrapes_now.fetch_add(1);
    HttpResponse response{200, std::string(kExpositionType), Page(source)};
    source.meter->scrapes_now.fetch_sub(1);
    source.meter->scrapes.fetch_add(1);
    return response;
  };
}

HttpHandler DebugPage() {
  return [](const HttpRequest& request) -> HttpResponse {
    if (request.path == "/debug/vars") return Variables();
    if (request.path == "/debug/pprof/cmdline")
      return {200, "text/plain; charset=utf-8", CommandLine()};
    if (request.path.starts_with("/debug/pprof")) {
      return {404, "text/plain; charset=utf-8",
              StrCat(request.path,
                     ": profiles are not in this build; use perf(1), or SIGUSR1 for "
                     "the stacks of all threads\n")};
    }
    return NotFound(request.path);
  };
}

}  // namespace corten::daemon
