// One mount instruction as the API carries it; carried out by os/mount.h.
#pragma once

#include <string>
#include <vector>

namespace corten::model {

struct Mount {
  std::string type;  // "bind", "overlay", "erofs", "format/mkdir/overlay" ...
  std::string source;
  std::string target;                // path below the root they are applied to; usually empty
  std::vector<std::string> options;  // flags and data, mount(8) words
  bool operator==(const Mount&) const = default;
};

}  // namespace corten::model
