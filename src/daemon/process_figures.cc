#include "daemon/process_figures.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <memory>

#include "base/dir.h"

namespace corten::daemon {

namespace {

constexpr size_t kMaxFile = 65536;

// Field `number` (from 1) of /proc/self/stat; the name in brackets may hold spaces.
uint64_t StatField(std::string_view stat, int number) {
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string_view::npos) return 0;
  stat.remove_prefix(name_end + 2);
  for (int i = 3; i < number; ++i) {
    const size_t space = stat.find(' ');
    if (space == std::string_view::npos) return 0;
    stat.remove_prefix(space + 1);
  }
  uint64_t value = 0;
  (void)std::from_chars(stat.data(), stat.data() + stat.size(), value);
  return value;
}

uint64_t BootTime() {
  const Result<std::string> text = ReadFileAt("/proc/stat", size_t{1} << 20);
  if (!text.ok()) return 0;
  const size_t at = text->find("\nbtime ");
  uint64_t value = 0;
  if (at != std::string::npos)
    (void)std::from_chars(text->data() + at + 7, text->data() + text->size(), value);
  return value;
}

uint64_t CountDescriptors() {
  struct Closer {
    void operator()(DIR* dir) const { (void)closedir(dir); }
  };
  const std::unique_ptr<DIR, Closer> dir(opendir("/proc/self/fd"));
  uint64_t count = 0;
  while (dir != nullptr) {
    const struct dirent* entry = readdir(dir.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') ++count;
  }
  return count > 0 ? count - 1 : 0;  // the one that counted
}

}  // namespace

ProcessFigures ReadProcessFigures() {
  ProcessFigures figures;
  const Result<std::string> read = ReadFileAt("/proc/self/stat", kMaxFile);
  const std::string stat = read.ok() ? *read : "";
  const auto tick = static_cast<double>(sysconf(_SC_CLK_TCK));
  figures.cpu_seconds = static_cast<double>(StatField(stat, 14) + StatField(stat, 15)) / tick;
  figures.threads = StatField(stat, 20);
  figures.start_time_seconds =
      static_cast<double>(BootTime()) + static_cast<double>(StatField(stat, 22)) / tick;
  figures.virtual_bytes = StatField(stat, 23);
  figures.resident_bytes = StatField(stat, 24) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  figures.open_fds = CountDescriptors();
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.max_fds = limit.rlim_cur;
  return figures;
}

void WriteProcessFigures(Exposition* out) {
  const ProcessFigures figures = ReadProcessFigures();
  out->Family("process_cpu_seconds_total", MetricKind::kCounter,
              "Processor time of this process, user and system.");
  out->Sample({}, figures.cpu_seconds);
  const auto gauge = [&](std::string_view name, std::string_view help, auto value) {
    out->Family(name, MetricKind::kGauge, help);
    out->Sample({}, value);
  };
  gauge("process_max_fds", "Descriptors that this process may open.", figures.max_fds);
  gauge("process_open_fds", "Descriptors that are open.", figures.open_fds);
  gauge("process_resident_memory_bytes", "Memory of this process that is resident.",
        figures.resident_bytes);
  gauge("process_start_time_seconds", "Unix time at which this process started.",
        figures.start_time_seconds);
  gauge("process_threads", "Threads of this process.", figures.threads);
  gauge("process_virtual_memory_bytes", "Address space of this process.", figures.virtual_bytes);
}

}  // namespace corten::daemon
