// Classes of block I/O: an administrator's file that names weights and throttles, and what one of
// its classes means in a container's specification. Values; devices are looked up while a file is
// read. Source: goresctrl's configuration format (its documentation), the golden run
// `spec.scenario`; OCI runtime specification, config-linux.md, block IO.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

class BlockIoClasses {
 public:
  // Reads `Classes: {NAME: [{Devices: [GLOB], Weight, Throttle{Read,Write}{Bps,IOPS}}]}`, YAML or
  // JSON, names in any case, sizes with k, M, G ... or Ki, Mi, Gi ... kUnknown names what is wrong.
  // A pattern that matches no block device is a warning, not an error; so is a weight for a disk
  // whose scheduler ignores it, as `sys` has it.
  static Result<BlockIoClasses> Parse(const std::string& text,
                                      const std::string& sys = "/sys/dev/block");
  // Parse of a file. kUnknown `failed to read config file "PATH": ...`, `failed to set
  // configuration from file "PATH": ...`.
  static Result<BlockIoClasses> Load(const std::string& path);

  const std::vector<std::string>& warnings() const { return warnings_; }
  // The object for `linux.resources.blockIO`. kUnknown `no OCI BlockIO parameters for class "X"`.
  Result<Json> Find(const std::string& name) const;

 private:
  Status AddClass(const std::string& name, const Json& entries, const std::string& sys);
  std::map<std::string, std::shared_ptr<const Json>> classes_;  // not null
  std::vector<std::string> warnings_;
};

}  // namespace corten::oci
