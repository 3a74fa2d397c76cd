// Bundle directories: what a shim and an OCI runtime find on disk for one container.
//
//   STATE/NS/ID/            0700 (0710 and the mapped group when container group 0 is mapped to
//   another)
//     config.json           the spec, byte for byte
//     rootfs/               0711, where the shim mounts
//     work -> ROOT/NS/ID    survives nothing either; for checkpoint files
//     log                   fifo, the shim's stderr
//     shim-binary-path      resolved shim; absent when the container joined a running shim by its
//     sandbox bootstrap.json        where the shim listens sandbox               sandbox id, when
//     joined
//   (STATE and ROOT already end in io.containerd.runtime.v2.task.)
//
// Life cycle: Create -> (the files are added as they become known) -> Remove.
// A bundle appears whole by one rename from `.new.ID` and disappears by one rename to `.ID`; names
// that begin with a dot are nobody's and are swept by SweepHidden. Threads: thread-safe as long as
// one key is worked on by one caller at a time. All methods block on the disk. Crash: nothing here
// is durable across a reboot (STATE is on tmpfs), so nothing is fsynced. Source: containerd 2.3;
// runtime.md 6.5.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "model/ids.h"
#include "runtime/bootstrap.h"
#include "runtime/keys.h"

namespace corten::runtime {

// One bundle that exists. A value: names the directory, holds nothing open.
class Bundle {
 public:
  Bundle(TaskKey key, std::string path) : key_(std::move(key)), path_(std::move(path)) {}
  const TaskKey& key() const { return key_; }
  const std::string& path() const { return path_; }
  std::string rootfs() const { return path_ + "/rootfs"; }

  Status WriteShimBinary(std::string_view path) const;
  Status WriteEndpoint(const Endpoint& endpoint) const;  // bootstrap.json, replaced whole
  Status WriteSandbox(const model::SandboxId& sandbox) const;
  // The link `s` to the directory of the shim's sockets, as runc's shim makes it. Existing is fine.
  Status LinkSocketDir(const std::string& socket_dir) const;

  Result<std::string> ReadShimBinary() const;  // kNotFound: not written
  // bootstrap.json, or the file `address` of old shims (version 2, ttrpc), which is then rewritten
  // as bootstrap.json. kNotFound: neither; kInvalidArgument, kUnimplemented: as ParseEndpoint.
  Result<Endpoint> ReadEndpoint() const;
  Result<std::string> ReadSpec() const;  // kNotFound: made without a spec
  bool JoinedSandbox() const;            // has the file `sandbox`
  // The file `deleted`: the shim has answered Delete, and ends only after it has told everything.
  Status MarkDeleted() const;
  bool Deleted() const;
  // Opens the log fifo for reading and (so that it never ends) writing, non-blocking. Makes it if
  // it is missing.
  Result<Fd> OpenLog() const;
  // Nothing at all is in it.
  Result<bool> IsEmpty() const;

 private:
  TaskKey key_;
  std::string path_;
};

// What the daemon reads out of a spec. Anything missing or malformed is "not there": the OCI
// runtime is the judge of specs.
struct SpecFacts {
  std::optional<gid_t> mapped_gid;  // host group of container group 0, if mapped and not 0
  std::string group;  // pod grouping: the runc group annotation, else the CRI sandbox id, else ""
  bool idmapped_mounts = false;  // a mount with uidMappings, gidMappings, `idmap` or `ridmap`
};
SpecFacts ReadSpecFacts(std::string_view spec);

class BundleStore {
 public:
  // `root`, `state`: absolute; missing directories are made (0711).
  static Result<BundleStore> Open(std::string root, std::string state);

  // Makes the bundle. `spec` nullopt: no config.json.
  // An old directory of that name is garbage (the caller holds the key) and is removed first.
  // Errors: kUnknown EBUSY when the old one's rootfs cannot be unmounted; by errno. On error
  // nothing is left visible.
  Result<Bundle> Create(const TaskKey& key, std::optional<std::string_view> spec,
                        const SpecFacts& facts) const;
  // No check that it exists.
  Bundle At(const TaskKey& key) const;
  // Unmounts rootfs recursively, hides bundle and work directory by rename, then removes them.
  // Missing is success. Errors: kUnknown EBUSY: rootfs is in use; the bundle stays as it was.
  Status Remove(const TaskKey& key) const;

  // All bundles, hidden names left out.
  Result<std::vector<TaskKey>> List() const;
  // Removes hidden leftovers of both trees, and work directories without a bundle. Not while others
  // create or remove. Returns how many were removed; one that resists is left for the next time.
  size_t SweepHidden() const;

  const std::string& root() const { return root_; }
  const std::string& state() const { return state_; }

 private:
  BundleStore(std::string root, std::string state)
      : root_(std::move(root)), state_(std::move(state)) {}
  std::string root_;
  std::string state_;
};

// Unmounts what is mounted at and below `rootfs`; cheap when nothing is.
Status UnmountRootfs(const std::string& rootfs);

}  // namespace corten::runtime
