// Descriptors are parsed when somebody asks a message for its own. Who looks one up by name asks
// for all of them first.
#pragma once

namespace corten::proto {

// Afterwards the generated pool knows every message and service of proto_msgs. The first call
// takes about a millisecond, others nothing. Any thread.
void RegisterDescriptors();

}  // namespace corten::proto
