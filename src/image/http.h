// HTTP for registries: libcurl, loaded when the first request is made and never before (it costs 8
// MB).
//
// A response is read like a file: Send returns when its headers are there, Read waits for bytes.
// Nothing is buffered beyond 1 MiB for each response; a slow reader slows the sender. Connections
// are kept and used again. Redirects, authentication and retries are the caller's business: none is
// followed or done here. Threads: HttpClient any; one response, one thread at a time. Responses
// must not outlive their client.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace corten::image {

struct TlsSettings {
  std::vector<std::string> ca_files;  // beside the system's
  std::vector<std::pair<std::string, std::string>>
      client_pairs;  // certificate and key; the first is used
  bool skip_verify = false;
  bool empty() const { return ca_files.empty() && client_pairs.empty() && !skip_verify; }
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // http or https only
  HeaderList headers;
  std::string body;  // of a POST
  TlsSettings tls;
  std::chrono::milliseconds dial_timeout{30000};
  std::chrono::milliseconds header_timeout{30000};
  std::chrono::milliseconds stall_timeout{60000};  // without a byte of the body
  std::function<bool()> canceled;                  // asked at least every 200 ms; may be empty
};

class HttpResponse {
 public:
  virtual ~HttpResponse() = default;
  virtual int status() const = 0;
  // "404 Not Found".
  virtual std::string StatusText() const = 0;
  // The first header of that name (lower case); "" if there is none.
  virtual std::string Header(std::string_view name) const = 0;
  virtual std::vector<std::string> Headers(std::string_view name) const = 0;
  // At most buffer.size() bytes of the body; 0 is its end. kUnavailable: the connection broke or
  // stalled ("unexpected EOF" where it ended early); kCanceled.
  virtual Result<size_t> Read(std::span<char> buffer) = 0;
};

// The whole body. kResourceExhausted beyond `limit` bytes.
Result<std::string> ReadBody(HttpResponse& response, size_t limit);

enum class HttpFailure { kOther, kRefused, kTls };

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  // kUnimplemented: libcurl.so.4 is not installed; kUnavailable: no connection (texts as Go's:
  // `dial tcp HOST:PORT: connect: connection refused`, `lookup HOST: no such host`);
  // kDeadlineExceeded; kCanceled. `failure` (may be null) tells the kind.
  Result<std::unique_ptr<HttpResponse>> Send(const HttpRequest& request,
                                             HttpFailure* failure = nullptr);

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;  // owners: the client and its responses
};

}  // namespace corten::image
