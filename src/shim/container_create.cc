// Container: from the request to a created container, and back when a step fails.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "containerd/task/v3/task.pb.h"
#include "os/mount.h"
#include "shim/container.h"
#include "shim/program_call.h"

namespace corten::shim {

namespace {

constexpr std::chrono::minutes kMountDeadline(2);
constexpr std::chrono::seconds kUnmountDeadline(10);

// Filesystems whose mount call never waits for another machine or process.
bool IsLocal(const model::Mount& mount) {
  for (const std::string_view type : {"bind", "rbind", "overlay", "tmpfs"}) {
    if (mount.type == type) return true;
  }
  return std::find(mount.options.begin(), mount.options.end(), "rbind") != mount.options.end() ||
         std::find(mount.options.begin(), mount.options.end(), "bind") != mount.options.end();
}

// This program again, for work that may hang in the kernel.
ProgramCall OwnProgram(std::string_view action, const std::string& operand) {
  ProgramCall call;
  call.spawn.args = {"/proc/self/exe", std::string(action), operand};
  return call;
}

std::string ProgramError(const ProgramOutput& output) {
  std::string text = output.err;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? StrCat("exit status ", output.status.code) : text;
}

}  // namespace

std::shared_ptr<Container> Container::Create(ShimContext& context, ContainerRequest request,
                                             DoneWith<pid_t> done) {
  Result<SpecFacts> facts = ReadSpecFacts(request.bundle);
  if (!facts.ok()) {
    done(std::move(facts).TakeError());
    return nullptr;
  }
  if (Status written = WriteSettings(request.bundle, request.settings); !written.ok()) {
    done(std::move(written).TakeError());
    return nullptr;
  }
  FAILPOINT("shim.create.settings");
  auto container = std::make_shared<Container>(context, std::move(request), std::move(*facts));
  container->create_done_ = std::move(done);
  container->MountRootfs([container](Status mounted) {
    if (!mounted.ok()) {
      Error error = std::move(mounted).TakeError().Context("failed to mount rootfs component");
      return container->FailCreate(std::move(error), OciRuntime::Force::kNo, /*in_runtime=*/false);
    }
    FAILPOINT("shim.create.mounted");
    container->OpenIoAndCreate();
  });
  return container;
}

void Container::MountRootfs(Done done) {
  const std::string target = rootfs_path();
  if (request_.rootfs.empty()) return done(Ok());
  if (mkdir(target.c_str(), 0711) != 0 && errno != EEXIST)
    return done(ErrnoError(errno, "make directory ", target));
  if (std::all_of(request_.rootfs.begin(), request_.rootfs.end(), IsLocal)) {
    return done(os::MountList(request_.rootfs, target));
  }
  containerd::task::v3::CreateTaskRequest message;
  for (const model::Mount& mount : request_.rootfs) {
    auto* out = message.add_rootfs();
    out->set_type(mount.type);
    out->set_source(mount.source);
    out->set_target(mount.target);
    for (const std::string& option : mount.options) out->add_options(option);
  }
  ProgramCall call = OwnProgram("mount", target);
  call.input = message.SerializeAsString();
  call.deadline = kMountDeadline;
  Status started = RunProgramCall(context_.loop, context_.reaper, std::move(call),
                                  [done](Result<ProgramOutput> output) {
                                    if (!output.ok()) return done(std::move(output).TakeError());
                                    if (!output->status.ok())
                                      return done(UnknownError(ProgramError(*output)));
                                    done(Ok());
                                  });
  if (!started.ok()) done(std::move(started));
}

void Container::OpenIoAndCreate() {
  const ProcessIo::Owner owner = {request_.settings.io_uid, request_.settings.io_gid, context_.ns,
                                  request_.id, request_.bundle};
  const auto self = shared_from_this();
  ProcessIo::Open(
      context_.loop, context_.reaper, request_.places, owner,
      [self](Result<std::unique_ptr<ProcessIo>> io) {
        if (!io.ok()) {
          Error error = std::move(io).TakeError().Context("failed to create init process I/O");
          return self->FailCreate(std::move(error), OciRuntime::Force::kNo, /*in_runtime=*/false);
        }
        self->init_->io = std::move(*io);
        self->init_->starting = true;
        self->create_hold_.emplace(&self->context_.reaper);
        self->runtime_.Create(self->init_->io->console_path(), self->PidFile("init"),
                              self->init_->io->ChildDescriptors(),
                              [self](Status status) { self->OnRuntimeCreated(std::move(status)); });
        self->init_->io->CloseChildEnds();
      });
}

void Container::OnRuntimeCreated(Status status) {
  if (!status.ok()) {
    // Past its deadline the runtime may have left something; after an error of its own it has
    // cleaned up.
    const bool late = status.error().Is(Code::kDeadlineExceeded);
    return FailCreate(std::move(status).TakeError(), OciRuntime::Force::kYes, late);
  }
  FAILPOINT("shim.create.runtime");
  Status watched = WatchProcess(init_, PidFile("init"));
  runtime_.SetInit(init_->pid);
  create_hold_.reset();
  if (!watched.ok()) {
    Error error =
        std::move(watched).TakeError().Context("failed to retrieve OCI runtime container pid");
    return FailCreate(std::move(error), OciRuntime::Force::kYes, /*in_runtime=*/true);
  }
  const auto self = shared_from_this();
  init_->io->Begin([self](Status begun) {
    if (!begun.ok()) {
      Error error = std::move(begun).TakeError().Context("failed to retrieve console master");
      return self->FailCreate(std::move(error), OciRuntime::Force::kYes, /*in_runtime=*/true);
    }
    self->FinishCreate();
  });
}

void Container::FinishCreate() {
  if (Result<os::CgroupPlace> place = os::CgroupOfProcess(init_->pid); place.ok()) {
    cgroup_ = std::move(*place);
    if (Status enabled = os::EnableControllers(cgroup_); !enabled.ok()) {
      log::Warn("not all cgroup controllers could be enabled",
                {{"id", id()}, {"error", enabled.error().text()}});
    }
    WatchOom();
  } else if (!init_->ended.has_value()) {
    log::Warn("no cgroup found", {{"id", id()}, {"error", place.error().text()}});
  }
  created_ = true;
  init_->starting = false;
  context_.publisher.Publish(
      CreateEvent(id(), bundle(), request_.rootfs, request_.places, init_->pid));
  FAILPOINT("shim.create.announced");
  std::exchange(create_done_, nullptr)(init_->pid);
  AnnounceExits();
}

void Container::FailCreate(Error error, OciRuntime::Force force, bool in_runtime) {
  create_hold_.reset();
  init_->io.reset();
  const auto self = shared_from_this();
  const auto shared_error = std::make_shared<Error>(std::move(error));
  const auto unmount = [self, shared_error](const Status&) {
    self->UnmountRootfs([self, shared_error](Status unmounted) {
      if (!unmounted.ok()) {
        log::Warn("rootfs stays mounted after a failed create",
                  {{"id", self->id()}, {"error", unmounted.error().text()}});
      }
      self->deleted_ = true;
      std::exchange(self->create_done_, nullptr)(std::move(*shared_error));
    });
  };
  if (in_runtime) {
    runtime_.Delete(force, unmount);
  } else {
    unmount(Ok());
  }
}

void Container::UnmountRootfs(Done done) {
  if (request_.rootfs.empty()) return done(Ok());
  ProgramCall call = OwnProgram("unmount", rootfs_path());
  call.deadline = kUnmountDeadline;
  Status started = RunProgramCall(
      context_.loop, context_.reaper, std::move(call), [done](Result<ProgramOutput> output) {
        if (!output.ok())
          return done(std::move(output).TakeError().Context("failed rootfs umount"));
        if (!output->status.ok())
          return done(UnknownError("failed rootfs umount: ", ProgramError(*output)));
        done(Ok());
      });
  if (!started.ok()) done(std::move(started));
}

}  // namespace corten::shim
