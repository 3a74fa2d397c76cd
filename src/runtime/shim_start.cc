#include "runtime/shim_start.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/failpoint.h"
#include "base/sha256.h"
#include "base/spawn.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/any.pb.h"
#include "wire/any_types.h"
#include "wire/unix_socket.h"

extern char** environ;

namespace corten::runtime {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kListenerFd = 3;  // where a shim's server expects its socket
constexpr int kMaxOomScoreAdj = 1000;
// A launcher's server may keep the output open by mistake: once the launcher has ended, this much
// more is waited for.
constexpr std::chrono::milliseconds kOutputGrace{200};
constexpr std::chrono::milliseconds kProbe{100};

// `input` as a readable file at its beginning: no pipe that could break or fill up.
Result<Fd> InputFile(std::string_view input) {
  Fd file(memfd_create("shim-input", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoError(errno, "memfd_create");
  TRY(WriteAll(file, input, "shim input"));
  if (lseek(file.get(), 0, SEEK_SET) < 0) return ErrnoError(errno, "lseek");
  return file;
}

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  return text;
}

int LeftMillis(Clock::time_point end) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

struct CombinedOutput {
  ExitStatus status;
  std::string text;  // both outputs, in the order written
};

// Reads until the end of the output, or until the program has ended and nothing more comes.
Status CollectOutput(const Child& child, FdRef output, Clock::time_point end, std::string* text) {
  bool ended = false;
  while (true) {
    pollfd polls[2] = {{output.get(), POLLIN, 0}, {ended ? -1 : child.pidfd().get(), POLLIN, 0}};
    const int n = poll(polls, 2, LeftMillis(end));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "poll");
    if (n == 0) return ended ? Ok() : Status(DeadlineExceededError("shim did not answer in time"));
    if (polls[0].revents != 0) {
      char buffer[8192];
      const size_t got = TRY(ReadSome(output, buffer, sizeof(buffer), "shim output"));
      if (got == 0) return Ok();
      text->append(buffer, std::min(got, kMaxAnswer - std::min(kMaxAnswer, text->size())));
    } else if (polls[1].revents != 0) {
      ended = true;
      end = std::min(end, Clock::now() + kOutputGrace);
    }
  }
}

Result<CombinedOutput> RunCombined(SpawnOptions options, std::string_view input,
                                   std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + deadline;
  const Fd in = TRY(InputFile(input));
  Pipe out = TRY(MakePipe());
  options.fds.emplace_back(in, 0);
  options.fds.emplace_back(out.write, 1);
  options.fds.emplace_back(out.write, 2);
  Child child = TRY(Spawn(options));
  out.write.Reset();
  CombinedOutput result;
  TRY(CollectOutput(child, out.read, end, &result.text));
  result.status = TRY(child.WaitFor(std::chrono::milliseconds(LeftMillis(end))));
  return result;
}

int OwnOomScoreAdj() {
  const Result<std::string> text = ReadFileAt("/proc/self/oom_score_adj", 64);
  return text.ok() ? std::atoi(text->c_str()) : 0;
}

std::string ExitText(const ExitStatus& status) {
  return status.signal != 0 ? StrCat("signal ", status.signal)
                            : StrCat("exit status ", status.code);
}

// The options that only a launcher can carry out.
bool NeedsLauncher(const std::optional<model::Any>& options, const std::vector<std::string>& env) {
  for (const std::string& entry : env) {
    if (entry.starts_with("SCHED_CORE=") && entry != "SCHED_CORE=") return true;
  }
  if (!options || wire::TypeName(options->type_url) != wire::kRuncOptionsType) return false;
  ::containerd::runc::v1::Options runc;
  return runc.ParseFromString(options->value) && !runc.shim_cgroup().empty();
}

}  // namespace

Endpoint ShimStarter::GuessEndpoint(const TaskKey& key, const SpecFacts& facts) const {
  const std::string& group = facts.group.empty() ? key.id.str() : facts.group;
  // The joined path is cleaned as paths are, then hashed.
  const std::string name =
      std::filesystem::path(StrCat(settings_.grpc_address, "/", key.ns.str(), "/", group))
          .lexically_normal()
          .string();
  return {kMaxTaskVersion, StrCat("unix://", settings_.socket_dir, "/", SmallSha256Hex(name)),
          "ttrpc"};
}

std::vector<std::string> ShimStarter::Arguments(const std::string& binary,
                                                const TaskKey& key) const {
  std::vector<std::string> args = {binary,
                                   "-namespace",
                                   key.ns.str(),
                                   "-address",
                                   settings_.grpc_address,
                                   "-publish-binary",
                                   settings_.daemon_binary,
                                   "-id",
                                   key.id.str()};
  if (settings_.debug) args.emplace_back("-debug");
  return args;
}

std::vector<std::string> ShimStarter::Environment(const TaskKey& key) const {
  std::map<std::string, std::string> values;
  const auto set = [&values](std::string_view entry) {
    const size_t equals = entry.find('=');
    if (equals != std::string_view::npos)
      values[std::string(entry.substr(0, equals))] = entry.substr(equals + 1);
  };
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) set(*entry);
  // Not for children: they would take the daemon's sockets and readiness for theirs.
  for (const char* name : {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})
    values.erase(name);
  values["GOMAXPROCS"] = "2";
  values["MAX_SHIM_VERSION"] = "2";  // Wire: what containerd 2.3 says, although 3 is understood
  values["TTRPC_ADDRESS"] = settings_.ttrpc_address;
  values["GRPC_ADDRESS"] = settings_.grpc_address;
  values["NAMESPACE"] = key.ns.str();
  for (const std::string& entry : settings_.env) set(entry);
  std::vector<std::string> env;
  env.reserve(values.size());
  for (const auto& [name, value] : values) env.push_back(StrCat(name, "=", value));
  return env;
}

