// On whose behalf a call is made.
#pragma once

#include "model/ids.h"

namespace corten::model {

// Travels with each request: gRPC metadata `containerd-namespace` and `containerd-lease`.
struct Scope {
  Namespace ns;
  LeaseId
      lease;  // empty: none; else everything that the call creates or finds is added to this lease
};

}  // namespace corten::model
