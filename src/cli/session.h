// One run of the program against one daemon: connection, namespace and the contracts over it.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "cli/command.h"
#include "client/connection.h"
#include "client/remote.h"

namespace corten::cli {

// The global flags of the ctr tree: address, namespace, timeout, connect-timeout, debug.
// `friendly`: errors tell what to do about them.
std::vector<Flag> GlobalFlags(bool friendly);

class Session {
 public:
  // Connects as the global flags say. kNotFound "cannot access socket ...", kUnavailable.
  static Result<std::unique_ptr<Session>> Open(const Values& values);

  const client::ConnectionPtr& connection() const { return connection_; }
  const model::Namespace& ns() const { return scope_.ns; }
  model::Scope scope() const { return scope_; }

  metadata::NamespaceStore& namespaces() { return *namespaces_; }
  metadata::ContainerStore& containers() { return *containers_; }
  metadata::ImageStore& images() { return *images_; }
  metadata::LeaseStore& leases() { return *leases_; }
  metadata::ScopedStores& stores() { return *stores_; }
  std::unique_ptr<content::Store> Content() { return stores_->Content(scope_); }
  // The snapshotter of flag --snapshotter, else the namespace's default label, else overlayfs.
  Result<std::string> SnapshotterName(const Values& values);
  Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(const Values& values);

 private:
  explicit Session(client::ConnectionPtr connection, model::Scope scope);
  client::ConnectionPtr connection_;  // shared with the contracts made from it
  model::Scope scope_;
  std::unique_ptr<metadata::NamespaceStore> namespaces_;
  std::unique_ptr<metadata::ContainerStore> containers_;
  std::unique_ptr<metadata::ImageStore> images_;
  std::unique_ptr<metadata::LeaseStore> leases_;
  std::unique_ptr<metadata::ScopedStores> stores_;
};

// An action that needs a daemon.
using SessionAction = std::function<Result<int>(Session& session, const Values& values)>;
Action Connected(SessionAction action);

// {"a=b", "c"} -> {a: b, c: ""}.
model::Labels ParseLabels(const std::vector<std::string>& words, size_t from = 0);
// "k=v,k=v", or `none` if empty.
std::string LabelText(const model::Labels& labels, std::string_view none = "-");

// NAME-NNN-XXXX: a name that nobody else draws at this moment.
std::string UniqueName(std::string_view name);

// A warning or error line beside the output, in the daemon's log form, on standard error.
void Warn(std::string_view message);
void Print(std::string_view text);      // to standard output, as it is
void PrintLine(std::string_view text);  // with an end of line
// What was printed is out now. kUnknown: nobody reads it any more.
Status FlushOutput();

}  // namespace corten::cli
