#include "image/http.h"

#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>
#include <dlfcn.h>
#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "image/url.h"

namespace corten::image {

namespace {

constexpr size_t kBufferSize = 64u << 10;  // of libcurl, for each connection
constexpr size_t kMaxAhead =
    128u << 10;  // read beyond what was asked for, before the sender has to wait
constexpr size_t kMaxHeaders = 256u << 10;  // bytes of all headers of a response
constexpr size_t kMaxIdle = 10;             // connections kept
constexpr int kPollMs = 200;

// The functions that are used, found by name in the library.
struct Curl {
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_reset) easy_reset;
  decltype(&::curl_easy_setopt) setopt;
  decltype(&::curl_easy_getinfo) getinfo;
  decltype(&::curl_easy_strerror) strerror;
  decltype(&::curl_easy_pause) pause;
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_cleanup) multi_cleanup;
  decltype(&::curl_multi_add_handle) add_handle;
  decltype(&::curl_multi_remove_handle) remove_handle;
  decltype(&::curl_multi_perform) perform;
  decltype(&::curl_multi_poll) poll;
  decltype(&::curl_multi_info_read) info_read;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
};

template <typename Function>
bool FindSymbol(void* library, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(dlsym(library, name));
  return *out != nullptr;
}

bool FindAll(void* library, Curl* curl) {
  return FindSymbol(library, "curl_global_init", &curl->global_init) &&
         FindSymbol(library, "curl_easy_init", &curl->easy_init) &&
         FindSymbol(library, "curl_easy_cleanup", &curl->easy_cleanup) &&
         FindSymbol(library, "curl_easy_reset", &curl->easy_reset) &&
         FindSymbol(library, "curl_easy_setopt", &curl->setopt) &&
         FindSymbol(library, "curl_easy_getinfo", &curl->getinfo) &&
         FindSymbol(library, "curl_easy_strerror", &curl->strerror) &&
         FindSymbol(library, "curl_easy_pause", &curl->pause) &&
         FindSymbol(library, "curl_multi_init", &curl->multi_init) &&
         FindSymbol(library, "curl_multi_cleanup", &curl->multi_cleanup) &&
         FindSymbol(library, "curl_multi_add_handle", &curl->add_handle) &&
         FindSymbol(library, "curl_multi_remove_handle", &curl->remove_handle) &&
         FindSymbol(library, "curl_multi_perform", &curl->perform) &&
         FindSymbol(library, "curl_multi_poll", &curl->poll) &&
         FindSymbol(library, "curl_multi_info_read", &curl->info_read) &&
         FindSymbol(library, "curl_slist_append", &curl->slist_append) &&
         FindSymbol(library, "curl_slist_free_all", &curl->slist_free_all);
}

// Loaded once and kept: libcurl cannot be unloaded safely while its resolver threads may run.
Result<const Curl*> LoadCurl() {
  static std::mutex mutex;
  static Curl curl;
  static bool loaded = false;
  const std::lock_guard lock(mutex);
  if (loaded) return static_cast<const Curl*>(&curl);
  void* library = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr)
    return UnimplementedError(
        "registries need libcurl.so.4 (Debian package libcurl4), which cannot be loaded: ",
        dlerror());
  if (!FindAll(library, &curl)) return UnimplementedError("registries need libcurl 7.66 or later");
  if (curl.global_init(CURL_GLOBAL_ALL) != CURLE_OK)
    return UnavailableError("libcurl cannot be set up");
  loaded = true;
  return static_cast<const Curl*>(&curl);
}

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 206:
      return "Partial Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 416:
      return "Requested Range Not Satisfiable";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "";
  }
}

}  // namespace

