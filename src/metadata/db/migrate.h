// Brings an older meta.db to schema version 4.
#pragma once

#include "base/error.h"
#include "bolt/db.h"

namespace corten::metadata {

// One transaction, or none if there is nothing to do; a file of a newer version is left as it is.
Status Migrate(bolt::Db& db);

}  // namespace corten::metadata
