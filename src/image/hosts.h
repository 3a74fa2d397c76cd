// Which machines serve a registry's images: its own, or the mirrors that an administrator named in
// hosts.toml. Threads: pure, but for reading files; they are read anew by each call. Source:
// images.md 2.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "image/http.h"

namespace corten::image {

struct RegistryHost {
  std::string scheme;  // "http", "https"
  std::string host;    // host[:port]
  std::string path;    // "/v2", no slash at the end
  bool can_pull = true;
  bool can_resolve = true;
  bool can_push = true;
  bool https_then_http = false;  // https fails as TLS: http is used from then on
  TlsSettings tls;
  HeaderList headers;
  std::chrono::milliseconds dial_timeout{30000};
  std::string Base() const { return scheme + "://" + host + path; }
};

struct HostDefaults {
  std::string scheme;  // of the image's own host; empty: https, or for loopback names with a port
                       // of their own both
  TlsSettings tls;     // for every host that says nothing itself
};

// The hosts for images of `image_host`, in the order in which they are asked; the last is its own
// or the file's `server`. `hosts_dirs`: directories joined by ':', empty: no files. A file that
// cannot be parsed is reported in `warning` and passed over for Docker's certificate layout beside
// it, as containerd does.
std::vector<RegistryHost> HostsFor(const std::string& image_host, const std::string& hosts_dirs,
                                   const HostDefaults& defaults, std::string* warning);

// One hosts.toml. `dir` is what relative certificate names are relative to. kInvalidArgument with
// line and key.
Result<std::vector<RegistryHost>> ParseHostsFile(const std::string& text, const std::string& dir,
                                                 const std::string& image_host,
                                                 const HostDefaults& defaults);

}  // namespace corten::image
