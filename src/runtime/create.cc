// Creation: record, mounts, bundle, shim, task. Each step undone when a later one fails.
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "containerd/task/v3/task.pb.h"
#include "containerd/types/introspection.pb.h"
#include "google/protobuf/any.pb.h"
#include "runtime/tasks_core.h"
#include "wire/any_types.h"
#include "wire/ttrpc_client.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

constexpr std::chrono::milliseconds kConnectTimeout{1000};
// A shim that is just leaving may be met once or twice; a third time it is not leaving.
constexpr int kStartAttempts = 3;

// One creation under way. Runs on `control`, waits on the shim loop, ends on `control`.
struct Creation : std::enable_shared_from_this<Creation> {
  Creation(std::shared_ptr<Tasks::Core> core_in, CallOptions call_in, CreateRequest request_in,
           Done<uint32_t> done_in)
      : core(std::move(core_in)),
        call(call_in),
        request(std::move(request_in)),
        done(std::move(done_in)),
        bundle(core->bundles.At(request.task)) {}

  void Run();
  Status Prepare();
  Status CheckIdmap(const std::string& spec);
  Status JoinShim();
  Status StartShim();
  Status StartShimOnce(bool* again);
  void CallCreate();
  void OnAnswer(Result<std::string> answer);
  void UndoShimTask();
  void Fail(Error error);

  const std::shared_ptr<Tasks::Core> core;
  const CallOptions call;
  CreateRequest request;
  const Done<uint32_t> done;
  Bundle bundle;
  metadata::Container container;
  std::string runtime;
  std::optional<model::Any> options;
  SpecFacts facts;
  TaskLink link;
  bool activated = false;
};

void Creation::Run() {
  FAILPOINT("runtime.create.asked");
  const TaskKey& key = request.task;
  Result<metadata::Container> found = core->links.containers->Get(key.ns, key.id);
  if (!found.ok()) return done(std::move(found).TakeError());
  container = std::move(*found);
  if (!request.checkpoint.empty())
    return done(UnimplementedError("create from a checkpoint: ", request.checkpoint));
  Status reserved = core->table.Reserve(key);
  if (!reserved.ok()) return done(std::move(reserved).TakeError());
  Status prepared = Prepare();
  if (!prepared.ok()) return Fail(std::move(prepared).TakeError());
  CallCreate();
}

Status Creation::Prepare() {
  runtime = request.runtime_path.empty() ? container.runtime.name : request.runtime_path;
  options = request.options && !request.options->value.empty() ? request.options
                                                               : container.runtime.options;
  if (core->links.mounts != nullptr && !request.rootfs.empty()) {
    request.rootfs = TRY(core->links.mounts->Activate(request.task, std::move(request.rootfs)));
    activated = true;
  }
  std::optional<std::string_view> spec;
  if (container.spec && !container.spec->value.empty()) spec = container.spec->value;
  facts = ReadSpecFacts(spec.value_or(""));
  bundle = TRY(core->bundles.Create(request.task, spec, facts));
  Status running = JoinShim();
  if (!running.ok()) return std::move(running).TakeError().Context("failed to start shim");
  FAILPOINT("runtime.create.shim_connected");
  core->table.Attach(request.task, link, request.io);
  if (facts.idmapped_mounts) {
    Status checked = CheckIdmap(runtime);
    if (!checked.ok())
      return std::move(checked).TakeError().Context("failed to validate OCI runtime features");
  }
  return Ok();
}

