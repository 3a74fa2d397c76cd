#include "wire/cgroup_message.h"

#include "io/containerd/cgroups/v1/metrics.pb.h"
#include "io/containerd/cgroups/v2/metrics.pb.h"
#include "os/cgroup_metrics.h"
#include "wire/any_types.h"

namespace corten::wire {

namespace {

namespace v1 = ::io::containerd::cgroups::v1;
namespace v2 = ::io::containerd::cgroups::v2;

// A message's field and the kernel's name for it.
template <typename Message>
struct NamedField {
  std::string_view name;
  void (Message::*set)(uint64_t);
};

// One pass over the lines. They come in much the same order as the fields, so the search for a
// name begins behind the last one found.
template <typename Message, size_t kCount>
void Fill(Message* out, const os::FlatFigures& figures,
          const NamedField<Message> (&fields)[kCount]) {
  std::string_view rest = figures.text();
  std::string_view name;
  uint64_t value = 0;
  size_t next = 0;
  while (os::FlatFigures::Next(&rest, &name, &value)) {
    for (size_t i = 0; i < kCount; ++i) {
      const size_t at = (next + i) % kCount;
      if (fields[at].name != name) continue;
      (out->*fields[at].set)(value);
      next = at + 1;
      break;
    }
  }
}

constexpr NamedField<v2::CPUStat> kCpuV2[] = {
    {"usage_usec", &v2::CPUStat::set_usage_usec},
    {"user_usec", &v2::CPUStat::set_user_usec},
    {"system_usec", &v2::CPUStat::set_system_usec},
    {"nr_periods", &v2::CPUStat::set_nr_periods},
    {"nr_throttled", &v2::CPUStat::set_nr_throttled},
    {"throttled_usec", &v2::CPUStat::set_throttled_usec},
    {"nr_bursts", &v2::CPUStat::set_nr_bursts},
    {"burst_usec", &v2::CPUStat::set_burst_usec},
};

constexpr NamedField<v2::MemoryStat> kMemoryV2[] = {
    {"anon", &v2::MemoryStat::set_anon},
    {"file", &v2::MemoryStat::set_file},
    {"kernel_stack", &v2::MemoryStat::set_kernel_stack},
    {"slab", &v2::MemoryStat::set_slab},
    {"sock", &v2::MemoryStat::set_sock},
    {"shmem", &v2::MemoryStat::set_shmem},
    {"file_mapped", &v2::MemoryStat::set_file_mapped},
    {"file_dirty", &v2::MemoryStat::set_file_dirty},
    {"file_writeback", &v2::MemoryStat::set_file_writeback},
    {"anon_thp", &v2::MemoryStat::set_anon_thp},
    {"inactive_anon", &v2::MemoryStat::set_inactive_anon},
    {"active_anon", &v2::MemoryStat::set_active_anon},
    {"inactive_file", &v2::MemoryStat::set_inactive_file},
    {"active_file", &v2::MemoryStat::set_active_file},
    {"unevictable", &v2::MemoryStat::set_unevictable},
    {"slab_reclaimable", &v2::MemoryStat::set_slab_reclaimable},
    {"slab_unreclaimable", &v2::MemoryStat::set_slab_unreclaimable},
    {"pgfault", &v2::MemoryStat::set_pgfault},
    {"pgmajfault", &v2::MemoryStat::set_pgmajfault},
    {"workingset_refault", &v2::MemoryStat::set_workingset_refault},
    {"workingset_activate", &v2::MemoryStat::set_workingset_activate},
    {"workingset_nodereclaim", &v2::MemoryStat::set_workingset_nodereclaim},
    {"pgrefill", &v2::MemoryStat::set_pgrefill},
    {"pgscan", &v2::MemoryStat::set_pgscan},
    {"pgsteal", &v2::MemoryStat::set_pgsteal},
    {"pgactivate", &v2::MemoryStat::set_pgactivate},
    {"pgdeactivate", &v2::MemoryStat::set_pgdeactivate},
    {"pglazyfree", &v2::MemoryStat::set_pglazyfree},
    {"pglazyfreed", &v2::MemoryStat::set_pglazyfreed},
    {"thp_fault_alloc", &v2::MemoryStat::set_thp_fault_alloc},
    {"thp_collapse_alloc", &v2::MemoryStat::set_thp_collapse_alloc},
};

constexpr NamedField<v2::MemoryEvents> kEventsV2[] = {
    {"low", &v2::MemoryEvents::set_low},
    {"high", &v2::MemoryEvents::set_high},
    {"max", &v2::MemoryEvents::set_max},
    {"oom", &v2::MemoryEvents::set_oom},
    {"oom_kill", &v2::MemoryEvents::set_oom_kill},
    {"oom_group_kill", &v2::MemoryEvents::set_oom_group_kill},
};

constexpr NamedField<v1::MemoryStat> kMemoryV1[] = {
    {"cache", &v1::MemoryStat::set_cache},
    {"rss", &v1::MemoryStat::set_rss},
    {"rss_huge", &v1::MemoryStat::set_rss_huge},
    {"mapped_file", &v1::MemoryStat::set_mapped_file},
    {"dirty", &v1::MemoryStat::set_dirty},
    {"writeback", &v1::MemoryStat::set_writeback},
    {"pgpgin", &v1::MemoryStat::set_pg_pg_in},
    {"pgpgout", &v1::MemoryStat::set_pg_pg_out},
    {"pgfault", &v1::MemoryStat::set_pg_fault},
    {"pgmajfault", &v1::MemoryStat::set_pg_maj_fault},
    {"inactive_anon", &v1::MemoryStat::set_inactive_anon},
    {"active_anon", &v1::MemoryStat::set_active_anon},
    {"inactive_file", &v1::MemoryStat::set_inactive_file},
    {"active_file", &v1::MemoryStat::set_active_file},
    {"unevictable", &v1::MemoryStat::set_unevictable},
    {"hierarchical_memory_limit", &v1::MemoryStat::set_hierarchical_memory_limit},
    {"hierarchical_memsw_limit", &v1::MemoryStat::set_hierarchical_swap_limit},
    {"total_cache", &v1::MemoryStat::set_total_cache},
    {"total_rss", &v1::MemoryStat::set_total_rss},
    {"total_rss_huge", &v1::MemoryStat::set_total_rss_huge},
    {"total_mapped_file", &v1::MemoryStat::set_total_mapped_file},
    {"total_dirty", &v1::MemoryStat::set_total_dirty},
    {"total_writeback", &v1::MemoryStat::set_total_writeback},
    {"total_pgpgin", &v1::MemoryStat::set_total_pg_pg_in},
    {"total_pgpgout", &v1::MemoryStat::set_total_pg_pg_out},
    {"total_pgfault", &v1::MemoryStat::set_total_pg_fault},
    {"total_pgmajfault", &v1::MemoryStat::set_total_pg_maj_fault},
    {"total_inactive_anon", &v1::MemoryStat::set_total_inactive_anon},
    {"total_active_anon", &v1::MemoryStat::set_total_active_anon},
    {"total_inactive_file", &v1::MemoryStat::set_total_inactive_file},
    {"total_active_file", &v1::MemoryStat::set_total_active_file},
    {"total_unevictable", &v1::MemoryStat::set_total_unevictable},
};

void SetPressure(const os::Pressure& pressure, v2::PSIStats* out) {
  const auto line = [](const os::PressureLine& from, v2::PSIData* to) {
    to->set_avg10(from.avg10);
    to->set_avg60(from.avg60);
    to->set_avg300(from.avg300);
    to->set_total(from.total);
  };
  line(pressure.some, out->mutable_some());
  line(pressure.full, out->mutable_full());
}

template <typename Entry>
void SetRdma(const std::vector<os::RdmaFigure>& from,
             google::protobuf::RepeatedPtrField<Entry>* to) {
  for (const os::RdmaFigure& figure : from) {
    Entry* entry = to->Add();
    entry->set_device(figure.device);
    entry->set_hca_handles(figure.hca_handles);
    entry->set_hca_objects(figure.hca_objects);
  }
}

v2::Metrics MessageV2(const os::MetricsV2& from) {
  v2::Metrics out;
  if (from.pids.present) {
    out.mutable_pids()->set_current(from.pids.current);
    out.mutable_pids()->set_limit(from.pids.limit);
  }
  Fill(out.mutable_cpu(), from.cpu, kCpuV2);
  if (from.cpu_pressure.present) SetPressure(from.cpu_pressure, out.mutable_cpu()->mutable_psi());
  v2::MemoryStat* memory = out.mutable_memory();
  Fill(memory, from.memory, kMemoryV2);
  memory->set_usage(from.memory_usage);
  memory->set_usage_limit(from.memory_limit);
  memory->set_max_usage(from.memory_peak);
  memory->set_swap_usage(from.swap_usage);
  memory->set_swap_limit(from.swap_limit);
  memory->set_swap_max_usage(from.swap_peak);
  if (from.memory_pressure.present) SetPressure(from.memory_pressure, memory->mutable_psi());
  Fill(out.mutable_memory_events(), from.memory_events, kEventsV2);
  for (const os::MetricsV2::Io& io : from.io) {
    v2::IOEntry* entry = out.mutable_io()->add_usage();
    entry->set_major(io.major);
    entry->set_minor(io.minor);
    entry->set_rbytes(io.rbytes);
    entry->set_wbytes(io.wbytes);
    entry->set_rios(io.rios);
    entry->set_wios(io.wios);
  }
  if (from.io_pressure.present) SetPressure(from.io_pressure, out.mutable_io()->mutable_psi());
  for (const os::MetricsV2::HugePages& pages : from.huge_pages) {
    v2::HugeTlbStat* entry = out.add_hugetlb();
    entry->set_current(pages.current);
    entry->set_max(pages.max);
    entry->set_pagesize(pages.page_size);
    entry->set_failcnt(pages.failures);
  }
  SetRdma(from.rdma_current, out.mutable_rdma()->mutable_current());
  SetRdma(from.rdma_limit, out.mutable_rdma()->mutable_limit());
  return out;
}

void SetEntry(const os::MetricsV1::MemoryEntry& from, v1::MemoryEntry* to) {
  to->set_limit(from.limit);
  to->set_usage(from.usage);
  to->set_max(from.max);
  to->set_failcnt(from.failures);
}

void SetBlkio(const os::MetricsV1& from, v1::BlkIOStat* to) {
  google::protobuf::RepeatedPtrField<v1::BlkIOEntry>* const lists[] = {
      to->mutable_io_service_bytes_recursive(), to->mutable_io_serviced_recursive(),
      to->mutable_io_queued_recursive(),        to->mutable_io_service_time_recursive(),
      to->mutable_io_wait_time_recursive(),     to->mutable_io_merged_recursive(),
      to->mutable_io_time_recursive(),          to->mutable_sectors_recursive()};
  for (size_t i = 0; i < std::size(lists); ++i) {
    for (const os::MetricsV1::Blkio& figure : from.blkio[i]) {
      v1::BlkIOEntry* entry = lists[i]->Add();
      entry->set_op(figure.op);
      entry->set_device(figure.device);
      entry->set_major(figure.major);
      entry->set_minor(figure.minor);
      entry->set_value(figure.value);
    }
  }
}

v1::Metrics MessageV1(const os::MetricsV1& from) {
  v1::Metrics out;
  if (from.pids.present) {
    out.mutable_pids()->set_current(from.pids.current);
    out.mutable_pids()->set_limit(from.pids.limit);
  }
  if (from.cpu_present) {
    v1::CPUUsage* usage = out.mutable_cpu()->mutable_usage();
    usage->set_total(from.cpu_total_ns);
    usage->set_user(from.cpu_user_ns);
    usage->set_kernel(from.cpu_kernel_ns);
    for (const uint64_t value : from.per_cpu_ns) usage->add_per_cpu(value);
  }
  v1::Throttle* throttle = out.mutable_cpu()->mutable_throttling();
  throttle->set_periods(from.throttling.Get("nr_periods"));
  throttle->set_throttled_periods(from.throttling.Get("nr_throttled"));
  throttle->set_throttled_time(from.throttling.Get("throttled_time"));
  if (from.memory_present) {
    v1::MemoryStat* memory = out.mutable_memory();
    Fill(memory, from.memory, kMemoryV1);
    SetEntry(from.usage, memory->mutable_usage());
    SetEntry(from.swap, memory->mutable_swap());
    SetEntry(from.kernel, memory->mutable_kernel());
    SetEntry(from.kernel_tcp, memory->mutable_kernel_tcp());
    v1::MemoryOomControl* oom = out.mutable_memory_oom_control();
    oom->set_oom_kill_disable(from.oom_control.Get("oom_kill_disable"));
    oom->set_under_oom(from.oom_control.Get("under_oom"));
    oom->set_oom_kill(from.oom_control.Get("oom_kill"));
  }
  SetBlkio(from, out.mutable_blkio());
  for (const os::MetricsV1::HugePages& pages : from.huge_pages) {
    v1::HugetlbStat* entry = out.add_hugetlb();
    entry->set_usage(pages.usage);
    entry->set_max(pages.max);
    entry->set_failcnt(pages.failures);
    entry->set_pagesize(pages.page_size);
  }
  if (!from.rdma_current.empty() ||
      !from.rdma_limit.empty()) {  // a v1 machine need not have this controller
    SetRdma(from.rdma_current, out.mutable_rdma()->mutable_current());
    SetRdma(from.rdma_limit, out.mutable_rdma()->mutable_limit());
  }
  return out;
}

}  // namespace

Result<CgroupMessage> ReadCgroupMessage(const os::CgroupPlace& place, os::CgroupParents* parents) {
  if (place.empty()) return NotFoundError("cgroup");
  CgroupMessage out;
  bool fits = false;  // always, but the generated code asks
  if (place.unified) {
    const os::MetricsV2 figures = TRY(os::ReadMetricsV2(place, parents));
    out.type_url = kCgroupV2MetricsType;
    fits = MessageV2(figures).SerializeToString(&out.value);
  } else {
    const os::MetricsV1 figures = TRY(os::ReadMetricsV1(place, parents));
    out.type_url = kCgroupV1MetricsType;
    fits = MessageV1(figures).SerializeToString(&out.value);
  }
  if (!fits) return InternalError("cgroup figures: too large");
  return out;
}

}  // namespace corten::wire
