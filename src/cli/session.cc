#include "cli/session.h"

#include <sys/random.h>

#include <cstdio>
#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"

namespace corten::cli {

namespace {

constexpr std::chrono::milliseconds kConnectTimeout(10000);

// Each deprecation the daemon knows of is told once per run, unless the environment asks for
// silence.
void TellDeprecations(const client::Connection& connection) {
  const char* silent = getenv("CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS");
  if (silent != nullptr && (std::string_view(silent) == "1" || std::string_view(silent) == "true"))
    return;
  const auto stub =
      containerd::services::introspection::v1::Introspection::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Prepare(&context, {});
  containerd::services::introspection::v1::ServerResponse response;
  if (!stub->Server(&context, google::protobuf::Empty(), &response).ok())
    return;  // an older daemon
  for (const auto& warning : response.deprecations())
    Warn(StrCat("DEPRECATION: ", warning.message()));
}

// Why there is no connection. To scripts as the original says it, to people with what to do about
// it.
Error NoDaemon(const Error& error, bool friendly) {
  const bool refused = error.sys_errno() != 0 && !error.Is(Code::kNotFound);
  if (!friendly) {
    return refused ? UnknownError("connection error: desc = \"transport: Error while dialing: ",
                                  error.text(), "\"")
                   : UnknownError(error.text());
  }
  if (error.Is(Code::kPermissionDenied))
    return UnknownError(
        error.text(),
        "; the socket belongs to root: try sudo, or see [grpc] gid in the daemon's configuration");
  return UnknownError(error.text(),
                      "; is the daemon running? `systemctl start cortend` starts it, --address "
                      "names another socket");
}

}  // namespace

std::vector<Flag> GlobalFlags(bool friendly) {
  Flag hidden = BoolFlag({"friendly"}, "hints in errors");
  hidden.fallback = friendly ? "true" : "false";
  hidden.hidden = true;
  std::vector<Flag> flags = {
      std::move(hidden),
      BoolFlag({"debug"}, "enable debug output in logs"),
      TextFlag({"address", "a"}, "address for containerd's GRPC server",
               "/run/containerd/containerd.sock", "CONTAINERD_ADDRESS"),
      DurationFlag({"timeout"}, "total timeout for ctr commands"),
      DurationFlag({"connect-timeout"}, "timeout for connecting to containerd"),
      TextFlag({"namespace", "n"}, "namespace to use with commands", "default",
               "CONTAINERD_NAMESPACE"),
  };
  return flags;
}

Session::Session(client::ConnectionPtr connection, model::Scope scope)
    : connection_(std::move(connection)),
      scope_(std::move(scope)),
      namespaces_(client::RemoteNamespaces(connection_)),
      containers_(client::RemoteContainers(connection_)),
      images_(client::RemoteImages(connection_)),
      leases_(client::RemoteLeases(connection_)),
      stores_(client::RemoteStores(connection_)) {}

Result<std::unique_ptr<Session>> Session::Open(const Values& values) {
  client::ConnectOptions options;
  options.address = values.Text("address");
  options.connect_timeout = values.Nanos("connect-timeout") > 0
                                ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                      std::chrono::nanoseconds(values.Nanos("connect-timeout")))
                                : kConnectTimeout;
  if (values.Nanos("timeout") > 0)
    options.deadline =
        std::chrono::steady_clock::now() + std::chrono::nanoseconds(values.Nanos("timeout"));
  Result<client::ConnectionPtr> opened = client::Connection::Open(options);
  if (!opened.ok()) return NoDaemon(opened.error(), values.Bool("friendly"));
  client::ConnectionPtr connection = TRY(std::move(opened));
  TellDeprecations(*connection);
  return std::unique_ptr<Session>(
      new Session(std::move(connection), {model::Namespace(values.Text("namespace")), {}}));
}

Result<std::string> Session::SnapshotterName(const Values& values) {
  if (std::string name = values.Text("snapshotter"); !name.empty()) return name;
  const model::Labels labels = TRY(namespaces_->GetLabels(scope_.ns));
  const auto found = labels.find("containerd.io/defaults/snapshotter");
  return found == labels.end() ? std::string("overlayfs") : found->second;
}

Result<std::unique_ptr<snapshot::Snapshotter>> Session::Snapshots(const Values& values) {
  const std::string name = TRY(SnapshotterName(values));
  return stores_->Snapshots(scope_, name);
}

Action Connected(SessionAction action) {
  return [action = std::move(action)](const Values& values) -> Result<int> {
    const std::unique_ptr<Session> session = TRY(Session::Open(values));
    return action(*session, values);
  };
}

model::Labels ParseLabels(const std::vector<std::string>& words, size_t from) {
  model::Labels labels;
  for (size_t i = from; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    labels[words[i].substr(0, equals)] =
        equals == std::string::npos ? std::string() : words[i].substr(equals + 1);
  }
  return labels;
}

std::string LabelText(const model::Labels& labels, std::string_view none) {
  std::string out;
  for (const auto& [key, value] : labels) out += StrCat(out.empty() ? "" : ",", key, "=", value);
  return out.empty() ? std::string(none) : out;
}

std::string UniqueName(std::string_view name) {
  unsigned char raw[2] = {};
  (void)!getrandom(raw, sizeof(raw), 0);  // the moment makes it different too
  return StrCat(name, "-", Now().nanos, "-",
                Hex(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw))));
}

void Warn(std::string_view message) { log::Warn(message); }
void Print(std::string_view text) { (void)fwrite(text.data(), 1, text.size(), stdout); }
void PrintLine(std::string_view text) { Print(StrCat(text, "\n")); }
Status FlushOutput() {
  if (fflush(stdout) != 0) return ErrnoError(errno, "write standard output");
  return Ok();
}

}  // namespace corten::cli