// runc skips what it does not know; an unmapped mount instead of a mapped one would be a hole.
Status Creation::CheckIdmap(const std::string& name) {
  const Result<std::string> text = core->RuntimeInfo(name, options);
  if (!text.ok()) return Ok();  // a shim may not know -info
  ::containerd::types::RuntimeInfo info;
  if (!info.ParseFromString(*text) ||
      wire::TypeName(info.features().type_url()) != wire::kFeaturesType)
    return Ok();
  const auto json =
      nlohmann::json::parse(info.features().value(), nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer enabled("/linux/mountExtensions/idmap/enabled");
  if (json.is_object() && json.contains(enabled) && json[enabled].is_boolean() &&
      json[enabled].get<bool>())
    return Ok();
  return UnimplementedError("OCI runtime doesn't support idmap mounts");
}

// The shim of the sandbox, if the request or the sandbox names one; else one of its own (or its
// pod's).
Status Creation::JoinShim() {
  std::optional<Endpoint> endpoint;
  if (!request.task_api_address.empty()) {
    const std::string& address = request.task_api_address;
    const size_t plus = address.find('+');
    endpoint = Endpoint{request.task_api_version == 0 ? kMaxTaskVersion
                                                      : static_cast<int>(request.task_api_version),
                        plus == std::string::npos ? address : address.substr(plus + 1),
                        plus == std::string::npos ? "ttrpc" : address.substr(0, plus)};
    if (endpoint->version > kMaxTaskVersion)
      return UnimplementedError("unsupported shim version (", endpoint->version, ")");
  } else if (!container.sandbox.empty() && container.sandbox.str() != request.task.id.str() &&
             core->links.sandboxes != nullptr &&
             core->links.sandboxes->Get(request.task.ns, container.sandbox).ok()) {
    const Result<TaskLink> sandbox =
        core->table.Find({request.task.ns, model::ContainerId(container.sandbox.str())});
    if (sandbox.ok() && sandbox->shim->version() >= kMaxTaskVersion)
      endpoint = sandbox->shim->endpoint();
  }
  link.runtime = runtime;
  if (!endpoint || endpoint->version < kMaxTaskVersion) return StartShim();
  TRY(bundle.WriteSandbox(container.sandbox));
  TRY(bundle.WriteEndpoint(*endpoint));
  link.joined_sandbox = true;
  link.shim = TRY(core->pool.Acquire(*endpoint, -1, kConnectTimeout));
  return Ok();
}

Status Creation::StartShim() {
  Result<std::string> binary = core->ResolveShim(runtime);
  if (!binary.ok()) return std::move(binary).TakeError().Context("failed to resolve runtime path");
  link.binary = std::move(*binary);
  link.keeps_events = core->starter.IsOwn(link.binary);
  TRY(bundle.WriteShimBinary(link.binary));
  TRY(core->logs.Watch(bundle));
  // A shim of the same name that was told to end must not be joined while it does.
  (void)core->pool.AwaitLeaving(core->starter.GuessEndpoint(request.task, facts).address,
                                core->settings.shutdown_deadline);
  for (int attempt = 1;; ++attempt) {
    bool again = false;
    Status started = StartShimOnce(&again);
    if (started.ok() || !again || attempt == kStartAttempts) return started;
  }
}

Status Creation::StartShimOnce(bool* again) {
  const StartedShim shim = TRY(core->starter.Start(link.binary, bundle, facts, options));
  FAILPOINT("runtime.create.shim_started");
  if (core->pool.AwaitLeaving(shim.endpoint.address, core->settings.shutdown_deadline)) {
    *again = true;
    return UnavailableError("shim at ", shim.endpoint.address, " was ending");
  }
  Result<std::shared_ptr<ShimClient>> client =
      core->pool.Acquire(shim.endpoint, shim.pid, kConnectTimeout);
  if (!client.ok()) {
    *again = shim.joined;  // it ended between the look and the connection
    return std::move(client).TakeError();
  }
  link.shim = std::move(*client);
  if (shim.joined)
    core->logs.Forget(
        request.task);  // that shim writes to the log of the bundle it was started for
  return Ok();
}

void Creation::CallCreate() {
  pb::CreateTaskRequest message;
  message.set_id(request.task.id.str());
  message.set_bundle(bundle.path());
  for (const model::Mount& mount : request.rootfs) {
    auto* out = message.add_rootfs();
    out->set_type(mount.type);
    out->set_source(mount.source);
    out->set_target(mount.target);
    for (const std::string& option : mount.options) out->add_options(option);
  }
  message.set_terminal(request.io.terminal);
  message.set_stdin(request.io.in);
  message.set_stdout(request.io.out);
  message.set_stderr(request.io.err);
  if (options) {
    message.mutable_options()->set_type_url(options->type_url);
    message.mutable_options()->set_value(options->value);
  }
  link.shim->Call(request.task.ns, "Create", message.SerializeAsString(),
                  Tasks::Core::Timeout(call),
                  [self = shared_from_this()](Result<std::string> answer) {
                    self->OnAnswer(std::move(answer));
                  });
}

// On the shim loop.
void Creation::OnAnswer(Result<std::string> answer) {
  pb::CreateTaskResponse response;
  if (answer.ok() && response.ParseFromString(*answer)) {
    core->table.Created(request.task, response.pid());
    core->Watch({request.task, {}});
    FAILPOINT("runtime.create.created");
    return core->Finish<uint32_t>(done, response.pid());
  }
  if (!answer.ok() && answer.error().Is(Code::kUnimplemented) && link.shim->Downgrade())
    return CallCreate();
  if (core->stopping)
    return done(UnavailableError("the daemon is stopping"));  // recovery decides what became of it
  auto error = std::make_shared<Error>(answer.ok() ? InternalError("unreadable answer")
                                                   : std::move(answer).TakeError());
  core->Background([self = shared_from_this(), error] {
    self->UndoShimTask();
    self->Fail(std::move(*error).Context("failed to create shim task"));
  });
}

// Whatever the shim made of the failed Create.
void Creation::UndoShimTask() {
  bool gone = link.shim->closed();
  if (!gone) {
    pb::DeleteRequest message;
    message.set_id(request.task.id.str());
    const Result<std::string> deleted =
        link.shim->CallSync(request.task.ns, "Delete", message.SerializeAsString(),
                            core->starter.settings().cleanup_deadline);
    gone = !deleted.ok() &&
           (deleted.error().Is(Code::kDeadlineExceeded) || wire::IsClosedError(deleted.error()));
  }
  if (gone && !link.binary.empty()) (void)core->DeleteDead(bundle, link.binary);
}

// On `control`. Nothing stays behind; what resists is met by the next Create of this id or by
// recovery.
void Creation::Fail(Error error) {
  if (link.shim != nullptr) core->LetGo(request.task, link.shim, link.joined_sandbox);
  core->logs.Forget(request.task);
  (void)core->bundles.Remove(request.task);  // busy: the next Create of this id tries again
  if (activated)
    (void)core->links.mounts->Deactivate(request.task);  // the collector does it otherwise
  core->table.Abandon(request.task);
  done(std::move(error));
}

}  // namespace

