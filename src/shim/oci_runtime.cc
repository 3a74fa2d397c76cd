#include "shim/oci_runtime.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/dir.h"
#include "shim/json.h"
#include "shim/program_call.h"

extern char** environ;

namespace corten::shim {

namespace {

// Generous: hooks run inside create and start, and a loaded node is slow. What matters is that
// every wait ends.
constexpr std::chrono::minutes kCreateDeadline(5);
constexpr std::chrono::minutes kStartDeadline(5);
constexpr std::chrono::minutes kDeleteDeadline(2);
constexpr std::chrono::minutes kShortDeadline(1);
// Init stands at its fifo or is on the way to it; if not, runc shall say why.
constexpr std::chrono::seconds kFifoDeadline(10);
constexpr size_t kMaxLogTail = 256 << 10;

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

uint64_t FileSize(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

// Our environment without what belongs to the daemon's own service manager.
std::vector<std::string> RuntimeEnvironment() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("NOTIFY_SOCKET=")) out.emplace_back(text);
  }
  return out;
}

std::string_view LastLine(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);
}

// What to do about refusals whose own text helps nobody.
std::string Explanation(std::string_view text, std::string_view oci_version) {
  if (Contains(text, "cgroups in hybrid mode not supported")) {
    return " (crun refuses a machine that has cgroup v1 controllers and a cgroup v2 mount with "
           "controllers at "
           "/sys/fs/cgroup/unified: hide or unmount that v2 mount, boot with one cgroup version "
           "only, or use runc)";
  }
  if (Contains(text, "unknown version specified")) {
    return StrCat(" (config.json says ociVersion ", Quoted(oci_version),
                  ", which this version of the OCI runtime does not know: use a newer one, or a "
                  "spec with ociVersion 1.0.2)");
  }
  return "";
}

}  // namespace

