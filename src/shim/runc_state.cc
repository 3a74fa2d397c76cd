#include "shim/runc_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "shim/json.h"

namespace corten::shim {

namespace {

constexpr size_t kMaxState = size_t{16} << 20;

Error NotOurs(std::string_view what) {
  return FailedPreconditionError("runc's record of the container: ", what);
}

bool HasElements(const std::optional<JsonView>& array) {
  bool any = false;
  if (array.has_value()) {
    array->ForEach([&](const JsonView&) {
      any = true;
      return false;
    });
  }
  return any;
}

// Null and absent hooks are none; what is no array might be some.
bool HasHooks(const JsonView& config, std::string_view name) {
  const std::optional<JsonView> hooks = config.Find("Hooks", name);
  if (!hooks.has_value() || hooks->kind() == JsonView::Kind::kNull) return false;
  return hooks->kind() != JsonView::Kind::kArray || HasElements(hooks);
}

bool HasPrivatePids(const JsonView& config) {
  bool found = false;
  if (const auto namespaces = config.Find("namespaces")) {
    namespaces->ForEach([&](const JsonView& entry) {
      if (entry.StringAt("type") == "NEWPID") found = entry.StringAt("path").empty();
      return true;
    });
  }
  return found;
}

// Directories below `cgroup_root`, written plainly.
Result<std::vector<std::string>> CgroupDirs(const JsonView& state, const std::string& cgroup_root) {
  const std::optional<JsonView> paths = state.Find("cgroup_paths");
  if (!paths.has_value() || paths->kind() != JsonView::Kind::kObject)
    return NotOurs("no cgroup paths");
  std::vector<std::string> dirs;
  bool plain = true;
  paths->ForEachMember([&](const std::string&, const JsonView& value) {
    std::string dir = value.String().value_or("");
    if (dir.empty()) return true;  // a controller that the container is not in
    plain = dir.starts_with(cgroup_root + "/") && (dir + "/").find("/../") == std::string::npos &&
            dir.back() != '/';
    dirs.push_back(std::move(dir));
    return plain;
  });
  if (!plain) return NotOurs("unknown form of a cgroup path");
  return dirs;
}

}  // namespace

bool RuncState::IsKeptBy(std::string_view binary) {
  return binary.substr(binary.rfind('/') + 1) == "runc";
}

Result<RuncState> RuncState::Read(const std::string& root, const std::string& id, pid_t init,
                                  const std::string& cgroup_root) {
  RuncState out;
  out.root_ = TRY(Dir::Open(root));
  out.dir_ = TRY(out.root_.OpenDir(id));
  out.id_ = id;
  const std::string text = TRY(out.dir_.ReadFile("state.json", kMaxState));
  const JsonView state = TRY(JsonView::Parse(text));
  const auto pid = state.Find("init_process_pid");
  if (state.StringAt("id") != id || !pid.has_value() || pid->Integer() != init)
    return NotOurs("it is another one's");
  const auto is = [&](bool expected, const std::optional<JsonView>& value) {
    return value.has_value() && value->Bool() == expected;
  };
  const std::optional<JsonView> config = state.Find("config");
  if (!config.has_value()) return NotOurs("no config");
  if (!is(false, state.Find("rootless")) || !is(false, config->Find("cgroups", "Systemd")))
    return NotOurs("rootless, or with systemd's cgroups");
  if (!state.StringAt("intel_rdt_path").empty()) return NotOurs("with a resctrl group");
  out.cgroups_ = TRY(CgroupDirs(state, cgroup_root));
  out.poststart_hooks_ = HasHooks(*config, "poststart");
  out.poststop_hooks_ = HasHooks(*config, "poststop");
  out.private_pids_ = HasPrivatePids(*config);
  return out;
}

Result<Fd> RuncState::OpenFifo() const {
  if (poststart_hooks_) return NotOurs("hooks after the start");
  Fd fifo = TRY(dir_.OpenFile(std::string(kFifo), O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  struct stat st = {};
  if (fstat(fifo.get(), &st) != 0) return ErrnoError(errno, "stat exec fifo");
  if (!S_ISFIFO(st.st_mode)) return NotOurs("no fifo to start it by");
  return fifo;
}

Status RuncState::Remove() const {
  if (poststop_hooks_) return NotOurs("hooks after the end");
  if (!private_pids_) return NotOurs("without a PID namespace of its own");
  for (const std::string& dir : cgroups_) {
    if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove cgroup ", dir);
  }
  return root_.RemoveTree(id_);
}

}  // namespace corten::shim