Result<std::string> Tasks::Core::ResolveShim(const std::string& runtime) {
  return resolver.Resolve(runtime);
}

void Tasks::Core::Create(const CallOptions& call, CreateRequest request, Done<uint32_t> done) {
  auto creation = std::make_shared<Creation>(shared_from_this(), call, std::move(request), done);
  Result<Gate::Hold> hold = gate.Enter();
  if (!hold.ok()) return done(std::move(hold).TakeError());
  auto held = std::make_shared<Gate::Hold>(std::move(*hold));
  Status accepted = links.control->Submit([held, creation] { creation->Run(); });
  if (!accepted.ok()) done(std::move(accepted).TakeError());
}

Result<std::string> Tasks::Core::RuntimeInfo(const std::string& runtime,
                                             const std::optional<model::Any>& options) {
  const std::string name = runtime.empty() ? "io.containerd.runc.v2" : runtime;
  // The options choose the OCI runtime, so they are part of the question.
  const std::string memo =
      options ? StrCat(name, "\n", options->type_url, "\n", options->value) : name;
  {
    const std::lock_guard lock(info_mutex);
    const auto known = infos.find(memo);
    if (known != infos.end()) return known->second;
  }
  const std::string binary = TRY(ResolveShim(name).Context("failed to resolve runtime path"));
  std::string info = TRY(starter.Info(binary, options));
  constexpr size_t kMaxInfos = 256;
  const std::lock_guard lock(info_mutex);
  if (infos.size() >= kMaxInfos) infos.clear();
  return infos.insert_or_assign(memo, std::move(info)).first->second;
}

}  // namespace corten::runtime
