#include "image/json_text.h"

#include "base/strcat.h"

namespace corten::image {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Length of the UTF-8 sequence at the front of `text`, 0 if it is not one.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : (lead & 0xf0) == 0xe0        ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f))
    return 0;  // overlong; surrogates
  if ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) return 0;
  return length;
}

void AppendEscape(unsigned value, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) out->push_back(kHex[(value >> shift) & 15]);
}

void AppendAscii(char c, std::string* out) {
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\b':
      out->append("\\b");
      return;
    case '\f':
      out->append("\\f");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(c) < 0x20 || c == '<' || c == '>' || c == '&') {
    AppendEscape(static_cast<unsigned char>(c), out);
  } else {
    out->push_back(c);
  }
}

std::string MapJson(const model::Labels& map) {
  std::string out = "{";
  for (const auto& [key, value] : map) {
    if (out.size() > 1) out += ',';
    out += JsonString(key) + ":" + JsonString(value);
  }
  return out + "}";
}

std::string TextList(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(JsonString(text));
  return JsonList(quoted);
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) {
      out.append(kReplacement);
    } else if (length == 1) {
      AppendAscii(text[0], &out);
    } else if (text.starts_with("\xe2\x80\xa8")) {
      out.append("\\u2028");
    } else if (text.starts_with("\xe2\x80\xa9")) {
      out.append("\\u2029");
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out.push_back('"');
  return out;
}

std::string JsonList(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out += item;
  }
  return out + "]";
}

std::string PlatformJson(const model::Platform& platform) {
  std::string out = StrCat("{\"architecture\":", JsonString(platform.architecture),
                           ",\"os\":", JsonString(platform.os));
  if (!platform.os_version.empty()) out += ",\"os.version\":" + JsonString(platform.os_version);
  if (!platform.os_features.empty()) out += ",\"os.features\":" + TextList(platform.os_features);
  if (!platform.variant.empty()) out += ",\"variant\":" + JsonString(platform.variant);
  return out + "}";
}

std::string DescriptorJson(const model::Descriptor& descriptor) {
  std::string out =
      StrCat("{\"mediaType\":", JsonString(descriptor.media_type),
             ",\"digest\":", JsonString(descriptor.digest.str()), ",\"size\":", descriptor.size);
  if (!descriptor.urls.empty()) out += ",\"urls\":" + TextList(descriptor.urls);
  if (!descriptor.annotations.empty()) out += ",\"annotations\":" + MapJson(descriptor.annotations);
  if (descriptor.platform.has_value()) out += ",\"platform\":" + PlatformJson(*descriptor.platform);
  if (!descriptor.artifact_type.empty())
    out += ",\"artifactType\":" + JsonString(descriptor.artifact_type);
  return out + "}";
}

}  // namespace corten::image
