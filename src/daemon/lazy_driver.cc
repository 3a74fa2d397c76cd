#include "daemon/lazy_driver.h"

#include <unistd.h>

#include <atomic>
#include <mutex>

namespace corten::daemon {

namespace {

using snapshot::Driver;
using snapshot::Snapshotter;

class LazyDriver final : public Driver {
 public:
  LazyDriver(std::string root, OpenDriver open) : root_(std::move(root)), open_(std::move(open)) {}

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    Driver* driver = TRY(Get());
    return driver->Prepare(key, parent, labels);
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    Driver* driver = TRY(Get());
    return driver->View(key, parent, labels);
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
    Driver* driver = TRY(Get());
    return driver->Mounts(key);
  }
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override {
    Driver* driver = TRY(Get());
    return driver->Commit(name, key, options);
  }
  Status Remove(const std::string& key) override {
    Driver* driver = TRY(Get());
    return driver->Remove(key);
  }
  std::vector<Status> RemoveMany(const std::vector<std::string>& keys) override {
    const Result<Driver*> driver = Get();
    if (!driver.ok()) return Snapshotter::RemoveMany(keys);  // says why, for each
    return (*driver)->RemoveMany(keys);
  }
  Result<snapshot::Info> Stat(const std::string& key) override {
    Driver* driver = TRY(Get());
    return driver->Stat(key);
  }
  Result<snapshot::Info> Update(const snapshot::Info& info,
                                const snapshot::FieldPaths& paths) override {
    Driver* driver = TRY(Get());
    return driver->Update(info, paths);
  }
  Status Walk(const snapshot::Filters& filters,
              const std::function<Status(const snapshot::Info&)>& visit) override {
    if (Untouched()) return Ok();
    Driver* driver = TRY(Get());
    return driver->Walk(filters, visit);
  }
  Result<snapshot::Usage> GetUsage(const std::string& key) override {
    Driver* driver = TRY(Get());
    return driver->GetUsage(key);
  }
  Status Cleanup() override {
    if (Untouched()) return Ok();
    Driver* driver = TRY(Get());
    return driver->Cleanup();
  }
  std::vector<std::string> Capabilities() override {
    const Result<Driver*> driver = Get();
    return driver.ok() ? (*driver)->Capabilities() : std::vector<std::string>();
  }
  std::map<std::string, std::string> Exports() const override { return {{"root", root_}}; }

 private:
  // Nothing was ever put in: there is nothing to list and nothing to clean up.
  bool Untouched() const { return driver_.load(std::memory_order_acquire) == nullptr; }

  Result<Driver*> Get() {
    if (Driver* driver = driver_.load(std::memory_order_acquire); driver != nullptr) return driver;
    const std::lock_guard lock(mutex_);
    if (owner_ == nullptr) {
      owner_ = TRY(open_());
      driver_.store(owner_.get(), std::memory_order_release);
    }
    return owner_.get();
  }

  const std::string root_;
  const OpenDriver open_;
  std::mutex mutex_;  // guards owner_; held while it is opened
  std::unique_ptr<Driver> owner_;
  std::atomic<Driver*> driver_{nullptr};  // owner_, once it is there
};

}  // namespace

Result<std::unique_ptr<Driver>> OpenWhenUsed(const std::string& root, OpenDriver open) {
  if (access(StrCat(root, "/metadata.db").c_str(), F_OK) == 0) return open();
  return std::unique_ptr<Driver>(std::make_unique<LazyDriver>(root, std::move(open)));
}

}  // namespace corten::daemon