// Handles that wait to be used again; each has its own connections.
struct HttpClient::Pool {
  struct Handle {
    CURLM* multi = nullptr;
    CURL* easy = nullptr;
  };
  ~Pool() {
    for (const Handle& handle : idle) Free(handle);
  }
  void Free(const Handle& handle) const {
    curl->easy_cleanup(handle.easy);
    (void)curl->multi_cleanup(handle.multi);
  }
  Result<Handle> Take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        const Handle handle = idle.back();
        idle.pop_back();
        return handle;
      }
    }
    Handle handle;
    handle.multi = curl->multi_init();
    handle.easy = curl->easy_init();
    if (handle.multi == nullptr || handle.easy == nullptr)
      return ResourceExhaustedError("no memory for a connection");
    return handle;
  }
  void Give(const Handle& handle) {
    {
      const std::lock_guard lock(mutex);
      if (idle.size() < kMaxIdle) {
        idle.push_back(handle);
        return;
      }
    }
    Free(handle);
  }

  const Curl* curl = nullptr;
  std::mutex mutex;  // guards idle
  std::vector<Handle> idle;
};

namespace {

template <typename Pool, typename Handle>
class CurlResponse final : public HttpResponse {
 public:
  CurlResponse(std::shared_ptr<Pool> pool, Handle handle, const HttpRequest& request)
      : pool_(std::move(pool)),
        curl_(*pool_->curl),
        handle_(handle),
        canceled_(request.canceled),
        stall_timeout_(request.stall_timeout) {}

  ~CurlResponse() override {
    if (added_) (void)curl_.remove_handle(handle_.multi, handle_.easy);
    curl_.easy_reset(handle_.easy);
    if (list_ != nullptr) curl_.slist_free_all(list_);
    pool_->Give(handle_);
  }

  Status Begin(const HttpRequest& request, HttpFailure* failure) {
    SetUp(request);
    if (curl_.add_handle(handle_.multi, handle_.easy) != CURLM_OK)
      return UnavailableError("no connection can be made");
    added_ = true;
    const auto deadline =
        std::chrono::steady_clock::now() + request.dial_timeout + request.header_timeout;
    while (!headers_done_ && !done_) {
      TRY(Step());
      if (headers_done_ || done_) break;
      TRY(Wait());
      if (std::chrono::steady_clock::now() > deadline)
        return DeadlineExceededError("timeout awaiting response headers");
    }
    if (!headers_done_) return Explain(request, failure);
    return Ok();
  }

