// Devices by CDI name (VENDOR/CLASS=NAME): what this machine's CDI specifications say, applied to a
// container's specification.
//
// A registry is a value that was read at one moment; any thread. Files are named *.json or *.yaml
// and lie in the directories given, later ones before earlier ones. Source: CDI specification
// 1.1.0; ctr's golden run `spec.scenario`.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "oci/cdi_spec.h"
#include "oci/json.h"

namespace corten::oci {

class CdiRegistry {
 public:
  // Where administrators and drivers put them.
  static std::vector<std::string> DefaultDirs() { return {"/etc/cdi", "/var/run/cdi"}; }
  // Never fails: a file that is not good is left out and told in problems(), as is a name that two
  // files of one directory have. A directory that is not there has no files.
  static CdiRegistry Load(const std::vector<std::string>& dirs);
  const std::vector<std::string>& problems() const { return problems_; }

  // Adds what the devices need: environment, device nodes with rules that allow them, mounts (all
  // are then in order of their depth), hooks, groups, network devices, RDT class; what concerns all
  // devices of a file once. kUnknown "unresolvable CDI devices A, B"; kUnknown: a node of this
  // machine that a device names is not there. On an error `spec` is as it was.
  Status Inject(const std::vector<std::string>& names, Json& spec) const;

 private:
  struct Entry {
    std::shared_ptr<const CdiSpec> spec;  // owned by all entries of a file
    const CdiDevice* device = nullptr;    // of `spec`
    size_t dir = 0;
    std::string file;
  };
  void Add(const std::string& path, size_t dir);

  std::map<std::string, Entry> devices_;  // device null: a name that is ambiguous
  std::vector<std::string> problems_;
};

}  // namespace corten::oci
