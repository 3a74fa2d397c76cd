// What the crash suite and the program that it kills have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "content/local/local_store.h"
#include "metadata/db/database.h"
#include "snapshot/overlay/overlay.h"

namespace corten::metadata {

// Digest of "manifest".
inline std::string CrashManifest() {
  return "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f";
}

// Digest of "layer".
inline std::string CrashLayer() {
  return "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85";
}

struct CrashBackends {
  std::unique_ptr<content::LocalStore> store;
  std::unique_ptr<snapshot::Driver> driver;

  Result<std::unique_ptr<Database>> OpenDatabase(const std::string& root) const {
    DatabaseOptions options;
    options.path = root + "/meta.db";
    options.content = store.get();
    options.snapshotters = {{"overlayfs", driver.get()}};
    return Database::Open(std::move(options));
  }
};

inline Result<CrashBackends> OpenCrashBackends(const std::string& root) {
  std::filesystem::create_directories(root);
  CrashBackends backends;
  backends.store = TRY(content::LocalStore::Open(root + "/content"));
  snapshot::overlay::Config config;
  config.root = root + "/overlay";
  backends.driver = TRY(snapshot::overlay::Open(config));
  return backends;
}

}  // namespace corten::metadata
