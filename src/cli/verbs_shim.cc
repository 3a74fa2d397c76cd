// ctr shim: a shim spoken to directly, past the daemon.
#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/dir.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "cli/message_json.h"
#include "cli/session.h"
#include "cli/stdio.h"
#include "cli/verbs.h"
#include "containerd/task/v2/task.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "os/fifo.h"
#include "os/pty.h"
#include "wire/any_types.h"
#include "wire/ttrpc_client.h"
#include "wire/unix_socket.h"

namespace corten::cli {

namespace {

namespace task = containerd::task::v3;  // version 2 has the same fields

constexpr size_t kMaxSpec = 4 << 20;  // bytes
constexpr std::chrono::seconds kConnectTime(10);

// The shim's error as a client sees it that looks at no code: with the code in its text.
Result<std::string> AsRpc(Result<std::string> answer) {
  static constexpr const char* kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  if (answer.ok() || wire::IsClosedError(answer.error())) return answer;
  const Error error = std::move(answer).TakeError();
  return UnknownError("rpc error: code = ", kNames[static_cast<size_t>(error.code())],
                      " desc = ", error.WireText());
}

// A connection to one shim, with the loop that serves it in a thread of its own.
class ShimCaller {
 public:
  static Result<std::unique_ptr<ShimCaller>> Open(const Values& values) {
    std::string address = values.Text("shim-address");
    if (address.empty() && values.Text("id").empty())
      return UnknownError("shim ID (--id) or address (--shim-address) must be specified");
    if (address.empty()) address = AddressOf(values);
    Fd socket = TRY(wire::ConnectAddress(address, kConnectTime));
    std::unique_ptr<ShimCaller> caller(new ShimCaller(values.Text("namespace")));
    caller->loop_ = TRY(Loop::Create());
    caller->client_ = TRY(wire::TtrpcClient::Create(*caller->loop_, std::move(socket)));
    caller->caller_.emplace(caller->client_->caller());
    caller->thread_ = std::thread([loop = caller->loop_.get()] { (void)loop->Run(); });
    return caller;
  }
  ~ShimCaller() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }
  ShimCaller(const ShimCaller&) = delete;
  ShimCaller& operator=(const ShimCaller&) = delete;

  template <typename Response, typename Request>
  Result<Response> Call(int version, const char* method, const Request& request) {
    wire::CallOptions options;
    options.metadata = {{"containerd-namespace-ttrpc", ns_}};
    const std::string bytes =
        TRY(AsRpc(caller_->Call(StrCat("containerd.task.v", version, ".Task"), method,
                                request.SerializeAsString(), std::move(options))));
    Response response;
    if (!response.ParseFromString(bytes)) return DataLossError("shim: not understood");
    return response;
  }

 private:
  explicit ShimCaller(std::string ns) : ns_(std::move(ns)) {}

  // Where a shim of containerd's rules listens for this container.
  static std::string AddressOf(const Values& values) {
    const std::string path =
        StrCat(values.Text("address"), "/", values.Text("namespace"), "/", values.Text("id"));
    return StrCat("unix:///run/containerd/s/", Sha256Digest(path).substr(7));
  }

