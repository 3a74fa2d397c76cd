#include "os/cgroup_metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <functional>

#include "base/dir.h"
#include "base/fd.h"
#include "base/kernel_version.h"

namespace corten::os {

namespace {

constexpr size_t kMaxFile = size_t{4} << 20;
constexpr uint64_t kNanosPerTick = 1000000000 / 100;  // USER_HZ is 100 on every Linux ABI

// One cgroup's directory in a hierarchy. Without a directory every file is missing.
//
// kHeld: open while its files are read, for many of them. kNamed: looked up with each file.
enum class Access { kHeld, kNamed };
struct Group {
  Group(std::string dir, CgroupParents* parents, Access access) : path(std::move(dir)) {
    if (path.empty()) return;
    std::string name = path;
    int above = AT_FDCWD;
    const size_t slash = path.rfind('/');
    const FdRef parent = parents != nullptr && slash != std::string::npos
                             ? parents->Hold(path.substr(0, slash))
                             : FdRef(-1);
    if (parent.valid()) {
      above = parent.get();
      name = path.substr(slash + 1);
    }
    if (access == Access::kHeld) {
      fd = Fd(openat(above, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      at = fd.get();
    } else {
      at = above;
      prefix = name + "/";
    }
  }
  const std::string path;
  Fd fd;               // of a held one
  int at = -1;         // where files are opened from
  std::string prefix;  // before their names
};

// Nearly all time goes into opening files, so version 1 (dozens of them a container) opens none
// whose text follows from another that is read anyway. Each such step names the kernel's reason.

// The whole file, or "" if it cannot be read. Asked for dozens of files per container, most of them
// a line long and some missing: so without an error's text. The kernel hands out such a file in one
// read if it fits, so what does not fill the buffer is all.
std::string ReadText(const Group& group, const std::string& file) {
  if (group.at == -1) return "";
  const std::string& name = group.prefix.empty() ? file : group.prefix + file;
  const Fd fd(openat(group.at, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return "";
  std::string text;
  char buffer[8192];
  while (text.size() < kMaxFile) {
    const ssize_t got = read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return "";
    text.append(buffer, static_cast<size_t>(got));
    if (got < static_cast<ssize_t>(sizeof(buffer))) break;
  }
  return text;
}

std::string_view NextWord(std::string_view* text) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) text->remove_prefix(1);
  const size_t end = text->find_first_of(" \t\n");
  const std::string_view word = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end);
  return word;
}

// "max" and numbers beyond 64 bits are UINT64_MAX; anything else unreadable is 0.
uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec == std::errc::result_out_of_range || text == "max") return UINT64_MAX;
  return parsed.ec == std::errc() ? value : 0;
}

uint64_t ReadNumber(const Group& dir, const std::string& file, bool* present = nullptr) {
  const std::string text = ReadText(dir, file);
  if (present != nullptr) *present = *present || !text.empty();
  std::string_view rest = text;
  return Number(NextWord(&rest));
}

template <typename F>
void ForEachLine(std::string_view text, F f) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end != 0) f(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

// "8:16" into two numbers.
bool ParseDevice(std::string_view text, uint64_t* major, uint64_t* minor) {
  const size_t colon = text.find(':');
  return colon != std::string_view::npos && ParseU64(text.substr(0, colon), major) &&
         ParseU64(text.substr(colon + 1), minor);
}

std::string DeviceName(uint64_t major, uint64_t minor) {
  char target[512];
  const ssize_t size =
      readlink(StrCat("/sys/dev/block/", major, ":", minor).c_str(), target, sizeof(target));
  if (size <= 0) return "";
  const std::string_view path(target, static_cast<size_t>(size));
  return StrCat("/dev/", path.substr(path.rfind('/') + 1));
}

// Page sizes for which `dir` has files PREFIX.SIZE.SUFFIX.
std::vector<std::string> PageSizes(const Group& dir, std::string_view suffix) {
  std::vector<std::string> out;
  if (!dir.fd.valid()) return out;
  const Result<Dir> opened = Dir::Open(dir.path);
  if (!opened.ok()) return out;
  const Result<std::vector<std::string>> names = opened->List();
  if (!names.ok()) return out;
  for (const std::string& name : *names) {
    if (!name.starts_with("hugetlb.") || !name.ends_with(suffix)) continue;
    const std::string size = name.substr(8, name.size() - 8 - suffix.size());
    if (size.find('.') == std::string::npos) out.push_back(size);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<RdmaFigure> ParseRdma(std::string_view text) {
  std::vector<RdmaFigure> out;
  ForEachLine(text, [&](std::string_view line) {
    RdmaFigure figure;
    figure.device = std::string(NextWord(&line));
    while (!line.empty()) {
      const std::string_view word = NextWord(&line);
      const uint64_t value = Number(word.substr(std::min(word.size(), word.find('=') + 1)));
      const auto narrow = static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
      if (word.starts_with("hca_handle=")) figure.hca_handles = narrow;
      if (word.starts_with("hca_object=")) figure.hca_objects = narrow;
    }
    out.push_back(std::move(figure));
  });
  return out;
}

// What a memory counter without a limit shows as its limit.
uint64_t Unlimited() {
  static const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return static_cast<uint64_t>(INT64_MAX) / page * page;
}

// kNone: the kernel knows no limit for this counter, so nothing was ever refused.
enum class Limits { kPossible, kNone };

// `above`: the lowest limit of the group and those above it, 0 if unknown. The four files of a
// counter exist together.
MetricsV1::MemoryEntry ReadMemoryEntry(const Group& dir, std::string_view prefix,
                                       uint64_t above = 0, Limits limits = Limits::kPossible) {
  MetricsV1::MemoryEntry entry;
  bool has_max = false;
  bool has_usage = false;
  entry.max = ReadNumber(dir, StrCat(prefix, ".max_usage_in_bytes"), &has_max);
  // What was never used is not in use.
  if (!has_max || entry.max != 0)
    entry.usage = ReadNumber(dir, StrCat(prefix, ".usage_in_bytes"), &has_usage);
  if (!has_max && !has_usage) return entry;
  if (limits == Limits::kNone) {
    entry.limit = Unlimited();
    return entry;
  }
  entry.failures = ReadNumber(dir, StrCat(prefix, ".failcnt"));
  // Nobody up to the root has a limit: neither has the group.
  entry.limit = above == Unlimited() ? above : ReadNumber(dir, StrCat(prefix, ".limit_in_bytes"));
  return entry;
}

std::vector<MetricsV1::Blkio> ParseBlkio(std::string_view text) {
  std::vector<MetricsV1::Blkio> out;
  ForEachLine(text, [&](std::string_view line) {
    MetricsV1::Blkio entry;
    if (!ParseDevice(NextWord(&line), &entry.major, &entry.minor)) return;  // the "Total" line
    const std::string_view second = NextWord(&line);
    const std::string_view third = NextWord(&line);
    if (third.empty()) {
      entry.value = Number(second);
    } else {
      entry.op = std::string(second);
      entry.value = Number(third);
    }
    const bool again = !out.empty() && out.back().major == entry.major &&
                       out.back().minor == entry.minor;  // one line for each kind of operation
    entry.device = again ? out.back().device : DeviceName(entry.major, entry.minor);
    out.push_back(std::move(entry));
  });
  return out;
}

void ReadBlkio(const Group& dir, MetricsV1* out) {
  static constexpr const char* kSchedulerFiles[8] = {"blkio.io_service_bytes_recursive",
                                                     "blkio.io_serviced_recursive",
                                                     "blkio.io_queued_recursive",
                                                     "blkio.io_service_time_recursive",
                                                     "blkio.io_wait_time_recursive",
                                                     "blkio.io_merged_recursive",
                                                     "blkio.time_recursive",
                                                     "blkio.sectors_recursive"};
  // A scheduler that counts brings all of its files.
  const std::string serviced = ReadText(dir, kSchedulerFiles[1]);
  for (size_t i = 0; i < 8 && !serviced.empty(); ++i)
    out->blkio[i] = ParseBlkio(i == 1 ? serviced : ReadText(dir, kSchedulerFiles[i]));
  if (!out->blkio[1].empty()) return;
  // Without a scheduler that counts, the throttling layer does. Both of its files list the same
  // devices.
  out->blkio[0].clear();
  out->blkio[1] = ParseBlkio(ReadText(dir, "blkio.throttle.io_serviced"));
  if (!out->blkio[1].empty())
    out->blkio[0] = ParseBlkio(ReadText(dir, "blkio.throttle.io_service_bytes"));
}

// The total is what the kernel adds up from the figures of the CPUs.
void ReadCpu(const Group& cpuacct, MetricsV1* out) {
  const std::string per_cpu = ReadText(cpuacct, "cpuacct.usage_percpu");
  std::string_view rest = per_cpu;
  for (std::string_view word = NextWord(&rest); !word.empty(); word = NextWord(&rest)) {
    out->per_cpu_ns.push_back(Number(word));
    out->cpu_total_ns += out->per_cpu_ns.back();
  }
  out->cpu_present = !out->per_cpu_ns.empty();
  if (!out->cpu_present)
    out->cpu_total_ns = ReadNumber(cpuacct, "cpuacct.usage", &out->cpu_present);
  const FlatFigures ticks(ReadText(cpuacct, "cpuacct.stat"));
  out->cpu_user_ns = ticks.Get("user") * kNanosPerTick;
  out->cpu_kernel_ns = ticks.Get("system") * kNanosPerTick;
}

void ReadMemory(const Group& memory, MetricsV1* out) {
  out->memory = FlatFigures(ReadText(memory, "memory.stat"));
  out->memory_present = !out->memory.empty();
  if (out->memory_present) {
    out->usage = ReadMemoryEntry(memory, "memory", out->memory.Get("hierarchical_memory_limit"));
    out->swap =
        ReadMemoryEntry(memory, "memory.memsw", out->memory.Get("hierarchical_memsw_limit"));
    // Since Linux 5.16 what the kernel needs itself has no limit of its own; writing one has no
    // effect.
    static const Limits kernel_limits = KernelIsAtLeast(5, 16) ? Limits::kNone : Limits::kPossible;
    out->kernel = ReadMemoryEntry(memory, "memory.kmem", 0, kernel_limits);
    out->kernel_tcp = ReadMemoryEntry(memory, "memory.kmem.tcp");
  }
  out->oom_control = FlatFigures(ReadText(memory, "memory.oom_control"));
}

void ReadIo(const Group& dir, MetricsV2* out) {
  ForEachLine(ReadText(dir, "io.stat"), [&](std::string_view line) {
    MetricsV2::Io io;
    if (!ParseDevice(NextWord(&line), &io.major, &io.minor)) return;
    while (!line.empty()) {
      const std::string_view word = NextWord(&line);
      const uint64_t value = Number(word.substr(std::min(word.size(), word.find('=') + 1)));
      if (word.starts_with("rbytes=")) io.rbytes = value;
      if (word.starts_with("wbytes=")) io.wbytes = value;
      if (word.starts_with("rios=")) io.rios = value;
      if (word.starts_with("wios=")) io.wios = value;
    }
    out->io.push_back(io);
  });
}

void ReadHugePages(const Group& dir, MetricsV2* out) {
  for (const std::string& size : PageSizes(dir, ".current")) {
    MetricsV2::HugePages pages;
    pages.page_size = size;
    pages.current = ReadNumber(dir, StrCat("hugetlb.", size, ".current"));
    pages.max = ReadNumber(dir, StrCat("hugetlb.", size, ".max"));
    pages.failures = FlatFigures(ReadText(dir, StrCat("hugetlb.", size, ".events"))).Get("max");
    out->huge_pages.push_back(std::move(pages));
  }
}

Status CheckThere(const Group& group) {
  if (group.fd.valid()) return Ok();
  return NotFoundError("cgroup ", group.path);
}

}  // namespace

FdRef CgroupParents::Hold(const std::string& dir) {
  constexpr size_t kMost = 32;
  auto found = held_.find(dir);
  if (found == held_.end()) {
    if (held_.size() >= kMost) return FdRef(-1);
    found = held_.emplace(dir, Fd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))).first;
  }
  return found->second;
}

