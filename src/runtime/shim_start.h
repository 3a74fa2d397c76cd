// Starting shim programs: `start`, `delete`, `-info`, and our own shim without its launcher.
//
// A foreign shim is started as containerd does it: `SHIM ... start` in the bundle, bootstrap
// parameters on stdin, flags and environment for older ones, the answer on stdout and stderr. Our
// own shim (the program whose path is Settings::own_shim) is started as the server at once: the
// socket is made and bound here under the same name that its launcher would choose, bootstrap.json
// is written before the process exists, and the listening socket is passed as fd 3. The files on
// disk are the same either way, so that either daemon adopts either's shims.
//
// Threads: const methods from any thread; all block. Every program runs with a deadline and is
// killed past it. Crash: killed between the start of a foreign shim and WriteEndpoint, the shim is
// found again by GuessEndpoint. Source: containerd 2.3 runtime v2; runtime.md 6.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/labels.h"
#include "runtime/bootstrap.h"
#include "runtime/bundle.h"
#include "runtime/keys.h"
#include "runtime/process_state.h"

namespace corten::runtime {

struct ShimSettings {
  std::string grpc_address;   // of the daemon; shims hash it into their socket names
  std::string ttrpc_address;  // of the daemon's event socket
  std::string daemon_binary;  // for shims that publish by running it
  std::string daemon_version;
  std::string own_shim;  // absolute path; empty: no shim is started directly
  std::string socket_dir = "/run/containerd/s";
  std::vector<std::string> env;  // extra KEY=VALUE for shims
  bool debug = false;
  std::chrono::milliseconds start_deadline{60000};   // kata boots a machine meanwhile
  std::chrono::milliseconds cleanup_deadline{5000};  // `delete`
  std::chrono::milliseconds info_deadline{10000};
};

// A shim that listens now.
struct StartedShim {
  Endpoint endpoint;
  int pid = -1;  // of our own shim, a child of this process: the caller reaps it; -1: not our child
  bool joined = false;  // our own shim only: another container's shim was listening there already
};

class ShimStarter {
 public:
  explicit ShimStarter(ShimSettings settings) : settings_(std::move(settings)) {}
  const ShimSettings& settings() const { return settings_; }

  // Starts the shim `binary` for `bundle`, or joins the one that serves the bundle's group. Writes
  // bootstrap.json. Errors: kDeadlineExceeded; kUnknown with the program's output; kUnimplemented
  // (too new); by errno. On error no process of ours is left; a foreign launcher may have left its
  // server (see GuessEndpoint).
  Result<StartedShim> Start(const std::string& binary, const Bundle& bundle, const SpecFacts& facts,
                            const std::optional<model::Any>& options) const;

  // Runs `SHIM ... delete` in the bundle directory: kills and deletes what remains of the
  // container. Errors: kDeadlineExceeded, kUnknown with the program's stderr.
  Result<ExitInfo> Delete(const std::string& binary, const Bundle& bundle) const;

  // Runs `SHIM -info` with `options` on stdin; the answer is a serialised
  // containerd.types.RuntimeInfo.
  Result<std::string> Info(const std::string& binary,
                           const std::optional<model::Any>& options) const;

  // Where a runc-style shim of this bundle would listen.
  Endpoint GuessEndpoint(const TaskKey& key, const SpecFacts& facts) const;

  bool IsOwn(const std::string& binary) const {
    return !settings_.own_shim.empty() && binary == settings_.own_shim;
  }

 private:
  Result<StartedShim> StartServer(const std::string& binary, const Bundle& bundle,
                                  const SpecFacts& facts) const;
  std::vector<std::string> Arguments(const std::string& binary, const TaskKey& key) const;
  std::vector<std::string> Environment(const TaskKey& key) const;

  const ShimSettings settings_;
};

}  // namespace corten::runtime