Result<std::string> LastRuntimeError(const std::string& log_path, uint64_t offset) {
  const Fd fd(open(log_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", log_path);
  const uint64_t size = FileSize(log_path);
  if (size < offset) offset = 0;  // somebody replaced it
  offset = std::max(offset, size - std::min<uint64_t>(size, kMaxLogTail));
  std::string text(static_cast<size_t>(size - offset), '\0');
  const ssize_t got = pread(fd.get(), text.data(), text.size(), static_cast<off_t>(offset));
  if (got < 0) return ErrnoError(errno, "read ", log_path);
  text.resize(static_cast<size_t>(got));

  std::string last;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const Result<JsonView> line = JsonView::Parse(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.ok() || Lower(line->StringAt("level")) != "error") continue;
    std::string message = line->StringAt("msg");
    if (message.empty()) message = line->StringAt("fields", "message");
    if (!message.empty()) last = std::move(message);
  }
  while (!last.empty() && (last.back() == '\n' || last.back() == ' ')) last.pop_back();
  return last;
}

Error RuntimeFailure(std::string_view failure, const Result<std::string>& logged,
                     std::string_view cause, std::string_view output,
                     std::string_view oci_version) {
  if (!logged.ok()) {
    return UnknownError(failure, ": unable to retrieve OCI runtime error (", logged.error().text(),
                        "): ", cause, output.empty() ? "" : ": ", LastLine(output));
  }
  if (!logged->empty())
    return UnknownError(failure, ": ", *logged, Explanation(*logged, oci_version));
  const std::string_view line = LastLine(output);
  if (!line.empty()) return UnknownError(failure, ": ", line, Explanation(line, oci_version));
  return UnknownError(failure, ": ", cause);
}

bool MeansNotExisting(std::string_view text) {
  // crun 1.8 names its own state file or directory that it could not open.
  return Contains(text, "does not exist") || Contains(text, "file does not exist") ||
         (Contains(text, "/status`: No such file or directory")) ||
         (Contains(text, "cannot open directory") && Contains(text, "No such file or directory"));
}

bool MeansNotRunning(std::string_view text) {
  const std::string lower = Lower(text);
  return Contains(lower, "process already finished") || Contains(lower, "container not running") ||
         Contains(lower, "no such process") || Contains(lower, "process not running");
}

OciRuntime::OciRuntime(Loop& loop, Reaper& reaper, std::string ns, std::string id,
                       std::string bundle, RuntimeSettings settings, std::string oci_version)
    : loop_(loop),
      reaper_(reaper),
      ns_(std::move(ns)),
      id_(std::move(id)),
      log_path_(StrCat(bundle, "/log.json")),
      settings_(std::move(settings)),
      oci_version_(std::move(oci_version)),
      host_processes_(RunsHostProcesses(settings_.binary)) {}

bool OciRuntime::RunsHostProcesses(std::string_view binary) {
  const std::string_view name = binary.substr(binary.rfind('/') + 1);
  return name == "runc" || name == "crun" || name == "youki";
}

std::vector<std::string> OciRuntime::BaseArguments() const {
  std::vector<std::string> out = {
      settings_.binary, "--root", StrCat(settings_.root, "/", ns_), "--log", log_path_,
      "--log-format",   "json"};
  if (settings_.systemd_cgroup) out.emplace_back("--systemd-cgroup");
  return out;
}

void OciRuntime::Run(Call call, std::function<void(Result<std::string> output)> done) {
  ProgramCall program;
  program.spawn.args = BaseArguments();
  for (std::string& word : call.words) program.spawn.args.push_back(std::move(word));
  program.spawn.env = RuntimeEnvironment();
  program.capture_out = call.stdio.empty();
  program.capture_err = call.stdio.empty();
  program.spawn.fds = std::move(call.stdio);
  program.input = std::move(call.input);
  program.deadline = call.deadline;
  const uint64_t log_offset = FileSize(log_path_);
  const std::string failure(call.failure);
  const auto shared_done =
      std::make_shared<decltype(done)>(std::move(done));  // for either of the two ways below
  Status started = RunProgramCall(
      loop_, reaper_, std::move(program),
      [failure, log_offset, log = log_path_, version = oci_version_,
       shared_done](Result<ProgramOutput> result) {
        if (!result.ok()) {
          (*shared_done)(std::move(result).TakeError().Context(failure));
        } else if (result->status.ok()) {
          (*shared_done)(std::move(result->out));
        } else {
          const std::string cause = result->status.signal != 0
                                        ? StrCat("killed by signal ", result->status.signal)
                                        : StrCat("exit status ", result->status.code);
          (*shared_done)(RuntimeFailure(failure, LastRuntimeError(log, log_offset), cause,
                                        result->err, version));
        }
      });
  if (started.ok()) return;
  Error error = std::move(started).TakeError();
  std::string cause = error.text();
  if (error.sys_errno() == ENOENT) {
    const bool path = Contains(settings_.binary, "/");
    cause =
        path ? StrCat("fork/exec ", settings_.binary, ": no such file or directory")
             : StrCat("exec: ", Quoted(settings_.binary), ": executable file not found in $PATH");
  }
  loop_.Post([failure, cause, log_offset, log = log_path_, shared_done] {
    (*shared_done)(RuntimeFailure(failure, LastRuntimeError(log, log_offset), cause, "", ""));
  });
}

namespace {
std::function<void(Result<std::string>)> StatusOnly(OciRuntime::Done done) {
  return [done = std::move(done)](Result<std::string> output) {
    if (output.ok()) {
      done(Ok());
    } else {
      done(std::move(output).TakeError());
    }
  };
}
}  // namespace

void OciRuntime::Create(const std::string& console_socket, const std::string& pid_file,
                        StdioDescriptors stdio, Done done) {
  Call call;
  call.words = {"create", "--bundle", log_path_.substr(0, log_path_.rfind('/')), "--pid-file",
                pid_file};
  if (!console_socket.empty()) {
    call.words.emplace_back("--console-socket");
    call.words.push_back(console_socket);
  }
  if (settings_.no_pivot_root) call.words.emplace_back("--no-pivot");
  if (settings_.no_new_keyring) call.words.emplace_back("--no-new-keyring");
  call.words.push_back(id_);
  call.failure = "OCI runtime create failed";
  call.deadline = kCreateDeadline;
  call.stdio = std::move(stdio);
  Run(std::move(call), StatusOnly(std::move(done)));
}

OciRuntime::~OciRuntime() {
  if (!pending_start_.has_value()) return;
  loop_.Cancel(pending_start_->timer);
  loop_.Remove(pending_start_->fifo);
}

void OciRuntime::Start(Done done) {
  if (!StartWithoutRuntime(done)) StartByRuntime(std::move(done));
}

bool OciRuntime::StartWithoutRuntime(const Done& done) {
  if (!RuncState::IsKeptBy(settings_.binary)) return false;
  Result<RuncState> state = RuncState::Read(StateRoot(), id_, init_);
  if (!state.ok()) return false;
  Result<Fd> fifo = state->OpenFifo();
  if (!fifo.ok()) return false;
  const Status watched = loop_.Add(*fifo, EPOLLIN, [this](uint32_t) {
    if (!FinishStart()) AbandonStart();  // a writer that has left without a byte
  });
  if (!watched.ok()) return false;
  pending_start_.emplace(PendingStart{std::move(*state), std::move(*fifo), 0, done});
  pending_start_->timer = loop_.After(kFifoDeadline, [this] { AbandonStart(); });
  return true;
}

bool OciRuntime::FinishStart() {
  char byte = 0;
  if (read(pending_start_->fifo.get(), &byte, 1) != 1) return false;
  loop_.Remove(pending_start_->fifo);
  loop_.Cancel(pending_start_->timer);
  const PendingStart start = std::move(*pending_start_);
  pending_start_.reset();
  // Init runs already; what stays of the fifo would only make runc take it for a created one.
  (void)start.state.RemoveFifo();
  start.done(Ok());
  return true;
}

void OciRuntime::InitEnded() {
  if (pending_start_.has_value() && !FinishStart()) AbandonStart();
}

// Runc does it again from the beginning, and has the words for what is wrong.
void OciRuntime::AbandonStart() {
  loop_.Remove(pending_start_->fifo);
  loop_.Cancel(pending_start_->timer);
  Done done = std::move(pending_start_->done);
  pending_start_.reset();
  StartByRuntime(std::move(done));
}

void OciRuntime::StartByRuntime(Done done) {
  Run({{"start", id_}, "OCI runtime start failed", kStartDeadline, {}, {}},
      StatusOnly(std::move(done)));
}

void OciRuntime::Exec(const std::string& process_file, const std::string& console_socket,
                      const std::string& pid_file, StdioDescriptors stdio, Done done) {
  Call call;
  call.words = {"exec", "--process", process_file};
  if (!console_socket.empty()) {
    call.words.emplace_back("--console-socket");
    call.words.push_back(console_socket);
  }
  for (const char* word : {"--detach", "--pid-file"}) call.words.emplace_back(word);
  call.words.push_back(pid_file);
  call.words.push_back(id_);
  call.failure = "OCI runtime exec failed";
  call.deadline = kStartDeadline;
  call.stdio = std::move(stdio);
  Run(std::move(call), StatusOnly(std::move(done)));
}

void OciRuntime::Kill(uint32_t signal, Target target, Done done) {
  Call call;
  call.words = {"kill"};
  if (target == Target::kAll) call.words.emplace_back("--all");
  call.words.push_back(id_);
  call.words.push_back(StrCat(signal));
  call.failure = "OCI runtime kill failed";
  call.deadline = kShortDeadline;
  Run(std::move(call), [done = std::move(done)](Result<std::string> output) {
    if (output.ok()) {
      done(Ok());
    } else if (MeansNotRunning(output.error().text()) || MeansNotExisting(output.error().text())) {
      done(NotFoundError("process already finished"));
    } else {
      done(std::move(output).TakeError());
    }
  });
}

bool OciRuntime::DeleteWithoutRuntime() {
  if (!RuncState::IsKeptBy(settings_.binary)) return false;
  const Result<RuncState> state = RuncState::Read(StateRoot(), id_, init_);
  return state.ok() && state->Remove().ok();
}

void OciRuntime::Delete(Force force, Done done) {
  if (force == Force::kNo && init_ > 0 && DeleteWithoutRuntime()) {
    return loop_.Post([done = std::move(done)] { done(Ok()); });
  }
  Call call;
  call.words = {"delete"};
  if (force == Force::kYes) call.words.emplace_back("--force");
  call.words.push_back(id_);
  call.failure = "failed to delete task";
  call.deadline = kDeleteDeadline;
  Run(std::move(call), [done = std::move(done)](Result<std::string> output) {
    if (output.ok() || MeansNotExisting(output.error().text())) {
      done(Ok());
    } else {
      done(std::move(output).TakeError());
    }
  });
}

void OciRuntime::Pause(Done done) {
  Run({{"pause", id_}, "OCI runtime pause failed", kShortDeadline, {}, {}},
      StatusOnly(std::move(done)));
}

void OciRuntime::Resume(Done done) {
  Run({{"resume", id_}, "OCI runtime resume failed", kShortDeadline, {}, {}},
      StatusOnly(std::move(done)));
}

void OciRuntime::Update(std::string resources_json, Done done) {
  Run({{"update", "--resources=-", id_},
       "OCI runtime update failed",
       kShortDeadline,
       {},
       std::move(resources_json)},
      StatusOnly(std::move(done)));
}

void OciRuntime::ListPids(std::function<void(Result<std::vector<pid_t>>)> done) {
  Run({{"ps", "--format", "json", id_}, "OCI runtime ps failed", kShortDeadline, {}, {}},
      [done = std::move(done)](Result<std::string> output) {
        if (!output.ok()) return done(std::move(output).TakeError());
        const Result<JsonView> json = JsonView::Parse(*output);
        if (!json.ok()) return done(json.error().Clone().Context("OCI runtime ps failed"));
        std::vector<pid_t> pids;
        json->ForEach([&](const JsonView& element) {
          if (const auto pid = element.Integer()) pids.push_back(static_cast<pid_t>(*pid));
          return true;
        });
        done(std::move(pids));
      });
}

}  // namespace corten::shim
