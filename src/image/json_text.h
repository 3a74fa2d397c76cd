// JSON as Go's encoder writes it, so that documents made here have the bytes, and digests, that
// containerd's have. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/descriptor.h"

namespace corten::image {

// `text` in quotes. '<', '>', '&', U+2028 and U+2029 are escaped as Go does; bytes that are not
// UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);
// Members in the order of the OCI types; empty ones are left out.
std::string DescriptorJson(const model::Descriptor& descriptor);
std::string PlatformJson(const model::Platform& platform);
// "[a,b]" of texts that are JSON already.
std::string JsonList(const std::vector<std::string>& items);

}  // namespace corten::image
