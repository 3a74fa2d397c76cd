// Protobuf messages as the JSON that containerd's own clients print: members by the names of the
// .proto file, in its order, those with their default value left out; numbers as numbers, enums
// too, bytes in base64. Pure; any thread. Source: output of ctr 2.3.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>

namespace corten::cli {

nlohmann::ordered_json MessageTree(const google::protobuf::Message& message);

}  // namespace corten::cli
