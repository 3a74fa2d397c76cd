#include "image/hosts.h"

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "base/dir.h"
#include "base/toml.h"
#include "image/url.h"

namespace corten::image {

namespace {

constexpr size_t kMaxHostsFile = 1 << 20;
constexpr int64_t kNanosPerMilli = 1000000;

RegistryHost DefaultHost(const std::string& image_host, const HostDefaults& defaults) {
  RegistryHost host;
  host.host = image_host == "docker.io" ? "registry-1.docker.io" : image_host;
  host.path = "/v2";
  host.tls = defaults.tls;
  const Url url = ParseUrl(host.host);
  if (!defaults.scheme.empty()) {
    host.scheme = defaults.scheme;
  } else {
    host.scheme = "https";
    if (IsLoopbackHost(url.host) && !url.port.empty() && url.port != "443") {
      host.https_then_http = true;
      if (url.port != "80") host.tls.skip_verify = true;
    }
  }
  return host;
}

std::string InDir(const std::string& dir, const std::string& name) {
  return name.starts_with("/") ? name : StrCat(dir, "/", name);
}

Error Wrong(const toml::node& node, std::string_view key, std::string_view want) {
  return InvalidArgumentError("hosts.toml line ", node.source().begin.line, ": ", key, " must be ",
                              want);
}

// A string or a list of strings.
Result<std::vector<std::string>> TextOrList(const toml::node& node, std::string_view key) {
  std::vector<std::string> out;
  if (node.is_string()) return std::vector{node.as_string()->get()};
  if (!node.is_array()) return Wrong(node, key, "a string or a list of strings");
  for (const toml::node& entry : *node.as_array()) {
    if (!entry.is_string()) return Wrong(entry, key, "a string or a list of strings");
    out.push_back(entry.as_string()->get());
  }
  return out;
}

Status ReadCapabilities(const toml::node& node, RegistryHost* host) {
  host->can_pull = host->can_resolve = host->can_push = false;
  const std::vector<std::string> words = TRY(TextOrList(node, "capabilities"));
  for (const std::string& word : words) {
    if (word == "pull") {
      host->can_pull = true;
    } else if (word == "resolve") {
      host->can_resolve = true;
    } else if (word == "push") {
      host->can_push = true;
    } else if (word != "referrers") {
      return InvalidArgumentError("hosts.toml line ", node.source().begin.line,
                                  ": unknown capability ", Quoted(word));
    }
  }
  return Ok();
}

Status ReadClient(const toml::node& node, const std::string& dir, RegistryHost* host) {
  const auto add = [&](const std::string& cert, const std::string& key) {
    host->tls.client_pairs.emplace_back(InDir(dir, cert), InDir(dir, key.empty() ? cert : key));
  };
  if (node.is_string()) {
    add(node.as_string()->get(), "");
    return Ok();
  }
  if (!node.is_array()) return Wrong(node, "client", "a file name, a list of names or of pairs");
  for (const toml::node& entry : *node.as_array()) {
    const std::vector<std::string> names = TRY(TextOrList(entry, "client"));
    if (names.empty() || names.size() > 2)
      return Wrong(entry, "client", "a certificate, or a certificate and a key");
    add(names[0], names.size() == 2 ? names[1] : std::string());
  }
  return Ok();
}

Status ReadHeaders(const toml::node& node, RegistryHost* host) {
  if (!node.is_table()) return Wrong(node, "header", "a table");
  for (const auto& [name, value] : *node.as_table()) {
    const std::vector<std::string> texts = TRY(TextOrList(value, name.str()));
    for (const std::string& text : texts) {
      if (text.find_first_of("\r\n") != std::string::npos)
        return Wrong(value, name.str(), "without line breaks");
      host->headers.emplace_back(std::string(name.str()), text);
    }
  }
  return Ok();
}

// What a table says beside its address.
Status ReadSettings(const toml::table& table, const std::string& dir, RegistryHost* host) {
  bool override_path = false;
  for (const auto& [key_node, node] : table) {
    const std::string_view key = key_node.str();
    if (key == "capabilities") {
      TRY(ReadCapabilities(node, host));
    } else if (key == "ca") {
      const std::vector<std::string> names = TRY(TextOrList(node, key));
      for (const std::string& name : names) host->tls.ca_files.push_back(InDir(dir, name));
    } else if (key == "client") {
      TRY(ReadClient(node, dir, host));
    } else if (key == "skip_verify") {
      if (!node.is_boolean()) return Wrong(node, key, "true or false");
      host->tls.skip_verify = node.as_boolean()->get();
    } else if (key == "header") {
      TRY(ReadHeaders(node, host));
    } else if (key == "override_path") {
      if (!node.is_boolean()) return Wrong(node, key, "true or false");
      override_path = node.as_boolean()->get();
    } else if (key == "dial_timeout") {
      if (!node.is_string()) return Wrong(node, key, "a duration");
      const int64_t nanos = TRY(ParseDuration(node.as_string()->get()));
      host->dial_timeout = std::chrono::milliseconds(nanos / kNanosPerMilli);
    }
  }
  while (host->path.ends_with("/")) host->path.pop_back();
  if (!override_path && !host->path.ends_with("/v2")) host->path += "/v2";
  return Ok();
}

Result<RegistryHost> HostAt(std::string address, const std::string& image_host,
                            const HostDefaults& defaults) {
  if (!address.starts_with("http")) address = StrCat("https://", address);
  const Url url = ParseUrl(address);
  if (url.scheme != "http" && url.scheme != "https")
    return InvalidArgumentError("hosts.toml: unsupported scheme in ", Quoted(address));
  RegistryHost host;
  host.scheme = url.scheme;
  host.host = url.host.empty() ? image_host : url.Authority();
  host.path = url.path;
  host.tls = defaults.tls;
  return host;
}

// Plain http with TLS settings means: https if it answers.
void PreferTls(RegistryHost* host) {
  if (host->scheme != "http" || host->tls.empty() || ParseUrl(host->host).port == "80") return;
  host->scheme = "https";
  host->https_then_http = true;
}

// Docker's layout: *.crt are roots, X.cert with X.key a client pair.
void ReadDockerCertificates(const std::string& dir, RegistryHost* host) {
  const Result<Dir> opened = Dir::Open(dir);
  if (!opened.ok()) return;
  Result<std::vector<std::string>> names = opened->List();
  if (!names.ok()) return;
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    if (name.ends_with(".crt")) host->tls.ca_files.push_back(StrCat(dir, "/", name));
    if (!name.ends_with(".cert")) continue;
    const std::string key = StrCat(name.substr(0, name.size() - 5), ".key");
    host->tls.client_pairs.emplace_back(StrCat(dir, "/", name),
                                        StrCat(dir, "/", opened->Exists(key) ? key : name));
  }
}

// The first directory that there is for the host.
std::optional<std::string> FindDir(const std::string& image_host, const std::string& hosts_dirs) {
  std::string with_port = image_host;
  if (const size_t colon = image_host.rfind(':'); colon != std::string::npos)
    with_port = StrCat(image_host.substr(0, colon), "_", image_host.substr(colon + 1), "_");
  for (size_t at = 0; at <= hosts_dirs.size();) {
    const size_t end = std::min(hosts_dirs.find(':', at), hosts_dirs.size());
    const std::string root = hosts_dirs.substr(at, end - at);
    at = end + 1;
    if (root.empty()) continue;
    for (const std::string& name : {with_port, image_host, std::string("_default")}) {
      if (name.find('/') == std::string::npos && Dir::Open(StrCat(root, "/", name)).ok())
        return StrCat(root, "/", name);
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<RegistryHost>> ParseHostsFile(const std::string& text, const std::string& dir,
                                                 const std::string& image_host,
                                                 const HostDefaults& defaults) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return InvalidArgumentError("hosts.toml line ", parsed.error().source().begin.line, ": ",
                                parsed.error().description());
  const toml::table& root = parsed.table();
  std::vector<std::pair<toml::source_index, RegistryHost>>
      mirrors;  // with the line, which gives the order
  if (const toml::node* table = root.get("host"); table != nullptr) {
    if (!table->is_table()) return Wrong(*table, "host", "a table");
    for (const auto& [address, node] : *table->as_table()) {
      if (!node.is_table()) return Wrong(node, address.str(), "a table");
      RegistryHost host = TRY(HostAt(std::string(address.str()), image_host, defaults));
      TRY(ReadSettings(*node.as_table(), dir, &host));
      PreferTls(&host);
      mirrors.emplace_back(node.source().begin.line, std::move(host));
    }
  }
  std::stable_sort(mirrors.begin(), mirrors.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<RegistryHost> out;
  for (auto& [line, host] : mirrors) out.push_back(std::move(host));
  const toml::node* server = root.get("server");
  if (server != nullptr && !server->is_string()) return Wrong(*server, "server", "a URL");
  const bool named = server != nullptr && !server->as_string()->get().empty();
  const RegistryHost own = DefaultHost(image_host, defaults);
  RegistryHost last = own;
  if (named) last = TRY(HostAt(server->as_string()->get(), image_host, defaults));
  TRY(ReadSettings(root, dir, &last));
  if (!named) {  // the image's own host decides these, whatever the top level says
    last.path = own.path;
    last.can_pull = last.can_resolve = last.can_push = true;
    last.tls.skip_verify = last.tls.skip_verify || own.tls.skip_verify;
  }
  PreferTls(&last);
  out.push_back(std::move(last));
  return out;
}

std::vector<RegistryHost> HostsFor(const std::string& image_host, const std::string& hosts_dirs,
                                   const HostDefaults& defaults, std::string* warning) {
  const std::optional<std::string> dir = FindDir(image_host, hosts_dirs);
  if (!dir.has_value()) return {DefaultHost(image_host, defaults)};
  const Result<std::string> text = ReadFileAt(StrCat(*dir, "/hosts.toml"), kMaxHostsFile);
  if (text.ok() && text->find_first_not_of(" \t\r\n") != std::string::npos) {
    Result<std::vector<RegistryHost>> hosts = ParseHostsFile(*text, *dir, image_host, defaults);
    if (hosts.ok()) return std::move(hosts).value();
    *warning = StrCat(*dir, ": ", hosts.error().text());
  }
  RegistryHost host = DefaultHost(image_host, defaults);
  ReadDockerCertificates(*dir, &host);
  return {host};
}

}  // namespace corten::image
