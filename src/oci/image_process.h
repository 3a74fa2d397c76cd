// What an image's configuration says about the process of its containers. Any thread.
// Source: OCI image specification 1.1, config.md; containerd 2.3's defaults.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/json.h"
#include "oci/users.h"

namespace corten::oci {

// Sets args (the entrypoint, then `args`, or the image's command when that is empty), env, cwd,
// user and additional groups of `process`; what `process.env` had goes over the image's. `config`
// is the JSON of the image's configuration. kInvalidArgument: not JSON, nothing to run, a bad user;
// kNotFound: a user that the root does not know.
Status ApplyImage(Json& process, std::string_view config, const std::vector<std::string>& args,
                  const WithRoot& with_root);

}  // namespace corten::oci