bool FlatFigures::Next(std::string_view* rest, std::string_view* name, uint64_t* value) {
  if (rest->empty()) return false;
  const size_t end = rest->find('\n');
  std::string_view line = rest->substr(0, end);
  rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
  *name = NextWord(&line);
  *value = Number(NextWord(&line));
  return true;
}

uint64_t FlatFigures::Get(std::string_view name) const {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ') {
      line.remove_prefix(name.size());
      return Number(NextWord(&line));
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return 0;
}

Pressure ParsePressure(std::string_view text) {
  Pressure out;
  ForEachLine(text, [&](std::string_view line) {
    const std::string_view kind = NextWord(&line);
    PressureLine* target = kind == "some" ? &out.some : kind == "full" ? &out.full : nullptr;
    if (target == nullptr) return;
    out.present = true;
    while (!line.empty()) {
      const std::string_view word = NextWord(&line);
      const size_t equals = word.find('=');
      if (equals == std::string_view::npos) continue;
      const std::string_view name = word.substr(0, equals);
      const std::string_view value = word.substr(equals + 1);
      double number = 0;
      (void)std::from_chars(value.data(), value.data() + value.size(), number);
      if (name == "avg10") target->avg10 = number;
      if (name == "avg60") target->avg60 = number;
      if (name == "avg300") target->avg300 = number;
      if (name == "total") target->total = Number(value);
    }
  });
  return out;
}

