#include "daemon/http.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "base/log.h"

namespace corten::daemon {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxHead = 8192;
constexpr size_t kMaxTarget = 2048;
constexpr size_t kThreads = 4;
constexpr size_t kConnections = 32;
constexpr std::chrono::seconds kDeadline(10);
constexpr std::chrono::seconds kLinger(1);
constexpr std::chrono::milliseconds kAcceptPause(100);

// False when the deadline has passed or the connection is broken.
bool Await(const Fd& fd, short events, Clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd waiting{fd.get(), events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Everything up to the empty line; nullopt: it did not come, or is longer than kMaxHead (then
// `too_long`).
std::optional<std::string> ReadHead(const Fd& fd, bool* too_long) {
  const auto deadline = Clock::now() + kDeadline;
  std::string head;
  while (true) {
    const size_t searched = head.size() < 3 ? 0 : head.size() - 3;
    char buffer[2048];
    if (!Await(fd, POLLIN, deadline)) return std::nullopt;
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return std::nullopt;
    head.append(buffer, static_cast<size_t>(got));
    const size_t end = head.find("\r\n\r\n", searched);
    if (end != std::string::npos) return head.substr(0, end);
    if (head.size() >= kMaxHead) {
      *too_long = true;
      return std::nullopt;
    }
  }
}

void SendAll(const Fd& fd, std::string_view bytes) {
  const auto deadline = Clock::now() + kDeadline;
  while (!bytes.empty()) {
    if (!Await(fd, POLLOUT, deadline)) return;
    const ssize_t put = send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (put <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

// Reads what the client still sends, for a moment: closing over it would make the kernel withdraw
// the answer.
void Drain(const Fd& fd) {
  constexpr int kMaxReads = 32;
  char buffer[8192];
  const auto deadline = Clock::now() + kLinger;
  for (int i = 0; i < kMaxReads && Await(fd, POLLIN, deadline); ++i) {
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

void Respond(const Fd& fd, const HttpResponse& response, bool with_body) {
  std::string out = StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status),
                           "\r\nContent-Type: ", response.content_type,
                           "\r\nContent-Length: ", response.body.size(), "\r\n");
  if (response.status == 405) out += "Allow: GET, HEAD\r\n";
  out += "Connection: close\r\n\r\n";
  if (with_body) out += response.body;
  SendAll(fd, out);
}

struct RequestLine {
  bool head = false;  // HEAD, not GET
  HttpRequest request;
};

// The request of a head, or the status that refuses it.
std::optional<RequestLine> ParseRequestLine(std::string_view head, int* refusal) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  *refusal = 400;
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::nullopt;
  if (target.empty() || target[0] != '/') return std::nullopt;
  for (const char c : target) {
    if (c <= ' ' || c == 0x7f) return std::nullopt;
  }
  *refusal = 414;
  if (target.size() > kMaxTarget) return std::nullopt;
  *refusal = 405;
  if (method != "GET" && method != "HEAD") return std::nullopt;
  const size_t mark = target.find('?');
  RequestLine out;
  out.head = method == "HEAD";
  out.request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) out.request.query = std::string(target.substr(mark + 1));
  return out;
}

}  // namespace

Result<Fd> ListenTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size())
    return InvalidArgumentError("address ", Quoted(address), ": want HOST:PORT");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                               address.substr(colon + 1).c_str(), &wanted, &found);
  if (code != 0) return NotFoundError("address ", Quoted(address), ": ", gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, &freeaddrinfo);
  Fd fd(socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol));
  if (!fd.valid()) return ErrnoError(errno, "create socket for ", address);
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));  // TIME_WAIT only
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
    const int err = errno;
    Error error = ErrnoError(err, "listen on ", address);
    return err == EADDRINUSE ? std::move(error).WithCode(Code::kAlreadyExists) : std::move(error);
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return ErrnoError(errno, "listen on ", address);
  return fd;
}

std::string TcpAddressOf(FdRef listener) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&storage), size, host, sizeof(host), port,
                  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "";
  return storage.ss_family == AF_INET6 ? StrCat("[", host, "]:", port) : StrCat(host, ":", port);
}

HttpServer::HttpServer(std::string name, HttpHandler handler)
    : handler_(std::move(handler)),
      executor_(std::move(name), {.threads = kThreads, .queue = kConnections - kThreads}) {}

HttpServer::~HttpServer() { Stop(); }

Status HttpServer::Serve(Loop* loop, Fd listener) {
  TRY(SetNonblocking(listener, true));
  listener_ = std::move(listener);
  loop_ = loop;
  return loop_->Add(listener_, EPOLLIN, [this](uint32_t) { Accept(); });
}

void HttpServer::Stop() {
  if (loop_ != nullptr) loop_->Remove(listener_);
  loop_ = nullptr;
  listener_ = Fd();
  executor_.Close();
}

void HttpServer::Accept() {
  auto connection = std::make_shared<Fd>(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));  // task copies
  bool full = !connection->valid() && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS);
  if (connection->valid())
    full = !executor_.Submit([this, connection] { Answer(*connection); }).ok();
  if (!full) return;
  // Level-triggered waiting would spin: look again a little later.
  loop_->Remove(listener_);
  loop_->After(kAcceptPause, [this] {
    if (loop_ == nullptr) return;
    if (const Status added = loop_->Add(listener_, EPOLLIN, [this](uint32_t) { Accept(); });
        !added.ok())
      log::Error("failed to accept again", {{"error", added.error().text()}});
  });
}

void HttpServer::Answer(const Fd& connection) const {
  bool too_long = false;
  const std::optional<std::string> head = ReadHead(connection, &too_long);
  if (!head && !too_long) return;  // gone, or too slow
  int refusal = 431;
  const std::optional<RequestLine> line =
      head ? ParseRequestLine(*head, &refusal) : std::optional<RequestLine>();
  if (!line) {
    Respond(connection, {refusal, "text/plain; charset=utf-8", StrCat(Reason(refusal), "\n")},
            true);
  } else {
    Respond(connection, handler_(line->request), !line->head);
  }
  (void)shutdown(connection.get(), SHUT_WR);
  Drain(connection);
}

}  // namespace corten::daemon
