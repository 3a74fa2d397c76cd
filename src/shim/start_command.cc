#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <vector>

#include "base/dir.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/spawn.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/runtime/bootstrap/v1/bootstrap.pb.h"
#include "os/cgroup.h"
#include "os/mount_info.h"
#include "shim/bundle.h"
#include "shim/commands.h"
#include "wire/any_types.h"
#include "wire/unix_socket.h"

extern char** environ;

namespace corten::shim {

namespace {

namespace pb = ::containerd::runtime::bootstrap::v1;

constexpr size_t kMaxInput = size_t{10} << 20;
constexpr char kDefaultSocketDir[] = "/run/containerd/s";
constexpr std::chrono::milliseconds kProbe(100);
constexpr int kMaxOomScore = 1000;

// Lexically, as Go's filepath.Join does.
std::string CleanPath(const std::string& path) {
  std::vector<std::string_view> parts;
  std::string_view rest = path;
  const bool rooted = rest.starts_with('/');
  while (!rest.empty()) {
    const size_t end = rest.find('/');
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (!rooted) {
      parts.push_back(part);
    }
  }
  std::string out = rooted ? "/" : "";
  for (size_t i = 0; i < parts.size(); ++i) out += StrCat(i == 0 ? "" : "/", parts[i]);
  return out.empty() ? "." : out;
}

// 0700 for the directory of sockets itself; what is above may be looked through.
Status MakeSocketDir(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash != 0) TRY(MakeDirs(path.substr(0, slash), 0711));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "make directory ", path);
  return Ok();
}

// An invalid Fd means: somebody serves there already.
Result<Fd> ListenOrJoin(const std::string& dir, const std::string& path) {
  // One at a time per directory, or one start could take the other's fresh socket for a dead one.
  const Dir sockets = TRY(Dir::Open(dir));
  while (flock(sockets.fd().get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "lock ", dir);
  }
  Result<Fd> listener = wire::ListenUnix(path, 0600);
  if (listener.ok() || !listener.error().Is(Code::kAlreadyExists)) return listener;
  if (wire::ConnectUnix(path, kProbe).ok()) return Fd();
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, "remove dead socket ", path);
  return wire::ListenUnix(path, 0600);
}

std::string OwnBinary() {
  char buffer[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", buffer, sizeof(buffer));
  if (size <= 0) return "/proc/self/exe";
  std::string path(buffer, static_cast<size_t>(size));
  return access(path.c_str(), X_OK) == 0 ? path : "/proc/self/exe";  // replaced on disk meanwhile
}

std::vector<std::string> ServerEnvironment(const std::string& ttrpc_address) {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("TTRPC_ADDRESS=")) out.emplace_back(*entry);
  }
  out.push_back(StrCat("TTRPC_ADDRESS=", ttrpc_address));
  return out;
}

int OomScoreAdj() {
  const Result<std::string> text = ReadFileAt("/proc/self/oom_score_adj", 32);
  const int own = text.ok() ? atoi(text->c_str()) : 0;
  return own + 1 > kMaxOomScore ? kMaxOomScore : own + 1;
}

// Moves the server into an existing cgroup, in every hierarchy that has it.
Status JoinCgroup(const std::string& cgroup, pid_t pid) {
  const std::vector<os::MountEntry> table = TRY(os::ReadMountInfo());
  int joined = 0;
  for (const os::MountEntry& mount : table) {
    if (mount.fs_type != "cgroup" && mount.fs_type != "cgroup2") continue;
    const std::string file = CleanPath(StrCat(mount.mount_point, "/", cgroup, "/cgroup.procs"));
    const Fd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) continue;
    TRY(WriteAll(fd, StrCat(pid), file));
    ++joined;
  }
  if (joined == 0) return NotFoundError("shim cgroup ", cgroup);
  return Ok();
}

Status SpawnServer(const Arguments& arguments, const StartInput& input, const Fd& listener) {
  SpawnOptions spawn;
  spawn.args = {OwnBinary(),  "-namespace", arguments.ns,      "-id",
                arguments.id, "-address",   input.grpc_address};
  if (input.debug) spawn.args.emplace_back("-debug");
  spawn.env = ServerEnvironment(input.ttrpc_address);
  spawn.fds = {{listener, 3}};
  spawn.new_process_group = true;
  spawn.oom_score_adj = OomScoreAdj();
  Child child = TRY(Spawn(spawn).Context("start shim server"));
  if (!input.shim_cgroup.empty()) {
    TRY(JoinCgroup(input.shim_cgroup, child.pid())
            .Context("join shim cgroup"));  // the server is killed on error
  }
  (void)child.Detach();  // it outlives us
  return Ok();
}

}  // namespace