  int status() const override { return status_; }
  std::string StatusText() const override {
    return StrCat(status_, " ", reason_.empty() ? ReasonOf(status_) : std::string_view(reason_));
  }
  std::string Header(std::string_view name) const override {
    for (const auto& [key, value] : headers_) {
      if (key == name) return value;
    }
    return "";
  }
  std::vector<std::string> Headers(std::string_view name) const override {
    std::vector<std::string> out;
    for (const auto& [key, value] : headers_) {
      if (key == name) out.push_back(value);
    }
    return out;
  }

  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.empty()) return size_t{0};
    if (ahead_at_ < ahead_.size()) {
      const size_t n = std::min(buffer.size(), ahead_.size() - ahead_at_);
      memcpy(buffer.data(), ahead_.data() + ahead_at_, n);
      ahead_at_ += n;
      if (ahead_at_ == ahead_.size()) {
        ahead_.clear();
        ahead_at_ = 0;
      }
      return n;
    }
    want_ = buffer;
    filled_ = 0;
    const Status read = Fill();
    want_ = {};
    if (filled_ > 0) return filled_;
    if (!read.ok()) return read.error().Clone();
    if (result_ == CURLE_PARTIAL_FILE) return UnavailableError("unexpected EOF");
    if (result_ != CURLE_OK) return UnavailableError(curl_.strerror(result_));
    return size_t{0};
  }

 private:
  template <typename Value>
  void Set(CURLoption option, Value value) {
    (void)curl_.setopt(handle_.easy, option,
                       value);  // refused only for options that this library does not have
  }

  void SetUp(const HttpRequest& request) {
    Set(CURLOPT_URL, request.url.c_str());
    Set(CURLOPT_PROTOCOLS_STR, "http,https");
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_FOLLOWLOCATION, 0L);
    Set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    Set(CURLOPT_BUFFERSIZE, static_cast<long>(kBufferSize));
    Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.dial_timeout.count()));
    Set(CURLOPT_TCP_KEEPALIVE, 1L);
    Set(CURLOPT_TCP_KEEPIDLE, 30L);
    Set(CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, 300L);
    Set(CURLOPT_WRITEFUNCTION, &CurlResponse::OnBody);
    Set(CURLOPT_WRITEDATA, this);
    Set(CURLOPT_HEADERFUNCTION, &CurlResponse::OnHeader);
    Set(CURLOPT_HEADERDATA, this);
    if (IsLoopbackHost(ParseUrl(request.url).host)) Set(CURLOPT_PROXY, "");
    if (request.method == "HEAD") {
      Set(CURLOPT_NOBODY, 1L);
    } else if (request.method == "POST") {
      Set(CURLOPT_POST, 1L);
      Set(CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
      Set(CURLOPT_COPYPOSTFIELDS, request.body.c_str());
    } else {
      Set(CURLOPT_HTTPGET, 1L);
    }
    for (const auto& [name, value] : request.headers)
      list_ = curl_.slist_append(list_, StrCat(name, ": ", value).c_str());
    list_ = curl_.slist_append(list_, "Expect:");
    Set(CURLOPT_HTTPHEADER, list_);
    SetUpTls(request.tls);
  }

  void SetUpTls(const TlsSettings& tls) {
    Set(CURLOPT_SSL_VERIFYPEER, tls.skip_verify ? 0L : 1L);
    Set(CURLOPT_SSL_VERIFYHOST, tls.skip_verify ? 0L : 2L);
    // One bundle: libcurl reads the system's directory of roots beside the file it is given.
    if (!tls.ca_files.empty()) {
      Set(CURLOPT_CAINFO, tls.ca_files.front().c_str());
      Set(CURLOPT_CAPATH, "/etc/ssl/certs");
    }
    if (!tls.client_pairs.empty()) {
      Set(CURLOPT_SSLCERT, tls.client_pairs.front().first.c_str());
      Set(CURLOPT_SSLKEY, tls.client_pairs.front().second.c_str());
    }
  }

  static size_t OnBody(char* data, size_t size, size_t count, void* self) {
    return static_cast<CurlResponse*>(self)->TakeBody({data, size * count});
  }
  static size_t OnHeader(char* data, size_t size, size_t count, void* self) {
    return static_cast<CurlResponse*>(self)->TakeHeader({data, size * count}) ? size * count : 0;
  }

  size_t TakeBody(std::string_view data) {
    const size_t size = data.size();
    const size_t room = want_.size() - filled_;
    if (room == 0 && ahead_.size() >= kMaxAhead) {
      paused_ = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    const size_t direct = std::min(room, size);
    if (direct > 0) memcpy(want_.data() + filled_, data.data(), direct);
    filled_ += direct;
    ahead_.append(data.substr(direct));
    return size;
  }

  bool TakeHeader(std::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > kMaxHeaders) return false;
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {
      headers_.clear();
      const size_t space = line.find(' ');
      const std::string_view rest =
          space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
      status_ = atoi(std::string(rest.substr(0, 3)).c_str());
      reason_ = rest.size() > 4 ? rest.substr(4) : std::string_view();
    } else if (line.empty()) {
      if (status_ >= 200) headers_done_ = true;
    } else if (const size_t colon = line.find(':');
               colon != std::string_view::npos && !headers_done_) {
      std::string name(line.substr(0, colon));
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      std::string_view value = line.substr(colon + 1);
      while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
        value.remove_prefix(1);
      headers_.emplace_back(std::move(name), value);
    }
    return true;
  }

  // Lets libcurl do what can be done without waiting.
  Status Step() {
    int running = 0;
    if (curl_.perform(handle_.multi, &running) != CURLM_OK)
      return UnavailableError("connection lost");
    int left = 0;
    while (const CURLMsg* message = curl_.info_read(handle_.multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      done_ = true;
      result_ = message->data.result;
    }
    return Ok();
  }

  Status Wait() {
    int events = 0;
    (void)curl_.poll(handle_.multi, nullptr, 0, kPollMs, &events);
    if (canceled_ && canceled_()) return CanceledError("request canceled");
    return Ok();
  }

  Status Fill() {
    const auto deadline = std::chrono::steady_clock::now() + stall_timeout_;
    if (paused_) {
      paused_ = false;
      (void)curl_.pause(handle_.easy, CURLPAUSE_CONT);  // delivers what it holds, through TakeBody
    }
    while (filled_ == 0 && !done_) {
      TRY(Step());
      if (filled_ > 0 || done_) break;
      TRY(Wait());
      if (std::chrono::steady_clock::now() > deadline)
        return UnavailableError("no data for ", stall_timeout_.count() / 1000, " seconds");
    }
    return Ok();
  }

  Status Explain(const HttpRequest& request, HttpFailure* failure) {
    const Url url = ParseUrl(request.url);
    const std::string address = StrCat(url.host, ":", url.PortOrDefault());
    HttpFailure kind = HttpFailure::kOther;
    Status out = UnavailableError(curl_.strerror(result_));
    switch (result_) {
      case CURLE_COULDNT_CONNECT: {
        long number = 0;
        (void)curl_.getinfo(handle_.easy, CURLINFO_OS_ERRNO, &number);
        kind = HttpFailure::kRefused;
        std::string reason =
            number == 0 ? "connection refused" : strerror(static_cast<int>(number));
        if (!reason.empty()) reason[0] = static_cast<char>(tolower(reason[0]));
        out = UnavailableError("dial tcp ", address, ": connect: ", reason);
        break;
      }
      case CURLE_COULDNT_RESOLVE_HOST:
        out = UnavailableError("dial tcp: lookup ", url.host, ": no such host");
        break;
      case CURLE_SSL_CONNECT_ERROR:
        kind = HttpFailure::kTls;
        break;
      case CURLE_OPERATION_TIMEDOUT:
        out = DeadlineExceededError("dial tcp ", address, ": i/o timeout");
        break;
      case CURLE_GOT_NOTHING:
        out = UnavailableError("EOF");
        break;
      default:
        break;
    }
    if (failure != nullptr) *failure = kind;
    return out;
  }

  const std::shared_ptr<Pool> pool_;
  const Curl& curl_;
  const Handle handle_;
  const std::function<bool()> canceled_;
  const std::chrono::milliseconds stall_timeout_;
  curl_slist* list_ = nullptr;
  bool added_ = false;
  bool headers_done_ = false;
  bool done_ = false;
  bool paused_ = false;
  CURLcode result_ = CURLE_OK;
  int status_ = 0;
  std::string reason_;
  HeaderList headers_;
  size_t header_bytes_ = 0;
  std::span<char> want_;  // where Read wants its bytes, while it runs
  size_t filled_ = 0;
  std::string ahead_;  // came with them or with the headers
  size_t ahead_at_ = 0;
};

}  // namespace

HttpClient::HttpClient() = default;
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpResponse>> HttpClient::Send(const HttpRequest& request,
                                                       HttpFailure* failure) {
  if (failure != nullptr) *failure = HttpFailure::kOther;
  {
    static std::mutex mutex;  // the first requests of a client may come together
    const std::lock_guard lock(mutex);
    if (pool_ == nullptr) {
      const Curl* curl = TRY(LoadCurl());
      pool_ = std::make_shared<Pool>();
      pool_->curl = curl;
    }
  }
  const Pool::Handle handle = TRY(pool_->Take());
  auto response = std::make_unique<CurlResponse<Pool, Pool::Handle>>(pool_, handle, request);
  TRY(response->Begin(request, failure));
  return std::unique_ptr<HttpResponse>(std::move(response));
}

Result<std::string> ReadBody(HttpResponse& response, size_t limit) {
  std::string out;
  char buffer[16 << 10];
  while (true) {
    const size_t n = TRY(response.Read(buffer));
    if (n == 0) return out;
    if (out.size() + n > limit)
      return ResourceExhaustedError("response is larger than ", limit, " bytes");
    out.append(buffer, n);
  }
}

}  // namespace corten::image
