// What a cgroup has used, in plain numbers: the figures of containerd's two metrics messages.
//
// A file that is missing leaves its figures at zero (a controller may be absent); a limit "max" is
// UINT64_MAX. Threads: plain functions. Source: kernel documentation of cgroup v1 and v2.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "os/cgroup.h"

namespace corten::os {

struct RdmaFigure {
  std::string device;
  uint32_t hca_handles = 0;
  uint32_t hca_objects = 0;
};

struct PidsFigure {
  bool present = false;
  uint64_t current = 0;
  uint64_t limit = 0;  // none: 0 in v1, UINT64_MAX in v2, as containerd reports them
};

// "name value" lines of a flat-keyed file (memory.stat, cpu.stat, memory.events), looked up by
// name.
class FlatFigures {
 public:
  FlatFigures() = default;
  explicit FlatFigures(std::string text) : text_(std::move(text)) {}
  bool empty() const { return text_.empty(); }
  uint64_t Get(
      std::string_view name) const;  // 0 if absent; numbers too large for 64 bits become UINT64_MAX
  // The first line of `rest` as name and number, taken off. False: nothing is left. Begin with
  // text().
  static bool Next(std::string_view* rest, std::string_view* name, uint64_t* value);
  std::string_view text() const { return text_; }

 private:
  std::string text_;
};

struct PressureLine {
  double avg10 = 0;
  double avg60 = 0;
  double avg300 = 0;
  uint64_t total = 0;
};
struct Pressure {
  bool present = false;
  PressureLine some;
  PressureLine full;
};
Pressure ParsePressure(std::string_view text);

struct MetricsV2 {
  PidsFigure pids;
  FlatFigures cpu;  // cpu.stat
  Pressure cpu_pressure;
  FlatFigures memory;  // memory.stat
  bool memory_present = false;
  uint64_t memory_usage = 0, memory_limit = 0, memory_peak = 0;
  uint64_t swap_usage = 0, swap_limit = 0, swap_peak = 0;
  Pressure memory_pressure;
  FlatFigures memory_events;
  struct Io {
    uint64_t major = 0, minor = 0, rbytes = 0, wbytes = 0, rios = 0, wios = 0;
  };
  std::vector<Io> io;
  Pressure io_pressure;
  struct HugePages {
    std::string page_size;  // "2MB"
    uint64_t current = 0, max = 0, failures = 0;
  };
  std::vector<HugePages> huge_pages;
  std::vector<RdmaFigure> rdma_current, rdma_limit;
};
// Directories above cgroups, held open from their first use: for reading many cgroups, most of
// which stand side by side, since the way down to a small file is a good part of what it costs. One
// thread; not for long, since such a directory may be replaced.
class CgroupParents {
 public:
  // A descriptor to open what is in `dir` from; not valid when there is no such directory, or too
  // many (32) are held.
  FdRef Hold(const std::string& dir);

 private:
  std::map<std::string, Fd> held_;
};

// kNotFound when the cgroup is gone. With `parents` (borrowed for the call) what is above it is
// looked up once for many.
Result<MetricsV2> ReadMetricsV2(const CgroupPlace& place, CgroupParents* parents = nullptr);

struct MetricsV1 {
  PidsFigure pids;
  bool cpu_present = false;
  uint64_t cpu_total_ns = 0, cpu_user_ns = 0, cpu_kernel_ns = 0;
  std::vector<uint64_t> per_cpu_ns;
  FlatFigures throttling;  // cpu.stat
  FlatFigures memory;      // memory.stat
  bool memory_present = false;
  struct MemoryEntry {
    uint64_t limit = 0, usage = 0, max = 0, failures = 0;
  };
  MemoryEntry usage, swap, kernel, kernel_tcp;
  FlatFigures oom_control;
  struct Blkio {
    uint64_t major = 0, minor = 0, value = 0;
    std::string op;      // "Read", "Write" ...; "" for files without operations
    std::string device;  // "/dev/vda", or "" if unknown
  };
  // In the order of the message: service bytes, serviced, queued, service time, wait time, merged,
  // time, sectors.
  std::vector<Blkio> blkio[8];
  struct HugePages {
    std::string page_size;
    uint64_t usage = 0, max = 0, failures = 0;
  };
  std::vector<HugePages> huge_pages;
  std::vector<RdmaFigure> rdma_current, rdma_limit;
};
Result<MetricsV1> ReadMetricsV1(const CgroupPlace& place, CgroupParents* parents = nullptr);

}  // namespace corten::os
