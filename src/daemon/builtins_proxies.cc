// Plugins that other processes carry out: [proxy_plugins] of the configuration.
//
// Each is an object of package client behind the same contract as the built-in ones; processes that
// serve several share a connection. A process that is away does not keep the daemon from starting:
// calls are kUnavailable until it comes.
#include <algorithm>

#include "base/log.h"
#include "client/remote.h"
#include "daemon/builtins_parts.h"

namespace corten::daemon {

namespace {

using plugin::InitContext;

// A hung proxy must not hold a thread for ever; what proxies do (a lazy pull, a large blob) may
// take long all the same.
constexpr std::chrono::hours kCallLimit(1);

// What introspection tells of a proxy: what the administrator wrote, and the address.
void Describe(const ProxyPlugin& proxy, InitContext& context) {
  const Result<model::Platform> platform = model::ParsePlatform(proxy.platform);
  context.facts().platforms = {model::FormatPlatform(
      proxy.platform.empty() || !platform.ok() ? model::HostPlatform() : *platform)};
  context.facts().exports = proxy.exports;
  context.facts().exports["address"] = proxy.address;
  context.facts().capabilities = proxy.capabilities;
}

// A remote snapshotter. Keys begin with the namespace of the caller (metadata writes them so),
// which travels along, as the context of containerd's calls does.
class ProxySnapshotter final : public snapshot::Driver {
 public:
  ProxySnapshotter(client::ConnectionPtr connection, std::string name, const ProxyPlugin& proxy)
      : stores_(client::RemoteStores(std::move(connection))),
        name_(std::move(name)),
        capabilities_(proxy.capabilities),
        exports_(proxy.exports) {}

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    const auto remote = TRY(For(key));
    return remote->Prepare(key, parent, labels);
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    const auto remote = TRY(For(key));
    return remote->View(key, parent, labels);
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
    const auto remote = TRY(For(key));
    return remote->Mounts(key);
  }
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override {
    const auto remote = TRY(For(key));
    return remote->Commit(name, key, options);
  }
  Status Remove(const std::string& key) override {
    const auto remote = TRY(For(key));
    return remote->Remove(key);
  }
  Result<snapshot::Info> Stat(const std::string& key) override {
    const auto remote = TRY(For(key));
    return remote->Stat(key);
  }
  Result<snapshot::Info> Update(const snapshot::Info& info,
                                const snapshot::FieldPaths& paths) override {
    const auto remote = TRY(For(info.name));
    return remote->Update(info, paths);
  }
  Status Walk(const snapshot::Filters& filters,
              const std::function<Status(const snapshot::Info&)>& visit) override {
    const auto remote = TRY(For(""));
    return remote->Walk(filters, visit);
  }
  Result<snapshot::Usage> GetUsage(const std::string& key) override {
    const auto remote = TRY(For(key));
    return remote->GetUsage(key);
  }
  Status Cleanup() override {
    const auto remote = TRY(For(""));
    return remote->Cleanup();
  }
  std::vector<std::string> Capabilities() override { return capabilities_; }
  std::map<std::string, std::string> Exports() const override { return exports_; }

 private:
  Result<std::unique_ptr<snapshot::Snapshotter>> For(std::string_view key) const {
    model::Scope scope;
    const size_t slash = key.find('/');
    if (slash != std::string_view::npos)
      scope.ns = model::Namespace(std::string(key.substr(0, slash)));
    return stores_->Snapshots(scope, name_);
  }
  const std::unique_ptr<metadata::ScopedStores> stores_;
  const std::string name_;
  const std::vector<std::string> capabilities_;
  const std::map<std::string, std::string> exports_;
};

plugin::Descriptor Snapshotter(const std::string& name, const ProxyPlugin& proxy,
                               const client::ConnectionPtr& connection) {
  return plugin::MakeDescriptor<snapshot::Driver>(
      kSnapshotter, name, {},
      [=](InitContext& context) -> Result<std::unique_ptr<snapshot::Driver>> {
        Describe(proxy, context);
        return std::make_unique<ProxySnapshotter>(connection, name, proxy);
      });
}

plugin::Descriptor Content(const std::string& name, const ProxyPlugin& proxy,
                           const client::ConnectionPtr& connection) {
  return plugin::MakeDescriptor<content::Store>(
      kContent, name, {}, [=](InitContext& context) -> Result<std::unique_ptr<content::Store>> {
        Describe(proxy, context);
        return client::RemoteStores(connection)->Content({});
      });
}

plugin::Descriptor Differ(const std::string& name, const ProxyPlugin& proxy,
                          const client::ConnectionPtr& connection) {
  return plugin::MakeDescriptor<DifferMaker>(
      kDiffer, name, {}, [=](InitContext& context) -> Result<std::unique_ptr<DifferMaker>> {
        Describe(proxy, context);
        auto maker = std::make_unique<DifferMaker>();
        maker->make = [connection](const model::Scope& scope) {
          return client::RemoteDiffer(connection, scope);
        };
        return maker;
      });
}

// There is nothing yet that would call one; so it is listed with that as its error.
plugin::Descriptor SandboxController(const std::string& name, const ProxyPlugin& proxy) {
  return plugin::MakeDescriptor<Presence>(
      kSandboxController, name, {}, [=](InitContext& context) -> Result<std::unique_ptr<Presence>> {
        Describe(proxy, context);
        return UnimplementedError("sandbox controllers are not in this build");
      });
}

}  // namespace

void AddProxies(const Environment& environment, std::vector<plugin::Descriptor>& list) {
  if (environment.config == nullptr) return;
  std::map<std::string, client::ConnectionPtr> connections;  // by address
  for (const auto& [name, proxy] : environment.config->proxy_plugins) {
    client::ConnectionPtr& connection = connections[proxy.address];
    if (connection == nullptr) {
      client::ConnectOptions options;
      options.address = proxy.address;
      options.call_limit = kCallLimit;
      connection = client::Connection::Lazy(options);
    }
    if (proxy.type == "snapshot" || proxy.type == kSnapshotter.name) {
      list.push_back(Snapshotter(name, proxy, connection));
    } else if (proxy.type == "content" || proxy.type == kContent.name) {
      list.push_back(Content(name, proxy, connection));
    } else if (proxy.type == "diff" || proxy.type == kDiffer.name) {
      list.push_back(Differ(name, proxy, connection));
    } else if (proxy.type == "sandbox" || proxy.type == kSandboxController.name) {
      list.push_back(SandboxController(name, proxy));
    } else {
      log::Warn("unknown proxy plugin type", {{"name", name}, {"type", proxy.type}});
    }
  }
}

}  // namespace corten::daemon
