// The OCI specification that the flags of `ctr run` and `ctr containers create` describe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/session.h"
#include "model/mount.h"
#include "oci/id_maps.h"
#include "oci/json.h"
#include "oci/users.h"

namespace corten::cli {

struct SpecInputs {
  std::string id;
  std::string image_config;       // JSON; empty: no image, `rootfs` is the root
  std::string rootfs;             // absolute; with `image_config` empty
  std::vector<std::string> args;  // command line; empty: the image's
  oci::WithRoot with_root;        // for names of users
  oci::IdMaps uids;               // not empty: a user namespace with these maps
  oci::IdMaps gids;
};

// Errors: kInvalidArgument for flags that make no sense, kNotFound for users; errors of files that
// flags name. kUnimplemented: --gpus, --cni.
Result<oci::Json> SpecOf(Session& session, const Values& values, const SpecInputs& inputs);

// The specification in --config FILE, with the annotations of --label.
Result<oci::Json> SpecFromFile(const Values& values);

// The labels of a flag `--label k=v`; a key alone means "true", as in ctr.
model::Labels FlagLabels(const Values& values, const char* flag);

// The maps of --uidmap or --gidmap; none for a command without the flag. kUnknown: bad ones.
Result<oci::IdMaps> IdMapsOf(const Values& values, const char* flag);

// Mounts read-only below the temporary directory for as long as the body runs.
oci::WithRoot RootOfMounts(std::vector<model::Mount> mounts);
// The root of a container that exists, by its snapshot or by its specification.
Result<oci::WithRoot> RootOf(Session& session, const metadata::Container& container);

}  // namespace corten::cli
