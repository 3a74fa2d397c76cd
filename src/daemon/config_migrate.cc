#include <algorithm>
#include <array>

#include "daemon/config_toml.h"

namespace corten::daemon {

namespace {

constexpr std::string_view kPrefix = "io.containerd.";

// Moves `key` out of `from`, if it is there, to `to[name]`; what stands there already wins.
void Move(toml::table& from, std::string_view key, toml::table& to, std::string_view name) {
  auto found = from.find(key);
  if (found == from.end()) return;
  if (!to.contains(name)) to.insert(name, std::move(found->second));
  from.erase(found);
}

toml::table& Sub(toml::table& parent, std::string_view key) {
  if (toml::table* present = parent[key].as_table(); present != nullptr) return *present;
  return *parent.insert_or_assign(key, toml::table{}).first->second.as_table();
}

// Version 0 and 1 named plugins by id alone.
std::string UriOf(std::string_view name, bool* ambiguous) {
  *ambiguous = false;
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 20> kKnown = {
      {{"cri", "io.containerd.grpc.v1.cri"},
       {"cgroups", "io.containerd.monitor.v1.cgroups"},
       {"scheduler", "io.containerd.gc.v1.scheduler"},
       {"bolt", "io.containerd.metadata.v1.bolt"},
       {"task", "io.containerd.runtime.v2.task"},
       {"opt", "io.containerd.internal.v1.opt"},
       {"restart", "io.containerd.internal.v1.restart"},
       {"tracing", "io.containerd.internal.v1.tracing"},
       {"otlp", "io.containerd.tracing.processor.v1.otlp"},
       {"aufs", "io.containerd.snapshotter.v1.aufs"},
       {"btrfs", "io.containerd.snapshotter.v1.btrfs"},
       {"devmapper", "io.containerd.snapshotter.v1.devmapper"},
       {"native", "io.containerd.snapshotter.v1.native"},
       {"overlayfs", "io.containerd.snapshotter.v1.overlayfs"},
       {"zfs", "io.containerd.snapshotter.v1.zfs"},
       {"blockfile", "io.containerd.snapshotter.v1.blockfile"},
       {"erofs", "io.containerd.snapshotter.v1.erofs"},
       {"content", "io.containerd.content.v1.content"},
       {"walking", "io.containerd.differ.v1.walking"},
       {"linux", "io.containerd.runtime.v1.linux"}}};
  for (const auto& [id, uri] : kKnown) {
    if (id == name) return std::string(uri);
  }
  if (name.starts_with(kPrefix)) return std::string(name);
  if (name.ends_with("-service")) return StrCat("io.containerd.service.v1.", name);
  *ambiguous = true;
  return StrCat("io.containerd.grpc.v1.", name);
}

void NamesToUris(toml::table& root, std::vector<ConfigWarning>& warnings) {
  const auto convert = [&](std::string_view name, const toml::node& node) {
    bool ambiguous = false;
    std::string uri = UriOf(name, &ambiguous);
    if (ambiguous)
      warnings.push_back({"Ambiguous plugin name, taken as a gRPC plugin",
                          {{"plugin", std::string(name)}, {"file", Where(node)}}});
    return uri;
  };
  if (toml::table* plugins = root["plugins"].as_table(); plugins != nullptr) {
    toml::table renamed;
    for (auto&& [key, node] : *plugins) renamed.insert(convert(key.str(), node), std::move(node));
    *plugins = std::move(renamed);
  }
  for (const std::string_view list_name : {"disabled_plugins", "required_plugins"}) {
    toml::array* list = root[list_name].as_array();
    if (list == nullptr) continue;
    for (toml::node& entry : *list) {
      if (toml::value<std::string>* text = entry.as_string(); text != nullptr)
        *text = convert(text->get(), entry);
    }
  }
}

// Version 2 kept all of CRI in one plugin.
void SplitCri(toml::table& plugins) {
  toml::table* old = plugins["io.containerd.grpc.v1.cri"].as_table();
  if (old == nullptr) return;
  toml::table images;
  toml::table runtime;
  toml::table streaming;
  for (const std::string_view key :
       {"registry", "image_decryption", "max_concurrent_downloads", "image_pull_progress_timeout",
        "image_pull_with_sync_fs", "stats_collect_period"}) {
    Move(*old, key, images, key);
  }
  if (toml::table* containerd = (*old)["containerd"].as_table(); containerd != nullptr) {
    for (const std::string_view key :
         {"snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"})
      Move(*containerd, key, images, key);
  }
  if (old->contains("sandbox_image"))
    Move(*old, "sandbox_image", Sub(images, "pinned_images"), "sandbox");
  for (const std::string_view key :
       {"disable_tcp_service", "stream_server_address", "stream_server_port", "stream_idle_timeout",
        "enable_tls_streaming", "x509_key_pair_streaming"}) {
    Move(*old, key, streaming, key);
  }
  for (auto&& [key, node] : *old) runtime.insert(key, std::move(node));
  *old = std::move(streaming);
  MergeTables(Sub(plugins, "io.containerd.cri.v1.images"), std::move(images));
  MergeTables(Sub(plugins, "io.containerd.cri.v1.runtime"), std::move(runtime));
}

void RenamePlugins(toml::table& plugins) {
  Move(plugins, "io.containerd.monitor.v1.cgroups", plugins,
       "io.containerd.monitor.task.v1.cgroups");
  Move(plugins, "io.containerd.internal.v1.restart", plugins,
       "io.containerd.monitor.container.v1.restart");
  toml::table* task = plugins["io.containerd.runtime.v2.task"].as_table();
  if (task == nullptr) return;
  auto found = task->find("sched_core");
  if (found == task->end()) return;
  if (found->second.value_or(false))
    Sub(plugins, "io.containerd.shim.v1.manager").insert("env", toml::array{"SCHED_CORE=1"});
  task->erase(found);
}

// Version 3 had sections of their own for what are server plugins now.
void SectionsToServers(toml::table& root, toml::table& plugins) {
  std::string ttrpc_address;
  if (toml::table* grpc = root["grpc"].as_table(); grpc != nullptr) {
    const std::string address = (*grpc)["address"].value_or(std::string());
    const bool has_ttrpc = root["ttrpc"].is_table() && root["ttrpc"]["address"].is_string();
    if (!address.empty() && !has_ttrpc) {
      toml::table& ttrpc = Sub(plugins, "io.containerd.server.v1.ttrpc");
      if (!ttrpc.contains("address")) ttrpc.insert("address", StrCat(address, ".ttrpc"));
      for (const std::string_view key : {"uid", "gid"}) {
        if (!ttrpc.contains(key) && (*grpc)[key].is_integer())
          ttrpc.insert(key, (*grpc)[key].value_or(int64_t{0}));
      }
    }
    toml::table tcp;
    toml::table unix;
    Move(*grpc, "tcp_address", tcp, "address");
    for (const std::string_view key : {"tls_ca", "tls_cert", "tls_key", "tls_common_name"})
      Move(*grpc, StrCat("tcp_", key), tcp, key);
    for (const std::string_view key :
         {"address", "uid", "gid", "max_recv_message_size", "max_send_message_size"})
      Move(*grpc, key, unix, key);
    // A table in the new form wins over the section.
    const auto lay_under = [&](std::string_view uri, toml::table&& old) {
      if (old.empty()) return;
      toml::table& present = Sub(plugins, uri);
      MergeTables(old, std::move(present));
      present = std::move(old);
    };
    lay_under("io.containerd.server.v1.grpc", std::move(unix));
    lay_under("io.containerd.server.v1.grpc-tcp", std::move(tcp));
    if (grpc->empty()) root.erase("grpc");
  }
  const auto section = [&](std::string_view name, std::string_view uri,
                           std::initializer_list<std::string_view> keys) {
    toml::table* from = root[name].as_table();
    if (from == nullptr) return;
    for (const std::string_view key : keys) {
      if (from->contains(key)) Move(*from, key, Sub(plugins, uri), key);
    }
    if (from->empty()) root.erase(name);
  };
  section("metrics", "io.containerd.metrics.v1.grpc-prometheus", {"grpc_histogram"});
  section("metrics", "io.containerd.server.v1.metrics", {"address"});
  section("ttrpc", "io.containerd.server.v1.ttrpc", {"address", "uid", "gid"});
  section("debug", "io.containerd.server.v1.debug", {"address", "uid", "gid"});
}

}  // namespace

void MergeTables(toml::table& into, toml::table&& from) {
  for (auto&& [key, node] : from) {
    toml::table* present = into[key.str()].as_table();
    if (present != nullptr && node.is_table()) {
      MergeTables(*present, std::move(*node.as_table()));
    } else {
      into.insert_or_assign(key, std::move(node));
    }
  }
}

void MigrateConfig(ConfigFile& file, std::vector<ConfigWarning>& warnings) {
  if (file.version < 2) NamesToUris(file.tree, warnings);
  if (file.version >= kConfigVersion) return;
  toml::table& plugins = Sub(file.tree, "plugins");
  SplitCri(plugins);
  RenamePlugins(plugins);
  SectionsToServers(file.tree, plugins);
}

}  // namespace corten::daemon