Result<MetricsV2> ReadMetricsV2(const CgroupPlace& place, CgroupParents* parents) {
  const Group dir(place.v2_dir, parents, Access::kHeld);
  TRY(CheckThere(dir));
  MetricsV2 out;
  // Files of a controller exist where it is enabled; those without are always there.
  const std::string enabled = ReadText(dir, "cgroup.controllers");
  const auto has = [&](std::string_view controller) {
    std::string_view rest = enabled;
    for (std::string_view word = NextWord(&rest); !word.empty(); word = NextWord(&rest))
      if (word == controller) return true;
    return false;
  };
  out.cpu = FlatFigures(ReadText(dir, "cpu.stat"));
  out.cpu_pressure = ParsePressure(ReadText(dir, "cpu.pressure"));
  out.memory_pressure = ParsePressure(ReadText(dir, "memory.pressure"));
  out.io_pressure = ParsePressure(ReadText(dir, "io.pressure"));
  if (has("pids")) {
    out.pids.current = ReadNumber(dir, "pids.current", &out.pids.present);
    out.pids.limit = ReadNumber(dir, "pids.max");
  }
  if (has("memory")) {
    out.memory = FlatFigures(ReadText(dir, "memory.stat"));
    out.memory_usage = ReadNumber(dir, "memory.current", &out.memory_present);
    out.memory_limit = ReadNumber(dir, "memory.max");
    out.memory_peak = ReadNumber(dir, "memory.peak");
    out.swap_usage = ReadNumber(dir, "memory.swap.current");
    out.swap_limit = ReadNumber(dir, "memory.swap.max");
    out.swap_peak = ReadNumber(dir, "memory.swap.peak");
    out.memory_events = FlatFigures(ReadText(dir, "memory.events"));
  }
  if (has("io")) ReadIo(dir, &out);
  if (has("hugetlb")) ReadHugePages(dir, &out);
  if (has("rdma")) {
    out.rdma_current = ParseRdma(ReadText(dir, "rdma.current"));
    out.rdma_limit = ParseRdma(ReadText(dir, "rdma.max"));
  }
  return out;
}

