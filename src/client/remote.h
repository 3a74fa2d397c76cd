// The contracts, carried out by a daemon on the other end of a connection.
//
// Everything that works on a contract (pull, unpack, import, export) therefore works on a remote
// daemon unchanged. Thread-safe, as the contracts are. Each object keeps the connection alive.
#pragma once

#include <memory>

#include "client/connection.h"
#include "diff/differ.h"
#include "metadata/scoped_stores.h"
#include "metadata/stores.h"

namespace corten::client {

using ConnectionPtr = std::shared_ptr<Connection>;  // shared by everything that calls through it

std::unique_ptr<metadata::NamespaceStore> RemoteNamespaces(ConnectionPtr connection);
std::unique_ptr<metadata::ContainerStore> RemoteContainers(ConnectionPtr connection);
std::unique_ptr<metadata::ImageStore> RemoteImages(ConnectionPtr connection);
std::unique_ptr<metadata::LeaseStore> RemoteLeases(ConnectionPtr connection);
// Blobs and snapshots in a caller's scope.
std::unique_ptr<metadata::ScopedStores> RemoteStores(ConnectionPtr connection);
std::unique_ptr<diff::Differ> RemoteDiffer(ConnectionPtr connection, model::Scope scope);

}  // namespace corten::client
