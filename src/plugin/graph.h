// The plugin graph: what exists, in which order it is built, and how plugins find each other by
// type.
//
// A Descriptor is data that a room exports; daemon/builtins.cc lists them all. Initialise builds
// them in order of need, each after all plugins of every type it requires. A plugin that fails is
// kept with its error and shown by introspection; only a required one stops the start. Close
// destroys in reverse order. One thread builds and closes; lookups afterwards may come from any
// thread. Type and id strings are containerd's, since configuration files and introspection expose
// them (core.md 3).
#pragma once

#include <any>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "plugin/config_table.h"

namespace corten::plugin {

// Names a plugin type and the C++ type that its instances are found as.
template <typename T>
struct PluginType {
  std::string_view name;  // "io.containerd.content.v1"
};

class Graph;

// What introspection tells about a plugin beside its name; filled in by its init.
struct Facts {
  std::vector<std::string> platforms;  // "linux/amd64"
  std::map<std::string, std::string> exports;
  std::vector<std::string> capabilities;
  // Capabilities that cost something to find out (kernel probes): asked for when somebody looks,
  // not at the start. Joins the list above; called from any thread, must be thread-safe. May be
  // empty.
  std::function<std::vector<std::string>()> probe_capabilities;
};

// Handed to init. Valid during the call only.
class InitContext {
 public:
  InitContext(Graph* graph, std::string uri, void* config)
      : graph_(graph), uri_(std::move(uri)), config_(config) {}
  const std::string& uri() const { return uri_; }
  // Directories of this plugin's own: <root>/<uri> and <state>/<uri>. Not created.
  std::string RootDir() const;
  std::string StateDir() const;
  const std::string& Property(
      const std::string& name) const;  // "address", "root", "state" ...; "" if unset
  // REQUIRES: the descriptor was made with this config type.
  template <typename C>
  const C& Config() const {
    return *static_cast<const C*>(config_);
  }
  // The one instance of a type. kNotFound if there is none (failed ones do not count).
  template <typename T>
  Result<T*> Get(PluginType<T> type) const;
  template <typename T>
  Result<T*> GetById(PluginType<T> type, std::string_view id) const;
  // Every instance of a type by id.
  template <typename T>
  std::map<std::string, T*> GetAll(PluginType<T> type) const;
  Facts& facts() { return facts_; }

 private:
  Graph* graph_;
  std::string uri_;
  void* config_;
  Facts facts_;
};

// An error that means "not on this machine": shown as `skip`, never a warning.
Error SkipPlugin(std::string_view why);

struct Descriptor {
  std::string type;
  std::string id;
  std::vector<std::string> requires_types;  // "*" means everything else
  // Builds the instance; the holder keeps it alive until Close.
  std::function<Result<std::shared_ptr<void>>(InitContext&)> init;
  // Config struct and how to read it; both empty when there is nothing to set.
  std::shared_ptr<void> config;  // shared with the table that refers into it
  std::shared_ptr<ConfigTable> table;
  std::string uri() const { return StrCat(type, ".", id); }
};

// Makes a descriptor whose init returns Result<std::unique_ptr<I>>, found later as T (I derives
// from T or is T).
template <typename T, typename Init>
Descriptor MakeDescriptor(PluginType<T> type, std::string id,
                          std::vector<std::string> requires_types, Init init) {
  Descriptor descriptor;
  descriptor.type = type.name;
  descriptor.id = std::move(id);
  descriptor.requires_types = std::move(requires_types);
  descriptor.init = [init](InitContext& context) -> Result<std::shared_ptr<void>> {
    std::unique_ptr<T> instance = TRY(init(context));
    // A shared_ptr<T> remembers how to delete it; void* then points at the T, which lookups cast
    // back to.
    return std::shared_ptr<void>(std::shared_ptr<T>(std::move(instance)));
  };
  return descriptor;
}
template <typename C>
Descriptor WithConfig(Descriptor descriptor, const std::function<void(C&, ConfigTable&)>& bind,
                      C defaults = {}) {
  auto config = std::make_shared<C>(std::move(defaults));
  descriptor.table = std::make_shared<ConfigTable>();
  bind(*config, *descriptor.table);
  descriptor.config = std::move(config);
  return descriptor;
}

// One plugin after initialisation, as introspection shows it.
struct Record {
  std::string type;
  std::string id;
  std::vector<std::string> requires_types;
  Facts facts;
  std::unique_ptr<Error> error;  // set: failed or skipped
  bool skipped = false;
};

class Graph {
 public:
  struct Options {
    std::map<std::string, std::string> properties;  // root, state, address, ...
    std::vector<std::string> disabled;              // URIs
    std::vector<std::string> required;              // URIs
  };
  explicit Graph(std::vector<Descriptor> descriptors) : descriptors_(std::move(descriptors)) {}
  ~Graph() { Close(); }

  // kInvalidArgument: a disabled or required URI without a dot. A required plugin that failed or
  // does not exist is an error that names it. `on_failure` is told of each other failure.
  Status Initialise(const Options& options, const std::function<void(const Record&)>& on_failure);
  // Destroys instances in reverse order. Idempotent.
  void Close();

  std::vector<Descriptor>& descriptors() { return descriptors_; }
  const std::vector<Record>& records() const { return records_; }  // in order of initialisation

  // nullptr if there is none.
  void* Find(std::string_view type, std::string_view id) const;
  std::map<std::string, void*> FindAll(std::string_view type) const;
  template <typename T>
  T* Get(PluginType<T> type, std::string_view id) const {
    return static_cast<T*>(Find(type.name, id));
  }

 private:
  friend class InitContext;
  Result<std::vector<size_t>> Order(const std::vector<bool>& enabled) const;
  void Build(size_t index);

  std::vector<Descriptor> descriptors_;
  Options options_;
  std::vector<Record> records_;
  struct Instance {
    std::string type;
    std::string id;
    std::shared_ptr<void> object;
  };
  std::vector<Instance> instances_;  // in order of initialisation
};

template <typename T>
Result<T*> InitContext::GetById(PluginType<T> type, std::string_view id) const {
  T* found = graph_->Get(type, id);
  if (found == nullptr) return NotFoundError("plugin ", type.name, ".", id, ": not loaded");
  return found;
}

template <typename T>
Result<T*> InitContext::Get(PluginType<T> type) const {
  const auto all = graph_->FindAll(type.name);
  if (all.empty()) return NotFoundError("no plugin of type ", type.name);
  return static_cast<T*>(all.begin()->second);
}

template <typename T>
std::map<std::string, T*> InitContext::GetAll(PluginType<T> type) const {
  std::map<std::string, T*> out;
  for (const auto& [id, object] : graph_->FindAll(type.name)) out[id] = static_cast<T*>(object);
  return out;
}

}  // namespace corten::plugin