Result<MetricsV1> ReadMetricsV1(const CgroupPlace& place, CgroupParents* parents) {
  if (place.v1_dirs.empty()) return NotFoundError("cgroup");
  const auto held = [&](std::string dir) { return Group(std::move(dir), parents, Access::kHeld); };
  const auto named = [&](std::string_view controller) {
    return Group(place.V1(controller), parents, Access::kNamed);
  };
  const Group pids = named("pids");
  const Group memory = held(place.V1("memory"));
  const Group any = held(memory.path.empty() ? place.v1_dirs.begin()->second : "");
  TRY(CheckThere(memory.path.empty() ? any : memory));
  MetricsV1 out;
  out.pids.current = ReadNumber(pids, "pids.current", &out.pids.present);
  out.pids.limit = ReadNumber(pids, "pids.max");
  if (out.pids.limit == UINT64_MAX) out.pids.limit = 0;
  ReadCpu(named("cpuacct"), &out);
  out.throttling = FlatFigures(ReadText(named("cpu"), "cpu.stat"));
  ReadMemory(memory, &out);
  ReadBlkio(named("blkio"), &out);
  const Group hugetlb = held(place.V1("hugetlb"));
  for (const std::string& size : PageSizes(hugetlb, ".usage_in_bytes")) {
    if (size.find("rsvd") != std::string::npos) continue;
    MetricsV1::HugePages pages;
    pages.page_size = size;
    pages.usage = ReadNumber(hugetlb, StrCat("hugetlb.", size, ".usage_in_bytes"));
    pages.max = ReadNumber(hugetlb, StrCat("hugetlb.", size, ".max_usage_in_bytes"));
    pages.failures = ReadNumber(hugetlb, StrCat("hugetlb.", size, ".failcnt"));
    out.huge_pages.push_back(std::move(pages));
  }
  const Group rdma = named("rdma");
  out.rdma_current = ParseRdma(ReadText(rdma, "rdma.current"));
  out.rdma_limit = ParseRdma(ReadText(rdma, "rdma.max"));
  return out;
}

}  // namespace corten::os