Result<StartedShim> ShimStarter::Start(const std::string& binary, const Bundle& bundle,
                                       const SpecFacts& facts,
                                       const std::optional<model::Any>& options) const {
  if (IsOwn(binary) && !NeedsLauncher(options, settings_.env))
    return StartServer(binary, bundle, facts);
  BootstrapInput input;
  input.id = bundle.key().id.str();
  input.ns = bundle.key().ns.str();
  input.debug = settings_.debug;
  input.daemon_version = settings_.daemon_version;
  input.ttrpc_address = settings_.ttrpc_address;
  input.grpc_address = settings_.grpc_address;
  input.daemon_binary = settings_.daemon_binary;
  input.options = options;
  input.socket_dir = settings_.socket_dir;

  SpawnOptions spawn;
  spawn.args = Arguments(binary, bundle.key());
  spawn.args.emplace_back("start");
  spawn.env = Environment(bundle.key());
  spawn.work_dir = bundle.path();
  spawn.new_process_group = true;
  const CombinedOutput output = TRY(
      RunCombined(std::move(spawn), EncodeBootstrapInput(input, binary), settings_.start_deadline));
  if (!output.status.ok()) {
    return UnknownError("start failed: ", Trimmed(output.text), ": ", ExitText(output.status));
  }
  FAILPOINT("runtime.create.shim_answered");
  StartedShim shim;
  shim.endpoint = TRY(ParseEndpoint(output.text));
  TRY(bundle.WriteEndpoint(shim.endpoint));
  return shim;
}

Result<StartedShim> ShimStarter::StartServer(const std::string& binary, const Bundle& bundle,
                                             const SpecFacts& facts) const {
  StartedShim shim;
  shim.endpoint = GuessEndpoint(bundle.key(), facts);
  const std::string path = shim.endpoint.address.substr(std::string_view("unix://").size());
  TRY(MakeDirs(settings_.socket_dir, 0700));
  // Both before the process: a crash from here on leaves a bundle that tells where its shim would
  // be.
  TRY(bundle.LinkSocketDir(settings_.socket_dir));
  TRY(bundle.WriteEndpoint(shim.endpoint));
  Result<Fd> listener = wire::ListenUnix(path, 0600);
  if (!listener.ok() && listener.error().Is(Code::kAlreadyExists)) {
    if (wire::ConnectUnix(path, kProbe).ok()) {
      shim.joined = true;
      return shim;
    }
    (void)unlink(path.c_str());  // nobody listens: left by a shim that was killed
    listener = wire::ListenUnix(path, 0600);
  }
  if (!listener.ok()) return std::move(listener).TakeError().Context("create new shim socket");

  SpawnOptions spawn;
  spawn.args = Arguments(binary, bundle.key());
  spawn.env = Environment(bundle.key());
  spawn.work_dir = bundle.path();
  spawn.new_process_group = true;
  spawn.fds.emplace_back(*listener, kListenerFd);
  spawn.oom_score_adj = std::min(OwnOomScoreAdj() + 1, kMaxOomScoreAdj);
  FAILPOINT("runtime.create.socket_bound");
  Result<Child> child = Spawn(spawn);
  if (!child.ok()) {
    (void)unlink(path.c_str());
    return std::move(child).TakeError().Context("start failed");
  }
  shim.pid = child->Detach();
  return shim;
}

Result<ExitInfo> ShimStarter::Delete(const std::string& binary, const Bundle& bundle) const {
  SpawnOptions spawn;
  spawn.args = Arguments(binary, bundle.key());
  spawn.args.insert(spawn.args.end(), {"-bundle", bundle.path(), "delete"});
  spawn.env = Environment(bundle.key());
  spawn.work_dir = bundle.path();
  spawn.new_process_group = true;
  const RunOutput output = TRY(RunProgram(std::move(spawn), "", settings_.cleanup_deadline));
  if (!output.status.ok())
    return UnknownError("shim delete: ", Trimmed(output.err), ": ", ExitText(output.status));
  ::containerd::task::v3::DeleteResponse answer;
  if (!answer.ParseFromString(output.out)) return UnknownError("shim delete: unreadable answer");
  return ExitInfo{answer.pid(),
                  answer.exit_status(),
                  {answer.exited_at().seconds(), answer.exited_at().nanos()}};
}

Result<std::string> ShimStarter::Info(const std::string& binary,
                                      const std::optional<model::Any>& options) const {
  std::string input;
  if (options) {
    google::protobuf::Any any;
    any.set_type_url(options->type_url);
    any.set_value(options->value);
    input = any.SerializeAsString();
  }
  SpawnOptions spawn;
  spawn.args = {binary, "-info"};
  spawn.new_process_group = true;
  const RunOutput output = TRY(RunProgram(std::move(spawn), input, settings_.info_deadline));
  if (!output.status.ok())
    return UnknownError("failed to run [", binary, " -info]: ", ExitText(output.status),
                        " (stderr: ", Quoted(output.err), ")");
  return output.out;
}

}  // namespace corten::runtime
