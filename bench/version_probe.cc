#include "version_probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/fd.h"

namespace corten::bench {

namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr useconds_t kPauseUs = 200;
constexpr size_t kFrameHeader = 9;  // RFC 9113, 4.1
constexpr uint8_t kData = 0, kHeaders = 1, kSettings = 4;
constexpr uint8_t kEndStream = 1, kEndHeaders = 4;

std::string Frame(uint8_t type, uint8_t flags, uint8_t stream, std::string_view payload) {
  std::string out;
  for (const size_t shift : {16U, 8U, 0U})
    out.push_back(static_cast<char>(payload.size() >> shift));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  out.append(3, '\0');
  out.push_back(static_cast<char>(stream));
  out.append(payload);
  return out;
}

// A header field that is not indexed (RFC 7541, 6.2.2): `name` is an index already, or a literal
// that follows a zero byte.
std::string Field(std::string_view name, std::string_view value) {
  std::string out(name);
  out.push_back(static_cast<char>(value.size()));
  out.append(value);
  return out;
}

std::string Request() {
  const std::string fields =
      std::string("\x83\x86", 2) +  // :method POST, :scheme http, of the static table
      Field("\x04", "/containerd.services.version.v1.Version/Version") +
      Field("\x01", "localhost") +                                  // :path and :authority by index
      Field(std::string_view("\x0f\x10", 2), "application/grpc") +  // content-type: index 15 + 16
      Field(std::string_view("\x00\x02te", 4), "trailers");
  return std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + Frame(kSettings, 0, 0, "") +
         Frame(kHeaders, kEndHeaders, 1, fields) +
         Frame(kData, kEndStream, 1, std::string(5, '\0'));  // an empty message, not compressed
}

// Whether a whole header of a data frame has arrived.
bool HasData(std::string_view bytes) {
  while (bytes.size() >= kFrameHeader) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes[i])); };
    const size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
    if (byte(3) == kData) return true;
    if (bytes.size() < kFrameHeader + length) return false;
    bytes.remove_prefix(kFrameHeader + length);
  }
  return false;
}

bool Ask(const std::string& socket_path, SteadyClock::time_point end) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) return false;
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return false;
  const std::string request = Request();
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return false;
  std::string answer;
  while (SteadyClock::now() < end) {
    pollfd waiting = {fd.get(), POLLIN, 0};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - SteadyClock::now());
    if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return false;
    char buffer[4096];
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (got <= 0) return false;
    answer.append(buffer, static_cast<size_t>(got));
    if (HasData(answer)) return true;
  }
  return false;
}

}  // namespace

bool AnswersVersion(const std::string& socket_path, std::chrono::milliseconds timeout) {
  const auto end = SteadyClock::now() + timeout;
  while (SteadyClock::now() < end) {
    if (Ask(socket_path, end)) return true;
    usleep(kPauseUs);
  }
  return false;
}

}  // namespace corten::bench
