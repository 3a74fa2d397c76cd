#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <string>
#include <vector>

#include "base/build_version.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/spawn.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "containerd/types/introspection.pb.h"
#include "os/mount.h"
#include "shim/bundle.h"
#include "shim/commands.h"
#include "shim/oci_runtime.h"
#include "shim/reaper.h"
#include "wire/any_types.h"

namespace corten::shim {

namespace {

constexpr std::chrono::seconds kDeleteDeadline(30);
constexpr std::chrono::seconds kFeaturesDeadline(5);
constexpr uint32_t kKilledStatus = 128 + SIGKILL;

// The daemon logs what we say here, if we end well.
void Warn(const std::string& text) {
  (void)WriteAll(FdRef(STDERR_FILENO), StrCat(text, "\n"), "standard error");
}

// The bundle is the working directory's sibling with the container's name: in a pod it need not be
// our own.
Result<std::string> BundleOf(const std::string& id) {
  char buffer[PATH_MAX];
  if (getcwd(buffer, sizeof(buffer)) == nullptr) return ErrnoError(errno, "find working directory");
  const std::string cwd = buffer;
  return StrCat(cwd.substr(0, cwd.rfind('/')), "/", id);
}

void DeleteFromRuntime(const Arguments& arguments, const std::string& bundle) {
  const Result<std::unique_ptr<Loop>> loop = Loop::Create();
  if (!loop.ok()) return Warn(loop.error().text());
  Reaper reaper(**loop);
  const OciRuntime runtime(**loop, reaper, arguments.ns, arguments.id, bundle, ReadSettings(bundle),
                           "");
  SpawnOptions spawn;
  spawn.args = runtime.BaseArguments();
  for (const char* word : {"delete", "--force"}) spawn.args.emplace_back(word);
  spawn.args.push_back(arguments.id);
  const Result<RunOutput> output = RunProgram(spawn, "", kDeleteDeadline);
  if (!output.ok()) return Warn(StrCat("failed to remove runc container: ", output.error().text()));
  if (output->status.ok() || MeansNotExisting(output->err)) return;
  Warn(StrCat("failed to remove runc container: ", output->err));
}

}  // namespace

Status RunDelete(const Arguments& arguments) {
  if (arguments.id.empty()) return InvalidArgumentError("shim id cannot be empty");
  const std::string bundle = TRY(BundleOf(arguments.id));
  DeleteFromRuntime(arguments, bundle);
  if (Status unmounted = os::UnmountRecursive(StrCat(bundle, "/rootfs"), MNT_DETACH);
      !unmounted.ok()) {
    Warn(StrCat("failed to cleanup rootfs mount: ", unmounted.error().text()));
  }
  containerd::task::v3::DeleteResponse response;
  const Result<pid_t> pid = ReadPidFile(StrCat(bundle, "/init.pid"));
  if (pid.ok()) response.set_pid(static_cast<uint32_t>(*pid));
  const Time now = Now();
  response.set_exit_status(kKilledStatus);
  response.mutable_exited_at()->set_seconds(now.seconds);
  response.mutable_exited_at()->set_nanos(now.nanos);
  return WriteAll(FdRef(STDOUT_FILENO), response.SerializeAsString(), "standard output");
}

Status RunInfo() {
  containerd::types::RuntimeInfo info;
  info.set_name(kRuntimeName);
  info.mutable_version()->set_version(std::string(BuildVersion()));
  info.mutable_version()->set_revision(std::string(BuildRevision()));
  std::string binary = RuntimeSettings().binary;
  const std::string text = TRY(ReadStandardInput());
  if (!text.empty()) {
    if (!info.mutable_options()->ParseFromString(text))
      return InvalidArgumentError("runtime options cannot be read");
    const auto options = wire::UnpackAny<containerd::runc::v1::Options>(info.options());
    if (options.ok() && !options->binary_name().empty()) binary = options->binary_name();
  }
  SpawnOptions spawn;
  spawn.args = {binary, "features"};
  const Result<RunOutput> features = RunProgram(spawn, "", kFeaturesDeadline);
  if (!features.ok() && features.error().sys_errno() == ENOENT) {
    const bool path = binary.find('/') != std::string::npos;
    return NotFoundError("failed to look up the path of ", Quoted(binary),
                         ": exec: ", Quoted(binary), ": ",
                         path ? StrCat("stat ", binary, ": no such file or directory")
                              : "executable file not found in $PATH");
  }
  // Older runtimes do not know the command; what they can do is then unknown, which is no error.
  if (features.ok() && features->status.ok() && !features->out.empty()) {
    info.mutable_features()->set_type_url(std::string(wire::kFeaturesType));
    info.mutable_features()->set_value(features->out);
  }
  return WriteAll(FdRef(STDOUT_FILENO), info.SerializeAsString(), "standard output");
}

Status RunMount(const Arguments& arguments) {
  const std::string text = TRY(ReadStandardInput());
  containerd::task::v3::CreateTaskRequest request;
  if (!request.ParseFromString(text)) return InvalidArgumentError("mounts cannot be read");
  std::vector<model::Mount> mounts;
  for (const auto& mount : request.rootfs()) {
    mounts.push_back({mount.type(),
                      mount.source(),
                      mount.target(),
                      {mount.options().begin(), mount.options().end()}});
  }
  return os::MountList(mounts, arguments.operand);
}

Status RunUnmount(const Arguments& arguments) {
  const Status done = os::UnmountRecursive(arguments.operand, 0);
  if (done.ok()) return Ok();
  return os::UnmountRecursive(arguments.operand, MNT_DETACH);
}

}  // namespace corten::shim
