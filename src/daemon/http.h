// The daemon's small web front, for metrics and debugging: GET and HEAD, one answer per connection.
//
// Bounds: request head 8 KiB, 32 connections (more wait in the listen queue), 10 s for a request to
// arrive and for an answer to leave, each connection on a thread of the server's own executor,
// which has none while nobody asks. Bodies of requests are not read. What is asked for wrongly is
// answered 400, 404, 405, 414 or 431; nothing else of a client reaches the handler.
//
// Threads: Serve and Stop from one thread; accepting on the loop's; the handler on several at once.
// Source: RFC 9112.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/executor.h"
#include "base/fd.h"
#include "base/loop.h"

namespace corten::daemon {

struct HttpRequest {
  std::string path;   // "/v1/metrics", as sent: not decoded
  std::string query;  // behind the `?`
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// A listening TCP socket at "HOST:PORT" (":PORT": every address; port 0: any). kInvalidArgument: no
// such form; kAlreadyExists: the port is taken; kNotFound: no such host.
Result<Fd> ListenTcp(const std::string& address);
// "127.0.0.1:4711" of a listening TCP socket.
std::string TcpAddressOf(FdRef listener);

class HttpServer {
 public:
  // `name` is that of its threads.
  HttpServer(std::string name, HttpHandler handler);
  ~HttpServer();  // Stop
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Accepts on `listener` until Stop. Once.
  Status Serve(Loop* loop, Fd listener);
  // Accepts nothing more and waits for the answers under way. On the loop's thread, or after it has
  // ended.
  void Stop();

 private:
  void Accept();
  void Answer(const Fd& connection) const;

  const HttpHandler handler_;
  Executor executor_;
  Loop* loop_ = nullptr;
  Fd listener_;
};

}  // namespace corten::daemon
