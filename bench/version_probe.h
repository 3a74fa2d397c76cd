// The quickest client there is: one Version call over a new connection, by hand.
//
// Used where the time to the first answer is the figure: a gRPC client's own start and its
// reconnect pauses would be measured too. Threads: any.
#pragma once

#include <chrono>
#include <string>

namespace corten::bench {

// Tries to connect to `socket` every 0.2 ms, asks for the version, and returns true at the first
// byte of an answer that is data; false after `timeout`.
bool AnswersVersion(const std::string& socket, std::chrono::milliseconds timeout);

}  // namespace corten::bench