  const std::string ns_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<wire::TtrpcClient> client_;  // used on the loop's thread only
  std::optional<wire::TtrpcCaller> caller_;
  std::thread thread_;
};

Result<int> Delete(const Values& values) {
  const std::unique_ptr<ShimCaller> shim = TRY(ShimCaller::Open(values));
  task::DeleteRequest request;
  request.set_id(values.Text("id"));
  const task::DeleteResponse response = TRY(shim->Call<task::DeleteResponse>(3, "Delete", request));
  PrintLine(StrCat("container deleted and returned exit status ", response.exit_status()));
  return 0;
}

Result<int> Start(const Values& values) {
  const std::unique_ptr<ShimCaller> shim = TRY(ShimCaller::Open(values));
  task::StartRequest request;
  request.set_id(values.Text("id"));
  TRY(shim->Call<task::StartResponse>(3, "Start", request));
  return 0;
}

Result<int> ApiVersion(const Values& values) {
  const int64_t version = values.Int("api-version");
  if (version != 2 && version != 3) return UnknownError("api-version must be 2 or 3");
  return static_cast<int>(version);
}

Result<int> State(const Values& values) {
  const std::unique_ptr<ShimCaller> shim = TRY(ShimCaller::Open(values));
  const int version = TRY(ApiVersion(values));
  task::StateRequest request;
  request.set_id(values.Text("task-id").empty() ? values.Text("id") : values.Text("task-id"));
  const task::StateResponse response =
      TRY(shim->Call<task::StateResponse>(version, "State", request));
  PrintLine(MessageTree(response).dump(4));
  return 0;
}

Result<int> Shutdown(const Values& values) {
  const std::unique_ptr<ShimCaller> shim = TRY(ShimCaller::Open(values));
  const int version = TRY(ApiVersion(values));
  task::ShutdownRequest request;
  request.set_id(values.Text("id"));
  const Result<google::protobuf::Empty> done =
      shim->Call<google::protobuf::Empty>(version, "Shutdown", request);
  // A shim that obeys closes the connection before it can answer.
  if (!done.ok() && !wire::IsClosedError(done.error())) return done.error().Clone();
  return 0;
}

Result<std::string> ProcessOf(const Values& values) {
  if (const std::string file = values.Text("spec"); !file.empty())
    return ReadFileAt(file, kMaxSpec);
  nlohmann::ordered_json process;
  process["terminal"] = values.Bool("tty");
  process["user"] = {{"uid", 0}, {"gid", 0}};
  process["args"] = std::vector<std::string>(values.args.begin() + 1, values.args.end());
  process["env"] = values.List("env");
  process["cwd"] = values.Text("cwd").empty() ? "/" : values.Text("cwd");
  process["noNewPrivileges"] = true;
  return process.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// The FIFOs that the flags name, made if they are not there; what was made goes with this.
class NamedFifos {
 public:
  explicit NamedFifos(client::TaskIo io) : io_(std::move(io)) {}
  ~NamedFifos() {
    for (const std::string& path : made_) (void)unlink(path.c_str());
  }
  NamedFifos(const NamedFifos&) = delete;
  NamedFifos& operator=(const NamedFifos&) = delete;

  Status Make() {
    for (const std::string* path : {&io_.in, &io_.out, &io_.err}) {
      if (path->empty() || access(path->c_str(), F_OK) == 0) continue;
      TRY(os::MakeFifo(*path, 0700).Context("error creating fifo"));
      made_.push_back(*path);
    }
    return Ok();
  }

 private:
  const client::TaskIo io_;
  std::vector<std::string> made_;
};

// A process of a container that is spoken to through its shim.
class ShimProcess {
 public:
  ShimProcess(ShimCaller& shim, std::string id, std::string exec)
      : shim_(shim), id_(std::move(id)), exec_(std::move(exec)) {}

  // Returns the process's id.
  Result<uint32_t> Start(const std::string& process, const client::TaskIo& io) {
    task::ExecProcessRequest request;
    request.set_id(id_);
    request.set_exec_id(exec_);
    request.set_stdin(io.in);
    request.set_stdout(io.out);
    request.set_stderr(io.err);
    request.set_terminal(io.terminal);
    request.mutable_spec()->set_type_url(std::string(wire::kProcessType));
    request.mutable_spec()->set_value(process);
    TRY(shim_.Call<google::protobuf::Empty>(3, "Exec", request));
    const task::StartResponse started =
        TRY(shim_.Call<task::StartResponse>(3, "Start", Named<task::StartRequest>()));
    return started.pid();
  }
  Result<int> Wait() {
    const task::WaitResponse exit =
        TRY(shim_.Call<task::WaitResponse>(3, "Wait", Named<task::WaitRequest>()));
    return static_cast<int>(exit.exit_status());
  }
  void Delete() {
    const auto done = shim_.Call<task::DeleteResponse>(3, "Delete", Named<task::DeleteRequest>());
    if (!done.ok()) log::Warn("the process was not deleted", {{"error", done.error().text()}});
  }
  void CloseInput() {
    task::CloseIORequest request = Named<task::CloseIORequest>();
    request.set_stdin(true);
    (void)shim_.Call<google::protobuf::Empty>(3, "CloseIO", request);  // it may have ended
  }
  void FitWindow() {
    const Result<os::WindowSize> size = os::GetWindowSize(FdRef(1));
    if (!size.ok()) return;
    task::ResizePtyRequest request = Named<task::ResizePtyRequest>();
    request.set_width(size->columns);
    request.set_height(size->rows);
    (void)shim_.Call<google::protobuf::Empty>(3, "ResizePty", request);  // it may have ended
  }

 private:
  template <typename Request>
  Request Named() const {
    Request request;
    request.set_id(id_);
    request.set_exec_id(exec_);
    return request;
  }
  ShimCaller& shim_;
  const std::string id_;
  const std::string exec_;
};

// With this program's standard streams, until the process has ended; its exit code. A signal ends
// this program and not the process, as ctr has it.
Result<int> Attached(ShimProcess& process, const Values& values, const std::string& spec,
                     client::TaskIo io) {
  NamedFifos fifos(io);
  TRY(fifos.Make());
  std::unique_ptr<Stdio> stdio = Stdio::Attach(io);
  if (io.in.empty() && io.out.empty() && io.err.empty()) {
    StdioOptions options;
    options.id = values.Arg(0);
    options.terminal = io.terminal;
    stdio = TRY(Stdio::Create(options));
  }
  TRY(stdio->Start([&] { process.CloseInput(); }));  // a shim waits for whoever reads
  TRY(process.Start(spec, stdio->io()));
  stdio->LetInput();
  if (io.terminal) process.FitWindow();
  const int code = TRY(process.Wait());
  stdio->Finish();
  process.Delete();
  return code;
}

Result<int> Exec(const Values& values) {
  const std::unique_ptr<ShimCaller> shim = TRY(ShimCaller::Open(values));
  if (values.args.empty()) return InvalidArgumentError("exec id must be provided");
  const std::string spec = TRY(ProcessOf(values));
  const client::TaskIo io{values.Text("stdin"), values.Text("stdout"), values.Text("stderr"),
                          values.Bool("tty")};
  ShimProcess process(*shim, values.Text("id"), values.Arg(0));
  if (values.Bool("attach")) return Attached(process, values, spec, io);
  const uint32_t pid = TRY(process.Start(spec, io));
  PrintLine(StrCat("exec running with pid ", pid));
  return 0;
}

}  // namespace

Command ShimCommand() {
  Command group;
  group.names = {"shim"};
  group.summary = "interact with a shim directly";
  group.flags = {TextFlag({"id"}, "container id"),
                 TextFlag({"shim-address"}, "the address of the shim to use")};
  const Flag version = IntFlag({"api-version"}, "shim API version {2,3}", "3");
  group.commands = {
      {{"delete"}, "delete a container with a shim", "", "", {}, {}, &Delete},
      {{"exec"},
       "exec a new process in the task's container",
       "[flags] EXEC-ID [COMMAND] [ARG...]",
       "",
       {TextFlag({"stdin"}, "specify the path to the stdin fifo"),
        TextFlag({"stdout"}, "specify the path to the stdout fifo"),
        TextFlag({"stderr"}, "specify the path to the stderr fifo"),
        BoolFlag({"tty", "t"}, "enable tty support"),
        BoolFlag({"attach", "a"}, "stay attached and open the fifos"),
        ListFlag({"env", "e"}, "add environment vars"),
        TextFlag({"cwd"}, "current working directory"), TextFlag({"spec"}, "runtime spec")},
       {},
       &Exec},
      {{"pprof"}, "dump goroutine stacks", "", "", {}, {}, NotInThisBuild("shim pprof")},
      {{"shutdown"}, "shutdown a shim by id", "", "", {version}, {}, &Shutdown},
      {{"start"}, "start a container with a shim", "", "", {}, {}, &Start},
      {{"state"},
       "get the state of all the processes of the task",
       "",
       "",
       {TextFlag({"task-id", "t"}, "task ID"), version},
       {},
       &State},
  };
  return group;
}

}  // namespace corten::cli
