// Image references: host[:port]/path[:tag][@algorithm:hex].
// Values; any thread. Source: containerd's reference rules (images.md 1), OCI distribution
// specification 1.1.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "model/digest.h"

namespace corten::model {

struct Reference {
  std::string locator;  // "docker.io/library/busybox"
  std::string object;  // "latest", "@sha256:...", "latest@sha256:..." without the leading ':' ; may
                       // be empty

  // The first component of the locator, always the host ("docker.io", "127.0.0.1:5000").
  std::string_view host() const { return std::string_view(locator).substr(0, locator.find('/')); }
  // The repository: the rest of the locator.
  std::string_view path() const;
  std::string_view tag() const;     // "" if none
  std::string_view digest() const;  // "" if none; not checked
  std::string str() const;          // as written
};

// No defaults are applied: `alpine` is a host without a path. kInvalidArgument: "invalid reference"
// with the reason.
Result<Reference> ParseReference(std::string_view text);

// Docker's short forms made whole: "alpine" -> "docker.io/library/alpine:latest", "a/b:1" ->
// "docker.io/a/b:1". kInvalidArgument: upper case or other letters that a repository name cannot
// have, bad tag, bad digest.
Result<std::string> NormalizeDockerReference(std::string_view text);

}  // namespace corten::model