Result<std::string> ReadStandardInput() {
  if (isatty(STDIN_FILENO) == 1) return std::string();
  return ReadAll(FdRef(STDIN_FILENO), kMaxInput, "standard input");
}

std::string SocketName(const std::string& grpc_address, const std::string& ns,
                       const std::string& group) {
  return SmallSha256Hex(CleanPath(StrCat(grpc_address, "/", ns, "/", group)));
}

StartInput ParseStartInput(const Arguments& arguments, const std::string& text,
                           const char* ttrpc_env, const char* max_version_env) {
  StartInput out;
  out.grpc_address = arguments.address;
  out.ttrpc_address = ttrpc_env != nullptr ? ttrpc_env : "";
  out.debug = arguments.debug;
  const auto take_options = [&](const google::protobuf::Any& any) {
    const auto options = wire::UnpackAny<containerd::runc::v1::Options>(any);
    if (options.ok()) out.shim_cgroup = options->shim_cgroup();
  };
  pb::BootstrapParams params;
  if (!text.empty() && params.ParseFromString(text) && params.instance_id() == arguments.id) {
    out.answer = StartInput::Answer::kProtobuf;
    if (!params.containerd_grpc_address().empty())
      out.grpc_address = params.containerd_grpc_address();
    if (!params.containerd_ttrpc_address().empty())
      out.ttrpc_address = params.containerd_ttrpc_address();
    out.socket_dir = params.socket_dir();
    out.debug = out.debug || params.log_level() <= pb::LOG_LEVEL_DEBUG;
    for (const auto& extension : params.extensions()) take_options(extension.value());
    return out;
  }
  out.answer = max_version_env != nullptr ? StartInput::Answer::kJson : StartInput::Answer::kPlain;
  google::protobuf::Any options;
  if (!text.empty() && options.ParseFromString(text)) take_options(options);
  return out;
}

std::string EncodeStartAnswer(StartInput::Answer answer, const std::string& address) {
  if (answer == StartInput::Answer::kPlain) return address;
  // Daemons that read JSON all speak version 2, and some nothing newer.
  if (answer == StartInput::Answer::kJson) {
    return StrCat("{\"version\":2,\"address\":", log::JsonString(address),
                  ",\"protocol\":\"ttrpc\"}");
  }
  pb::BootstrapResult result;
  result.set_version(3);
  result.set_address(address);
  result.set_protocol("ttrpc");
  return result.SerializeAsString();
}

Status RunStart(const Arguments& arguments) {
  if (arguments.id.empty()) return InvalidArgumentError("shim id cannot be empty");
  const std::string text = TRY(ReadStandardInput());
  const StartInput input =
      ParseStartInput(arguments, text, getenv("TTRPC_ADDRESS"), getenv("MAX_SHIM_VERSION"));

  std::string group = arguments.id;
  const Result<SpecFacts> facts = ReadSpecFacts(".");
  if (facts.ok() && !facts->group.empty()) group = facts->group;
  if (!facts.ok() && !facts.error().Is(Code::kNotFound)) return facts.error().Clone();

  const std::string dir = input.socket_dir.empty() ? kDefaultSocketDir : input.socket_dir;
  TRY(MakeSocketDir(dir));
  const std::string path = StrCat(dir, "/", SocketName(input.grpc_address, arguments.ns, group));
  if (!input.socket_dir.empty() && symlink(dir.c_str(), "s") != 0 && errno != EEXIST) {
    return ErrnoError(errno, "link to socket directory");
  }
  const std::string address = StrCat("unix://", path);
  if (input.answer != StartInput::Answer::kProtobuf) {
    // These daemons find a shim again by the file that the shim itself has left.
    const Dir bundle = TRY(Dir::Open("."));
    TRY(ReplaceFile(bundle, "address", address, 0644, FileReplacer::Durable::kNo));
  }
  const Fd listener = TRY(ListenOrJoin(dir, path));
  FAILPOINT("shim.start.listening");
  if (listener.valid()) {
    Status started = SpawnServer(arguments, input, listener);
    if (!started.ok()) {
      (void)unlink(path.c_str());
      return started;
    }
    FAILPOINT("shim.start.spawned");
  }
  return WriteAll(FdRef(STDOUT_FILENO), EncodeStartAnswer(input.answer, address),
                  "standard output");
}

}  // namespace corten::shim
