// The parts of an absolute URL that registries use. Values; any thread.
#pragma once

#include <string>
#include <string_view>

namespace corten::image {

struct Url {
  std::string scheme;             // "http", "https"; "" if there was none
  std::string host;               // without brackets
  std::string port;               // "" if there was none
  std::string path;               // "/..." or ""
  std::string query;              // without '?'
  std::string Authority() const;  // as written: host[:port]
  std::string PortOrDefault() const;
  std::string str() const;
};

// Never fails: what is missing stays empty. User names and fragments are dropped.
Url ParseUrl(std::string_view text);
// `location` as a Location header of a response to `base` has it: absolute, or relative to it.
std::string ResolveLocation(const std::string& base, const std::string& location);
// For logs and errors: the values of query parameters but `ns` are hidden.
std::string RedactUrl(const std::string& url);
std::string QueryEscape(std::string_view text);
// "localhost", 127.0.0.0/8, "::1".
bool IsLoopbackHost(std::string_view host);

}  // namespace corten::image
