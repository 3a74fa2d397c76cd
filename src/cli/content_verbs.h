// The verbs of `ctr content` that speak to registries, and pruning. One thread each.
#pragma once

#include "cli/command.h"
#include "content/store.h"

namespace corten::cli {

Command ContentFetchCommand();
Command ContentFetchObjectCommand();
Command ContentFetchBlobCommand();
Command ContentPruneCommand();

// Whether a label keeps a layer of the manifest that carries it.
bool KeepsLayer(std::string_view label);
// Takes these labels away from one blob. Errors of the store.
Status DropLayerLabels(content::Store& content, content::Info info);

}  // namespace corten::cli
