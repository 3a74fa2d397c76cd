#include "image/url.h"

#include "base/strcat.h"

namespace corten::image {

std::string Url::Authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  const std::string name = v6 ? StrCat("[", host, "]") : host;
  return port.empty() ? name : StrCat(name, ":", port);
}

std::string Url::PortOrDefault() const {
  return !port.empty() ? port : scheme == "http" ? "80" : "443";
}

std::string Url::str() const {
  return StrCat(scheme, "://", Authority(), path, query.empty() ? "" : "?", query);
}

Url ParseUrl(std::string_view text) {
  Url url;
  if (const size_t colon = text.find("://"); colon != std::string_view::npos) {
    url.scheme = text.substr(0, colon);
    text.remove_prefix(colon + 3);
  }
  text = text.substr(0, text.find('#'));
  if (const size_t question = text.find('?'); question != std::string_view::npos) {
    url.query = text.substr(question + 1);
    text = text.substr(0, question);
  }
  const size_t slash = text.find('/');
  std::string_view authority = text.substr(0, slash);
  if (slash != std::string_view::npos) url.path = text.substr(slash);
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos)
    authority.remove_prefix(at + 1);
  if (authority.starts_with("[")) {
    const size_t end = authority.find(']');
    url.host = authority.substr(1, end == std::string_view::npos ? end : end - 1);
    authority = end == std::string_view::npos ? std::string_view() : authority.substr(end + 1);
    if (authority.starts_with(":")) url.port = authority.substr(1);
  } else {
    const size_t colon = authority.rfind(':');
    url.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) url.port = authority.substr(colon + 1);
  }
  return url;
}

std::string ResolveLocation(const std::string& base, const std::string& location) {
  if (location.find("://") != std::string::npos) return location;
  const Url from = ParseUrl(base);
  if (location.starts_with("//")) return StrCat(from.scheme, ":", location);
  if (location.starts_with("/")) return StrCat(from.scheme, "://", from.Authority(), location);
  return StrCat(from.scheme, "://", from.Authority(), from.path.substr(0, from.path.rfind('/') + 1),
                location);
}

std::string RedactUrl(const std::string& url) {
  Url parsed = ParseUrl(url);
  std::string out;
  std::string_view rest = parsed.query;
  while (!rest.empty()) {
    const size_t amp = rest.find('&');
    const std::string_view part = rest.substr(0, amp);
    rest.remove_prefix(amp == std::string_view::npos ? rest.size() : amp + 1);
    if (!out.empty()) out += '&';
    const size_t equals = part.find('=');
    if (part.starts_with("ns=") || equals == std::string_view::npos) {
      out += part;
    } else {
      out += StrCat(part.substr(0, equals), "=redacted");
    }
  }
  parsed.query = out;
  return parsed.str();
}

std::string QueryEscape(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[(static_cast<unsigned char>(c) >> 4) & 15];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

bool IsLoopbackHost(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  if (!host.starts_with("127.")) return false;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace corten::image
