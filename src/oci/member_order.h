// The order of members in a specification that is written for others to read: the order in which
// the OCI runtime specification presents them, which clients of containerd print. Source: OCI
// runtime specification 1.3, config.md, config-linux.md; golden run `spec.scenario`.
#pragma once

#include "oci/json.h"

namespace corten::oci {

// Puts the members of a specification, and of the objects in it that have a known order, into that
// order; members it does not know follow in the order they had. Never fails; what is not an object
// where one is expected stays as it is.
void SetMembersInOrder(Json& spec);

}  // namespace corten::oci
