#include "daemon/container_figures.h"

#include <unistd.h>

#include <functional>

#include "base/strcat.h"
#include "io/containerd/cgroups/v1/metrics.pb.h"
#include "io/containerd/cgroups/v2/metrics.pb.h"
#include "wire/any_types.h"

namespace corten::daemon {

namespace {

namespace v1 = ::io::containerd::cgroups::v1;
namespace v2 = ::io::containerd::cgroups::v2;

constexpr std::string_view kRuntime = "io.containerd.runc.v2";  // containerd's constant label

template <typename Message>
struct Container {
  const ContainerFigures* who;
  Message figures;
};
template <typename Message>
using Containers = std::vector<Container<Message>>;

// A number of a message (or of a part of it) as a gauge.
template <typename Message>
struct Gauge {
  const char* name;
  const char* help;
  uint64_t (Message::*get)() const;
};

MetricLabels LabelsOf(const ContainerFigures& who, const MetricLabels& more = {}) {
  MetricLabels labels = {{"container_id", who.id}};
  labels.insert(labels.end(), more.begin(), more.end());
  labels.emplace_back("namespace", who.ns);
  labels.emplace_back("runtime", kRuntime);
  return labels;
}

// One family: a sample for each container that has the part.
template <typename Message, typename Part>
void WriteGauge(const Containers<Message>& containers, const Gauge<Part>& gauge,
                const std::function<const Part*(const Message&)>& part, Exposition* out) {
  bool begun = false;
  for (const Container<Message>& container : containers) {
    const Part* const figures = part(container.figures);
    if (figures == nullptr) continue;
    if (!std::exchange(begun, true)) out->Family(gauge.name, MetricKind::kGauge, gauge.help);
    out->Sample(LabelsOf(*container.who), (figures->*gauge.get)());
  }
}
template <typename Message, typename Part, size_t kCount>
void WriteGauges(const Containers<Message>& containers, const Gauge<Part> (&gauges)[kCount],
                 const std::function<const Part*(const Message&)>& part, Exposition* out) {
  for (const Gauge<Part>& gauge : gauges) WriteGauge(containers, gauge, part, out);
}

// --- cgroup v1 ---

constexpr Gauge<v1::CPUUsage> kUsageV1[] = {
    {"container_cpu_kernel_nanoseconds", "Processor time in the kernel.", &v1::CPUUsage::kernel},
    {"container_cpu_total_nanoseconds", "Processor time.", &v1::CPUUsage::total},
    {"container_cpu_user_nanoseconds", "Processor time in user mode.", &v1::CPUUsage::user},
};
constexpr Gauge<v1::Throttle> kThrottleV1[] = {
    {"container_cpu_throttle_periods_total", "Periods in which a limit of processor time held.",
     &v1::Throttle::periods},
    {"container_cpu_throttled_periods_total", "Of those, periods in which the limit was reached.",
     &v1::Throttle::throttled_periods},
    {"container_cpu_throttled_time_nanoseconds", "Time spent waiting for the limit.",
     &v1::Throttle::throttled_time},
};
constexpr Gauge<v1::MemoryStat> kMemoryV1[] = {
    {"container_memory_hierarchical_memory_limit_bytes", "Limit of memory, of all groups above.",
     &v1::MemoryStat::hierarchical_memory_limit},
    {"container_memory_hierarchical_memsw_limit_bytes",
     "Limit of memory and swap, of all groups above.", &v1::MemoryStat::hierarchical_swap_limit},
    {"container_memory_active_anon_bytes", "memory.stat of cgroup v1: active_anon.",
     &v1::MemoryStat::active_anon},
    {"container_memory_active_file_bytes", "memory.stat of cgroup v1: active_file.",
     &v1::MemoryStat::active_file},
    {"container_memory_cache_bytes", "memory.stat of cgroup v1: cache.", &v1::MemoryStat::cache},
    {"container_memory_dirty_bytes", "memory.stat of cgroup v1: dirty.", &v1::MemoryStat::dirty},
    {"container_memory_inactive_anon_bytes", "memory.stat of cgroup v1: inactive_anon.",
     &v1::MemoryStat::inactive_anon},
    {"container_memory_inactive_file_bytes", "memory.stat of cgroup v1: inactive_file.",
     &v1::MemoryStat::inactive_file},
    {"container_memory_mapped_file_bytes", "memory.stat of cgroup v1: mapped_file.",
     &v1::MemoryStat::mapped_file},
    {"container_memory_pgfault_bytes", "memory.stat of cgroup v1: pgfault.",
     &v1::MemoryStat::pg_fault},
    {"container_memory_pgmajfault_bytes", "memory.stat of cgroup v1: pgmajfault.",
     &v1::MemoryStat::pg_maj_fault},
    {"container_memory_pgpgin_bytes", "memory.stat of cgroup v1: pgpgin.",
     &v1::MemoryStat::pg_pg_in},
    {"container_memory_pgpgout_bytes", "memory.stat of cgroup v1: pgpgout.",
     &v1::MemoryStat::pg_pg_out},
    {"container_memory_rss_bytes", "memory.stat of cgroup v1: rss.", &v1::MemoryStat::rss},
    {"container_memory_rss_huge_bytes", "memory.stat of cgroup v1: rss_huge.",
     &v1::MemoryStat::rss_huge},
    {"container_memory_total_active_anon_bytes", "memory.stat of cgroup v1: total_active_anon.",
     &v1::MemoryStat::total_active_anon},
    {"container_memory_total_active_file_bytes", "memory.stat of cgroup v1: total_active_file.",
     &v1::MemoryStat::total_active_file},
    {"container_memory_total_cache_bytes", "memory.stat of cgroup v1: total_cache.",
     &v1::MemoryStat::total_cache},
    {"container_memory_total_dirty_bytes", "memory.stat of cgroup v1: total_dirty.",
     &v1::MemoryStat::total_dirty},
    {"container_memory_total_inactive_anon_bytes", "memory.stat of cgroup v1: total_inactive_anon.",
     &v1::MemoryStat::total_inactive_anon},
    {"container_memory_total_inactive_file_bytes", "memory.stat of cgroup v1: total_inactive_file.",
     &v1::MemoryStat::total_inactive_file},
    {"container_memory_total_mapped_file_bytes", "memory.stat of cgroup v1: total_mapped_file.",
     &v1::MemoryStat::total_mapped_file},
    {"container_memory_total_pgfault_bytes", "memory.stat of cgroup v1: total_pgfault.",
     &v1::MemoryStat::total_pg_fault},
    {"container_memory_total_pgmajfault_bytes", "memory.stat of cgroup v1: total_pgmajfault.",
     &v1::MemoryStat::total_pg_maj_fault},
    {"container_memory_total_pgpgin_bytes", "memory.stat of cgroup v1: total_pgpgin.",
     &v1::MemoryStat::total_pg_pg_in},
    {"container_memory_total_pgpgout_bytes", "memory.stat of cgroup v1: total_pgpgout.",
     &v1::MemoryStat::total_pg_pg_out},
    {"container_memory_total_rss_bytes", "memory.stat of cgroup v1: total_rss.",
     &v1::MemoryStat::total_rss},
    {"container_memory_total_rss_huge_bytes", "memory.stat of cgroup v1: total_rss_huge.",
     &v1::MemoryStat::total_rss_huge},
    {"container_memory_total_unevictable_bytes", "memory.stat of cgroup v1: total_unevictable.",
     &v1::MemoryStat::total_unevictable},
    {"container_memory_total_writeback_bytes", "memory.stat of cgroup v1: total_writeback.",
     &v1::MemoryStat::total_writeback},
    {"container_memory_unevictable_bytes", "memory.stat of cgroup v1: unevictable.",
     &v1::MemoryStat::unevictable},
    {"container_memory_writeback_bytes", "memory.stat of cgroup v1: writeback.",
     &v1::MemoryStat::writeback},
};
constexpr Gauge<v1::PidsStat> kPidsV1[] = {
    {"container_pids_current", "Processes and threads.", &v1::PidsStat::current},
    {"container_pids_limit", "Limit of processes and threads; 0: none.", &v1::PidsStat::limit},
};

struct Entry {
  const char* name;
  const v1::MemoryEntry& (v1::MemoryStat::*get)() const;
};
constexpr Entry kEntries[] = {{"kernel", &v1::MemoryStat::kernel},
                              {"kerneltcp", &v1::MemoryStat::kernel_tcp},
                              {"swap", &v1::MemoryStat::swap},
                              {"usage", &v1::MemoryStat::usage}};

struct IoList {
  const char* name;
  const google::protobuf::RepeatedPtrField<v1::BlkIOEntry>& (v1::BlkIOStat::*get)() const;
};
constexpr IoList kIoLists[] = {
    {"container_blkio_io_merged_recursive_total", &v1::BlkIOStat::io_merged_recursive},
    {"container_blkio_io_queued_recursive_total", &v1::BlkIOStat::io_queued_recursive},
    {"container_blkio_io_service_bytes_recursive_bytes",
     &v1::BlkIOStat::io_service_bytes_recursive},
    {"container_blkio_io_service_time_recursive_total", &v1::BlkIOStat::io_service_time_recursive},
    {"container_blkio_io_serviced_recursive_total", &v1::BlkIOStat::io_serviced_recursive},
    {"container_blkio_io_time_recursive_total", &v1::BlkIOStat::io_time_recursive},
    {"container_blkio_sectors_recursive_total", &v1::BlkIOStat::sectors_recursive},
};

void WriteBlkio(const Containers<v1::Metrics>& containers, Exposition* out) {
  for (const IoList& list : kIoLists) {
    bool begun = false;
    for (const auto& container : containers) {
      for (const v1::BlkIOEntry& entry : (container.figures.blkio().*list.get)()) {
        if (!std::exchange(begun, true))
          out->Family(list.name, MetricKind::kGauge, "Block device traffic, by operation.");
        const std::string major = StrCat(entry.major());
        const std::string minor = StrCat(entry.minor());
        MetricLabels labels = {{"container_id", container.who->id},
                               {"device", entry.device()},
                               {"major", major},
                               {"minor", minor},
                               {"namespace", container.who->ns},
                               {"op", entry.op()},
                               {"runtime", kRuntime}};
        out->Sample(labels, uint64_t{entry.value()});
      }
    }
  }
}

void WriteEntriesV1(const Containers<v1::Metrics>& containers, Exposition* out) {
  const Gauge<v1::MemoryEntry> figures[] = {
      {"failcnt_total", "Times that the limit was reached.", &v1::MemoryEntry::failcnt},
      {"limit_bytes", "Limit.", &v1::MemoryEntry::limit},
      {"max_bytes", "Highest use.", &v1::MemoryEntry::max},
      {"usage_bytes", "Use.", &v1::MemoryEntry::usage}};
  for (const Entry& entry : kEntries) {
    for (const Gauge<v1::MemoryEntry>& figure : figures) {
      const std::string name = StrCat("container_memory_", entry.name, "_", figure.name);
      WriteGauge<v1::Metrics, v1::MemoryEntry>(
          containers, {name.c_str(), figure.help, figure.get},
          [&](const v1::Metrics& all) {
            return all.has_memory() ? &(all.memory().*entry.get)() : nullptr;
          },
          out);
    }
  }
}

void WritePerCpu(const Containers<v1::Metrics>& containers, Exposition* out) {
  bool begun = false;
  for (const auto& container : containers) {
    int cpu = 0;
    for (const uint64_t value : container.figures.cpu().usage().per_cpu()) {
      if (!std::exchange(begun, true))
        out->Family("container_per_cpu_nanoseconds", MetricKind::kGauge,
                    "Processor time on each processor.");
      const std::string number = StrCat(cpu++);
      out->Sample(LabelsOf(*container.who, {{"cpu", number}}), value);
    }
  }
}

template <typename Message, typename List>
void WriteHugePages(const Containers<Message>& containers, const List& figures, Exposition* out) {
  for (const auto& [name, help, get] : figures) {
    bool begun = false;
    for (const auto& container : containers) {
      for (const auto& pages : container.figures.hugetlb()) {
        if (!std::exchange(begun, true)) out->Family(name, MetricKind::kGauge, help);
        MetricLabels labels = LabelsOf(*container.who);
        labels.insert(labels.begin() + 2, {"page", pages.pagesize()});
        out->Sample(labels, (pages.*get)());
      }
    }
  }
}

void WriteV1(const Containers<v1::Metrics>& containers, Exposition* out) {
  const auto usage = [](const v1::Metrics& all) {
    return all.cpu().has_usage() ? &all.cpu().usage() : nullptr;
  };
  const auto throttling = [](const v1::Metrics& all) {
    return all.cpu().has_throttling() ? &all.cpu().throttling() : nullptr;
  };
  const auto memory = [](const v1::Metrics& all) {
    return all.has_memory() ? &all.memory() : nullptr;
  };
  const auto pids = [](const v1::Metrics& all) { return all.has_pids() ? &all.pids() : nullptr; };
  const auto oom = [](const v1::Metrics& all) {
    return all.memory_oom_control().oom_kill() > 0 ? &all.memory_oom_control() : nullptr;
  };
  WriteBlkio(containers, out);
  WriteGauges<v1::Metrics, v1::CPUUsage>(containers, kUsageV1, usage, out);
  WriteGauges<v1::Metrics, v1::Throttle>(containers, kThrottleV1, throttling, out);
  WritePerCpu(containers, out);
  const Gauge<v1::HugetlbStat> pages[] = {
      {"container_hugetlb_failcnt_total", "Failures to get huge pages.", &v1::HugetlbStat::failcnt},
      {"container_hugetlb_max_bytes", "Highest use of huge pages.", &v1::HugetlbStat::max},
      {"container_hugetlb_usage_bytes", "Use of huge pages.", &v1::HugetlbStat::usage}};
  WriteHugePages(containers, pages, out);
  WriteGauges<v1::Metrics, v1::MemoryStat>(containers, kMemoryV1, memory, out);
  WriteEntriesV1(containers, out);
  WriteGauge<v1::Metrics, v1::MemoryOomControl>(
      containers,
      {"container_memory_oom_total", "Processes killed for want of memory.",
       &v1::MemoryOomControl::oom_kill},
      oom, out);
  WriteGauges<v1::Metrics, v1::PidsStat>(containers, kPidsV1, pids, out);
}

// --- cgroup v2 ---

constexpr Gauge<v2::CPUStat> kCpuV2[] = {
    {"container_cpu_nr_periods_total", "Periods in which a limit of processor time held.",
     &v2::CPUStat::nr_periods},
    {"container_cpu_nr_throttled_total", "Of those, periods in which the limit was reached.",
     &v2::CPUStat::nr_throttled},
    {"container_cpu_system_usec_microseconds", "Processor time in the kernel.",
     &v2::CPUStat::system_usec},
    {"container_cpu_throttled_usec_microseconds", "Time spent waiting for the limit.",
     &v2::CPUStat::throttled_usec},
    {"container_cpu_usage_usec_microseconds", "Processor time.", &v2::CPUStat::usage_usec},
    {"container_cpu_user_usec_microseconds", "Processor time in user mode.",
     &v2::CPUStat::user_usec},
};
constexpr Gauge<v2::MemoryStat> kMemoryV2[] = {
    {"container_memory_active_anon_bytes", "memory.stat of cgroup v2: active_anon.",
     &v2::MemoryStat::active_anon},
    {"container_memory_active_file_bytes", "memory.stat of cgroup v2: active_file.",
     &v2::MemoryStat::active_file},
    {"container_memory_anon_bytes", "memory.stat of cgroup v2: anon.", &v2::MemoryStat::anon},
    {"container_memory_anon_thp_bytes", "memory.stat of cgroup v2: anon_thp.",
     &v2::MemoryStat::anon_thp},
    {"container_memory_file_bytes", "memory.stat of cgroup v2: file.", &v2::MemoryStat::file},
    {"container_memory_file_dirty_bytes", "memory.stat of cgroup v2: file_dirty.",
     &v2::MemoryStat::file_dirty},
    {"container_memory_file_mapped_bytes", "memory.stat of cgroup v2: file_mapped.",
     &v2::MemoryStat::file_mapped},
    {"container_memory_file_writeback_bytes", "memory.stat of cgroup v2: file_writeback.",
     &v2::MemoryStat::file_writeback},
    {"container_memory_inactive_anon_bytes", "memory.stat of cgroup v2: inactive_anon.",
     &v2::MemoryStat::inactive_anon},
    {"container_memory_inactive_file_bytes", "memory.stat of cgroup v2: inactive_file.",
     &v2::MemoryStat::inactive_file},
    {"container_memory_kernel_stack_bytes", "memory.stat of cgroup v2: kernel_stack.",
     &v2::MemoryStat::kernel_stack},
    {"container_memory_pgactivate_bytes", "memory.stat of cgroup v2: pgactivate.",
     &v2::MemoryStat::pgactivate},
    {"container_memory_pgdeactivate_bytes", "memory.stat of cgroup v2: pgdeactivate.",
     &v2::MemoryStat::pgdeactivate},
    {"container_memory_pgfault_bytes", "memory.stat of cgroup v2: pgfault.",
     &v2::MemoryStat::pgfault},
    {"container_memory_pglazyfree_bytes", "memory.stat of cgroup v2: pglazyfree.",
     &v2::MemoryStat::pglazyfree},
    {"container_memory_pglazyfreed_bytes", "memory.stat of cgroup v2: pglazyfreed.",
     &v2::MemoryStat::pglazyfreed},
    {"container_memory_pgmajfault_bytes", "memory.stat of cgroup v2: pgmajfault.",
     &v2::MemoryStat::pgmajfault},
    {"container_memory_pgrefill_bytes", "memory.stat of cgroup v2: pgrefill.",
     &v2::MemoryStat::pgrefill},
    {"container_memory_pgscan_bytes", "memory.stat of cgroup v2: pgscan.", &v2::MemoryStat::pgscan},
    {"container_memory_pgsteal_bytes", "memory.stat of cgroup v2: pgsteal.",
     &v2::MemoryStat::pgsteal},
    {"container_memory_shmem_bytes", "memory.stat of cgroup v2: shmem.", &v2::MemoryStat::shmem},
    {"container_memory_slab_bytes", "memory.stat of cgroup v2: slab.", &v2::MemoryStat::slab},
    {"container_memory_slab_reclaimable_bytes", "memory.stat of cgroup v2: slab_reclaimable.",
     &v2::MemoryStat::slab_reclaimable},
    {"container_memory_slab_unreclaimable_bytes", "memory.stat of cgroup v2: slab_unreclaimable.",
     &v2::MemoryStat::slab_unreclaimable},
    {"container_memory_sock_bytes", "memory.stat of cgroup v2: sock.", &v2::MemoryStat::sock},
    {"container_memory_thp_collapse_alloc_bytes", "memory.stat of cgroup v2: thp_collapse_alloc.",
     &v2::MemoryStat::thp_collapse_alloc},
    {"container_memory_thp_fault_alloc_bytes", "memory.stat of cgroup v2: thp_fault_alloc.",
     &v2::MemoryStat::thp_fault_alloc},
    {"container_memory_unevictable_bytes", "memory.stat of cgroup v2: unevictable.",
     &v2::MemoryStat::unevictable},
    {"container_memory_workingset_activate_bytes", "memory.stat of cgroup v2: workingset_activate.",
     &v2::MemoryStat::workingset_activate},
    {"container_memory_workingset_nodereclaim_bytes",
     "memory.stat of cgroup v2: workingset_nodereclaim.", &v2::MemoryStat::workingset_nodereclaim},
    {"container_memory_workingset_refault_bytes", "memory.stat of cgroup v2: workingset_refault.",
     &v2::MemoryStat::workingset_refault},
    {"container_memory_swap_limit_bytes", "Limit of swap.", &v2::MemoryStat::swap_limit},
    {"container_memory_swap_usage_bytes", "Use of swap.", &v2::MemoryStat::swap_usage},
    {"container_memory_usage_bytes", "Use of memory.", &v2::MemoryStat::usage},
    {"container_memory_usage_limit_bytes", "Limit of memory.", &v2::MemoryStat::usage_limit},
};
constexpr Gauge<v2::PidsStat> kPidsV2[] = {
    {"container_pids_current", "Processes and threads.", &v2::PidsStat::current},
    {"container_pids_limit", "Limit of processes and threads.", &v2::PidsStat::limit},
};
constexpr Gauge<v2::IOEntry> kIoV2[] = {
    {"container_io_rbytes_bytes", "Bytes read from block devices.", &v2::IOEntry::rbytes},
    {"container_io_rios_total", "Reads from block devices.", &v2::IOEntry::rios},
    {"container_io_wbytes_bytes", "Bytes written to block devices.", &v2::IOEntry::wbytes},
    {"container_io_wios_total", "Writes to block devices.", &v2::IOEntry::wios},
};

std::string DeviceName(uint64_t major, uint64_t minor) {
  char target[512];
  const ssize_t size =
      readlink(StrCat("/sys/dev/block/", major, ":", minor).c_str(), target, sizeof(target));
  if (size <= 0) return "";
  const std::string_view path(target, static_cast<size_t>(size));
  return StrCat("/dev/", path.substr(path.rfind('/') + 1));
}

void WriteIoV2(const Containers<v2::Metrics>& containers, Exposition* out) {
  for (const Gauge<v2::IOEntry>& gauge : kIoV2) {
    bool begun = false;
    for (const auto& container : containers) {
      for (const v2::IOEntry& entry : container.figures.io().usage()) {
        if (!std::exchange(begun, true)) out->Family(gauge.name, MetricKind::kGauge, gauge.help);
        const std::string device = DeviceName(entry.major(), entry.minor());
        const std::string major = StrCat(entry.major());
        const std::string minor = StrCat(entry.minor());
        out->Sample(
            LabelsOf(*container.who, {{"device", device}, {"major", major}, {"minor", minor}}),
            (entry.*gauge.get)());
      }
    }
  }
}

void WriteV2(const Containers<v2::Metrics>& containers, Exposition* out) {
  const auto cpu = [](const v2::Metrics& all) { return all.has_cpu() ? &all.cpu() : nullptr; };
  const auto memory = [](const v2::Metrics& all) {
    return all.has_memory() ? &all.memory() : nullptr;
  };
  const auto events = [](const v2::Metrics& all) {
    return all.has_memory_events() ? &all.memory_events() : nullptr;
  };
  const auto pids = [](const v2::Metrics& all) { return all.has_pids() ? &all.pids() : nullptr; };
  WriteGauges<v2::Metrics, v2::CPUStat>(containers, kCpuV2, cpu, out);
  WriteIoV2(containers, out);
  WriteGauges<v2::Metrics, v2::MemoryStat>(containers, kMemoryV2, memory, out);
  WriteGauge<v2::Metrics, v2::MemoryEvents>(
      containers,
      {"container_memory_oom_total", "Times that memory ran out.", &v2::MemoryEvents::oom}, events,
      out);
  WriteGauges<v2::Metrics, v2::PidsStat>(containers, kPidsV2, pids, out);
}

template <typename Message>
Containers<Message> Decode(const std::vector<ContainerFigures>& containers, std::string_view type) {
  Containers<Message> out;
  for (const ContainerFigures& container : containers) {
    if (wire::TypeName(container.data.type_url) != type) continue;
    Message figures;
    if (figures.ParseFromString(container.data.value))
      out.push_back({&container, std::move(figures)});
  }
  return out;
}

}  // namespace

void WriteContainerFigures(const std::vector<ContainerFigures>& containers, Exposition* out) {
  const auto old = Decode<v1::Metrics>(containers, wire::kCgroupV1MetricsType);
  const auto unified = Decode<v2::Metrics>(containers, wire::kCgroupV2MetricsType);
  // On one machine tasks are of one kind; a family must not stand twice.
  if (!old.empty()) return WriteV1(old, out);
  WriteV2(unified, out);
}

}  // namespace corten::daemon
