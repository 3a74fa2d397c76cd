#include "model/reference.h"

#include <algorithm>

namespace corten::model {

namespace {

constexpr size_t kMaxReference = 1024;
constexpr size_t kMaxTag = 128;

bool IsLower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsWord(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

bool ValidTag(std::string_view tag) {
  if (tag.empty() || tag.size() > kMaxTag || !IsWord(tag[0])) return false;
  return std::all_of(tag.begin(), tag.end(),
                     [](char c) { return IsWord(c) || c == '.' || c == '-'; });
}

// One component of a repository: lower-case runs joined by '.', '_', "__" or dashes.
bool ValidComponent(std::string_view part) {
  if (part.empty() || !IsLower(part.front()) || !IsLower(part.back())) return false;
  for (size_t i = 0; i < part.size(); ++i) {
    if (IsLower(part[i])) continue;
    size_t run = 1;
    while (i + run < part.size() && !IsLower(part[i + run])) ++run;
    const std::string_view separator = part.substr(i, run);
    const bool dashes = separator.find_first_not_of('-') == std::string_view::npos;
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    i += run - 1;
  }
  return true;
}

bool ValidRepository(std::string_view path) {
  while (true) {
    const size_t slash = path.find('/');
    if (!ValidComponent(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

// Host names and addresses as Docker takes them: labels joined by dots or an IPv6 address in
// brackets, and a port.
bool ValidDomain(std::string_view domain) {
  if (domain.starts_with("[")) {
    const size_t end = domain.find(']');
    if (end == std::string_view::npos || end == 1 ||
        domain.substr(1, end - 1).find_first_not_of("0123456789abcdefABCDEF:") !=
            std::string_view::npos)
      return false;
    domain.remove_prefix(end + 1);
    if (domain.empty()) return true;
    if (domain[0] != ':') return false;
    domain.remove_prefix(1);
  } else {
    const size_t colon = domain.find(':');
    std::string_view name = domain.substr(0, colon);
    while (true) {
      const size_t dot = name.find('.');
      const std::string_view label = name.substr(0, dot);
      const bool letters = std::all_of(label.begin(), label.end(),
                                       [](char c) { return c == '-' || (IsWord(c) && c != '_'); });
      if (label.empty() || !letters || label.front() == '-' || label.back() == '-') return false;
      if (dot == std::string_view::npos) break;
      name.remove_prefix(dot + 1);
    }
    if (colon == std::string_view::npos) return true;
    domain.remove_prefix(colon + 1);
  }
  uint64_t port = 0;
  return !domain.empty() && ParseU64(domain, &port) && port <= 65535;
}

Error Invalid(std::string_view text, std::string_view why) {
  return InvalidArgumentError("invalid reference ", Quoted(text), ": ", why);
}

}  // namespace

std::string_view Reference::path() const {
  const size_t slash = locator.find('/');
  return slash == std::string::npos ? std::string_view()
                                    : std::string_view(locator).substr(slash + 1);
}

std::string_view Reference::tag() const {
  return std::string_view(object).substr(0, object.find('@'));
}

std::string_view Reference::digest() const {
  const size_t at = object.find('@');
  return at == std::string::npos ? std::string_view() : std::string_view(object).substr(at + 1);
}

std::string Reference::str() const {
  if (object.empty()) return locator;
  return object[0] == '@' ? StrCat(locator, object) : StrCat(locator, ":", object);
}

Result<Reference> ParseReference(std::string_view text) {
  if (text.empty()) return Invalid(text, "empty");
  if (text.size() > kMaxReference) return Invalid(text.substr(0, 64), "too long");
  if (text.find("://") != std::string_view::npos) return Invalid(text, "a scheme is not allowed");
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f)
      return Invalid(text, "spaces and control characters are not allowed");
  }
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  if (host.empty() || host[0] == ':') return Invalid(text, "host is missing");
  if (const size_t colon = host.rfind(':');
      colon != std::string_view::npos && !host.ends_with("]")) {
    uint64_t port = 0;
    if (!ParseU64(host.substr(colon + 1), &port) || port > 65535) {
      return Invalid(text, StrCat("invalid port ", Quoted(host.substr(colon)), " after host"));
    }
  }
  Reference reference;
  const size_t split =
      slash == std::string_view::npos ? std::string_view::npos : text.find_first_of(":@", slash);
  reference.locator = text.substr(0, split);
  if (split != std::string_view::npos) {
    reference.object = text[split] == ':' ? text.substr(split + 1) : text.substr(split);
    if (reference.object.empty() || reference.object == "@" ||
        (text[split] == ':' && reference.object[0] == '@'))
      return Invalid(text, "object is empty");
  }
  return reference;
}

Result<std::string> NormalizeDockerReference(std::string_view text) {
  std::string_view rest = text;
  std::string digest;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    digest = rest.substr(at + 1);
    const Digest checked =
        TRY(Digest::Parse(digest).Context(StrCat("invalid reference ", Quoted(text))));
    rest = rest.substr(0, at);
  }
  std::string domain = "docker.io";
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view first = rest.substr(0, slash);
    const bool is_host =
        first.find_first_of(".:") != std::string_view::npos || first == "localhost" ||
        std::any_of(first.begin(), first.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (is_host) {
      if (!ValidDomain(first)) return Invalid(text, "invalid host name or port");
      domain = first == "index.docker.io" ? std::string_view("docker.io") : first;
      rest.remove_prefix(slash + 1);
    }
  }
  std::string_view tag;
  if (const size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!ValidTag(tag)) return Invalid(text, "invalid tag");
  }
  if (!ValidRepository(rest))
    return Invalid(text, "repository name must be lowercase letters, digits and separators");
  std::string path(rest);
  if (domain == "docker.io" && path.find('/') == std::string::npos) path.insert(0, "library/");
  std::string out = StrCat(domain, "/", path);
  if (!tag.empty()) out += StrCat(":", tag);
  if (tag.empty() && digest.empty()) out += ":latest";
  if (!digest.empty()) out += StrCat("@", digest);
  if (out.size() > kMaxReference) return Invalid(text.substr(0, 64), "too long");
  return out;
}

}  // namespace corten::model
