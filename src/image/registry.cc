#include "image/registry.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json_depth.h"
#include "diff/decompress.h"
#include "image/json_text.h"
#include "image/manifest.h"
#include "image/url.h"

namespace corten::image {

namespace {

constexpr int kMaxAttempts = 5;
constexpr int kMaxRedirects = 10;
constexpr int kMaxReopens = 3;  // without progress
constexpr size_t kMaxErrorBody = 64 << 10;
constexpr std::string_view kAcceptManifests =
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// "\ncode: message" for each error of a registry's JSON body.
std::string DecodeErrors(const std::string& body) {
  if (NestedTooDeep(body)) return "";
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("errors") || !json["errors"].is_array()) return "";
  std::string out;
  for (const auto& error : json["errors"]) {
    if (!error.is_object()) continue;
    const auto text = [&](const char* key) {
      return error.contains(key) && error[key].is_string() ? error[key].get<std::string>()
                                                           : std::string();
    };
    std::string code = text("code");
    std::transform(code.begin(), code.end(), code.begin(), [](char c) {
      return c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    out += StrCat("\n", code, text("message").empty() ? "" : ": ", text("message"));
  }
  return out;
}

int64_t ToSize(const std::string& text) {
  uint64_t value = 0;
  if (!ParseU64(text, &value) || value > static_cast<uint64_t>(INT64_MAX)) return -1;
  return static_cast<int64_t>(value);
}

std::string MediaTypeOf(HttpResponse& response) {
  std::string type = response.Header("content-type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(" ")) type.pop_back();
  return type;
}

// Wire: what a registry or the way to it refuses has no code of its own; the code only steers
// retries in here.
Error AsTold(Error error) {
  if (error.Is(Code::kUnavailable) || error.Is(Code::kDeadlineExceeded))
    return std::move(error).WithCode(Code::kUnknown);
  return error;
}

// Wire: references are refused in the words of Go's URL parser, which clients show.
Error NoReference(const std::string& text, Error error) {
  const std::string host = text.substr(0, text.find('/'));
  if (text.find("://") != std::string::npos) return UnknownError("invalid reference");
  if (host.empty()) return UnknownError("hostname required");
  if (host.find(' ') != std::string::npos)
    return UnknownError("parse ", Quoted(StrCat("dummy://", text)),
                        ": invalid character \" \" in host name");
  const size_t port = error.text().find("invalid port");
  if (port != std::string::npos)
    return UnknownError("parse ", Quoted(StrCat("dummy://", text)), ": ",
                        error.text().substr(port));
  return error;
}

// How far a request came: of several hosts' errors the most advanced is told.
enum class Stage { kNone, kTransport, kNotFound, kStatus, kOversized };

}  // namespace

struct Registry::Ask {
  std::string method = "GET";
  std::string path;      // below the host's base
  std::string absolute;  // instead of host and path: a descriptor's own URL
  std::string accept;
  int64_t offset = 0;  // > 0: as a range
};

struct Registry::Answer {
  std::unique_ptr<HttpResponse> response;
  std::string url;
};

Registry::Registry(model::Reference reference, RegistryOptions options)
    : reference_(std::move(reference)), options_(std::move(options)), auth_(&http_, options_.ask) {}
Registry::~Registry() = default;

Result<std::unique_ptr<Registry>> Registry::Open(const std::string& text, RegistryOptions options) {
  Result<model::Reference> parsed = model::ParseReference(text);
  if (!parsed.ok()) return NoReference(text, std::move(parsed).TakeError());
  model::Reference reference = std::move(parsed).value();
  for (const auto& [name, value] : options.headers) {
    if (name.find_first_of("\r\n:") != std::string::npos ||
        value.find_first_of("\r\n") != std::string::npos) {
      return InvalidArgumentError("header ", Quoted(name), ": line breaks are not allowed");
    }
  }
  std::unique_ptr<Registry> registry(new Registry(std::move(reference), std::move(options)));
  std::string warning;
  registry->hosts_ =
      HostsFor(std::string(registry->reference_.host()), registry->options_.hosts_dir,
               {registry->options_.default_scheme, registry->options_.tls}, &warning);
  if (!warning.empty() && registry->options_.log) registry->options_.log(warning);
  for (size_t i = 0; i < registry->hosts_.size(); ++i)
    registry->plain_.push_back(std::make_unique<std::atomic<bool>>(false));
  return registry;
}

std::string Registry::SourceLabel() const {
  return StrCat("containerd.io/distribution.source.", ParseUrl(reference_.host()).host);
}

std::string Registry::UrlOf(size_t index, const std::string& path) const {
  const RegistryHost& host = hosts_[index];
  std::string url = StrCat(*plain_[index] ? "http" : host.scheme, "://", host.host, host.path, "/",
                           reference_.path(), "/", path);
  const bool own = host.host == reference_.host() ||
                   (reference_.host() == "docker.io" && host.host == "registry-1.docker.io");
  if (!own) url += StrCat("?ns=", QueryEscape(reference_.host()));
  return url;
}

Result<Registry::Answer> Registry::DoOnce(size_t index, const Ask& ask, std::string* sent_auth,
                                          std::string* url) {
  const RegistryHost& host = hosts_[index];
  HttpRequest request;
  request.method = ask.method;
  request.tls = host.tls;
  request.dial_timeout = host.dial_timeout;
  request.canceled = options_.canceled;
  *url = ask.absolute.empty() ? UrlOf(index, ask.path) : ask.absolute;
  const std::string authority = ParseUrl(*url).Authority();
  for (int redirects = 0;; ++redirects) {
    const std::string target = ParseUrl(*url).Authority();
    const bool at_home = target == authority && ask.absolute.empty();
    request.url = *url;
    request.headers = {{"User-Agent", options_.user_agent}};
    if (!ask.accept.empty()) request.headers.emplace_back("Accept", ask.accept);
    if (ask.offset > 0) request.headers.emplace_back("Range", StrCat("bytes=", ask.offset, "-"));
    if (at_home) {  // nothing of ours follows to another host
      for (const auto& [name, value] : options_.headers) request.headers.emplace_back(name, value);
      for (const auto& header : host.headers) request.headers.push_back(header);
    } else {
      request.tls = options_.tls;
    }
    *sent_auth = "";
    if (ask.absolute.empty()) {
      *sent_auth =
          TRY(auth_.Header(target, {StrCat("repository:", reference_.path(), ":pull")}, request));
      if (!sent_auth->empty()) request.headers.emplace_back("Authorization", *sent_auth);
    }
    HttpFailure failure = HttpFailure::kOther;
    Result<std::unique_ptr<HttpResponse>> sent = http_.Send(request, &failure);
    if (options_.log)
      options_.log(StrCat(request.method, " ", RedactUrl(*url), " -> ",
                          sent.ok() ? (*sent)->StatusText() : sent.error().text()));
    if (!sent.ok()) {
      const bool no_port = ParseUrl(host.host).port.empty();
      const bool retry_plain =
          at_home && host.https_then_http && !*plain_[index] && redirects == 0 &&
          (failure == HttpFailure::kTls || (failure == HttpFailure::kRefused && no_port));
      if (retry_plain) {
        *plain_[index] = true;
        *url = UrlOf(index, ask.path);
        continue;
      }
      if (sent.error().Is(Code::kCanceled)) return std::move(sent).TakeError();
      std::string verb = request.method;
      for (size_t i = 1; i < verb.size(); ++i) verb[i] = static_cast<char>(tolower(verb[i]));
      return std::move(sent).TakeError().Context(
          StrCat("failed to do request: ", verb, " ", Quoted(RedactUrl(*url))));
    }
    const std::string location = (*sent)->Header("location");
    if (!IsRedirect((*sent)->status()) || location.empty())
      return Answer{std::move(sent).value(), *url};
    if (redirects == kMaxRedirects)
      return UnavailableError("stopped after ", kMaxRedirects, " redirects");
    *url = ResolveLocation(*url, location);
    const std::string scheme = ParseUrl(*url).scheme;
    if (scheme != "http" && scheme != "https")
      return InvalidArgumentError("redirect to unsupported scheme ", Quoted(scheme));
  }
}

Result<Registry::Answer> Registry::Do(size_t index, const Ask& first) {
  Ask ask = first;
  const bool last_host = index + 1 == hosts_.size();
  bool retried_server_error = false;
  for (int attempt = 1;; ++attempt) {
    std::string sent_auth;
    std::string url;
    Result<Answer> answer = DoOnce(index, ask, &sent_auth, &url);
    const bool more = attempt < kMaxAttempts;
    if (!answer.ok()) return answer;
    const int status = answer->response->status();
    if (status == 401 && more) {
      Status known = auth_.OnUnauthorized(ParseUrl(url).Authority(),
                                          answer->response->Headers("www-authenticate"), sent_auth);
      if (known.ok()) continue;
      return std::move(known).TakeError().Context(
          "pull access denied, repository does not exist or may require authorization");
    }
    if (status == 405 && ask.method == "HEAD") {
      ask.method = "GET";
      continue;
    }
    if ((status == 408 || status == 429) && more) continue;
    if ((status == 500 || status == 503 || status == 504) && last_host && !retried_server_error &&
        more) {
      retried_server_error = true;
      continue;
    }
    return answer;
  }
}

namespace {

// The error for a status that is none of the expected ones; reads the body for its reasons.
Error StatusError(const std::string& method, const std::string& url, HttpResponse& response) {
  const Result<std::string> body = ReadBody(response, kMaxErrorBody);
  const std::string text =
      StrCat("unexpected status from ", method, " request to ", RedactUrl(url), ": ",
             response.StatusText(), body.ok() ? DecodeErrors(*body) : std::string());
  return UnknownError(text);
}

}  // namespace

Result<model::Descriptor> Registry::ResolveAt(size_t index, const std::string& path,
                                              const std::string& object) {
  Ask ask;
  ask.method = "HEAD";
  ask.path = StrCat(path, "/", object);
  ask.accept = kAcceptManifests;
  Answer answer = TRY(Do(index, ask));
  if (answer.response->status() == 404) return NotFoundError(reference_.str());
  if (answer.response->status() == 403) {  // a HEAD has no body; the reasons are in a GET's
    ask.method = "GET";
    Result<Answer> again = Do(index, ask);
    if (again.ok() && again->response->status() > 299)
      return StatusError("HEAD", again->url, *again->response);
  }
  if (answer.response->status() > 299) return StatusError("HEAD", answer.url, *answer.response);
  model::Descriptor out;
  out.media_type = MediaTypeOf(*answer.response);
  out.size = ToSize(answer.response->Header("content-length"));
  const std::string told = answer.response->Header("docker-content-digest");
  const std::string wanted = reference_.digest().empty() ? told : std::string(reference_.digest());
  if (wanted.empty() || out.size < 0) {
    ask.method = "GET";
    answer = TRY(Do(index, ask));
    if (answer.response->status() > 299) return StatusError("GET", answer.url, *answer.response);
    const std::string body = TRY(ReadBody(*answer.response, static_cast<size_t>(kMaxDocument)));
    out.media_type = MediaTypeOf(*answer.response);
    out.size = static_cast<int64_t>(body.size());
    out.digest = TRY(model::Digest::Parse(wanted.empty() ? Sha256Digest(body) : wanted));
  } else {
    out.digest = TRY(model::Digest::Parse(wanted));
  }
  if (out.media_type == "application/vnd.docker.distribution.manifest.v1+prettyjws" ||
      out.media_type == "text/plain") {
    return InvalidArgumentError(
        reference_.str(),
        ": media type schema1 is not supported, rebuild the image in schema 2 or OCI form");
  }
  if (out.size > kMaxDocument && path == "manifests")
    return ResourceExhaustedError("rejecting ", out.size, " byte manifest for ", reference_.str());
  return out;
}

Result<model::Descriptor> Registry::Resolve() {
  if (reference_.object.empty() || reference_.path().empty())
    return InvalidArgumentError("object required");
  const std::string digest(reference_.digest());
  if (!digest.empty()) TRY(model::Digest::Parse(digest));
  std::vector<std::string> paths = {"manifests"};
  if (!digest.empty()) paths.push_back("blobs");
  std::optional<Error> best;
  Stage stage = Stage::kNone;
  for (const std::string& path : paths) {
    for (size_t i = 0; i < hosts_.size(); ++i) {
      if (!hosts_[i].can_pull || (digest.empty() && !hosts_[i].can_resolve)) continue;
      Result<model::Descriptor> found =
          ResolveAt(i, path, digest.empty() ? std::string(reference_.tag()) : digest);
      if (found.ok()) return found;
      if (found.error().Is(Code::kCanceled) || found.error().Is(Code::kUnimplemented)) return found;
      const Code code = found.error().code();
      const Stage reached = code == Code::kNotFound ? Stage::kNotFound
                            : code == Code::kUnavailable || code == Code::kDeadlineExceeded
                                ? Stage::kTransport
                            : code == Code::kResourceExhausted ? Stage::kOversized
                                                               : Stage::kStatus;
      if (!best.has_value() || reached > stage) {
        best = std::move(found).TakeError();
        stage = reached;
      }
    }
    if (stage > Stage::kNotFound) break;
  }
  if (best.has_value()) return AsTold(std::move(*best));
  return NotFoundError("no resolve hosts");
}

Result<model::Descriptor> Registry::FindBlob(const model::Digest& digest,
                                             const std::string& media_type) {
  Ask ask;
  ask.method = "HEAD";
  const bool document = model::IsManifestType(media_type) || model::IsIndexType(media_type);
  ask.path = StrCat(document ? "manifests/" : "blobs/", digest.str());
  ask.accept = media_type.empty() ? std::string("*/*") : StrCat(media_type, ", */*");
  std::optional<Error> first;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    if (!hosts_[i].can_pull) continue;
    const Result<Answer> answer = Do(i, ask);
    if (answer.ok() && answer->response->status() < 300) {
      model::Descriptor out;
      out.digest = digest;
      out.media_type = media_type.empty() ? MediaTypeOf(*answer->response) : media_type;
      out.size = ToSize(answer->response->Header("content-length"));
      return out;
    }
    if (first.has_value()) continue;
    first = answer.ok() ? UnknownError("unexpected HEAD status code ", RedactUrl(answer->url), ": ",
                                       answer->response->StatusText())
                        : answer.error().Clone();
  }
  if (first.has_value()) return AsTold(std::move(*first));
  return NotFoundError("no fetch hosts");
}

Result<Registry::Answer> Registry::OpenAt(size_t index, const model::Descriptor& blob,
                                          int64_t offset) {
  Ask ask;
  const bool document =
      model::IsManifestType(blob.media_type) || model::IsIndexType(blob.media_type);
  ask.path = StrCat(document ? "manifests/" : "blobs/", blob.digest.str());
  ask.accept = blob.media_type.empty() ? std::string("*/*") : StrCat(blob.media_type, ", */*");
  ask.offset = offset;
  Answer answer = TRY(Do(index, ask));
  const int status = answer.response->status();
  if (status == 404) return NotFoundError("content at ", RedactUrl(answer.url));
  if (status != 200 && status != 206) return StatusError("GET", answer.url, *answer.response);
  return answer;
}

Result<Registry::Answer> Registry::OpenUrl(const std::string& url, int64_t offset) {
  const std::string scheme = ParseUrl(url).scheme;
  if (scheme != "http" && scheme != "https")
    return InvalidArgumentError("unsupported scheme in ", Quoted(RedactUrl(url)));
  Ask ask;
  ask.absolute = url;
  ask.accept = "*/*";
  ask.offset = offset;
  Answer answer = TRY(Do(hosts_.size() - 1, ask));
  const int status = answer.response->status();
  if (status != 200 && status != 206) return StatusError("GET", answer.url, *answer.response);
  return answer;
}

// A body with its own way of going on after a break.
class Registry::BlobSource final : public diff::ByteSource {
 public:
  BlobSource(Registry* registry, model::Descriptor blob, int64_t offset)
      : registry_(registry), blob_(std::move(blob)), at_(offset) {}

  Status Open() {
    std::optional<Error> first;
    bool all_missing = true;
    const auto take = [&](Result<Answer> answer) {
      Status adopted =
          answer.ok() ? Adopt(std::move(answer).value()) : Status(std::move(answer).TakeError());
      if (adopted.ok()) return true;
      all_missing = all_missing && adopted.error().Is(Code::kNotFound);
      if (!first.has_value()) first = std::move(adopted).TakeError();
      return false;
    };
    for (const std::string& url : blob_.urls) {
      if (take(registry_->OpenUrl(url, at_))) return Ok();
    }
    for (size_t i = 0; i < registry_->hosts_.size(); ++i) {
      if (take(registry_->OpenAt(i, blob_, at_))) return Ok();
      if (first.has_value() && (first->Is(Code::kCanceled) || first->Is(Code::kUnimplemented)))
        return std::move(*first);
    }
    if (all_missing) {
      return NotFoundError("could not fetch content descriptor ", blob_.digest.str(), " (",
                           blob_.media_type, ") from remote");
    }
    return AsTold(std::move(*first));
  }

  Result<size_t> Read(std::span<char> buffer) override {
    if (at_ >= blob_.size) return AtEnd();
    while (true) {
      Result<size_t> n = Source().Read(buffer);
      if (n.ok() && *n > 0) {
        at_ += static_cast<int64_t>(*n);
        reopens_ = 0;
        if (at_ > blob_.size)
          return FailedPreconditionError("unexpected commit size: more than ", blob_.size,
                                         " bytes of ", blob_.digest.str());
        return n;
      }
      if (!n.ok() && !n.error().Is(Code::kUnavailable)) return n;
      if (reopens_++ == kMaxReopens) {
        if (!n.ok()) return AsTold(std::move(n).TakeError());
        return UnknownError("failed size validation: ", at_, " != ", blob_.size,
                            ": unexpected EOF");
      }
      TRY(Open());
    }
  }

 private:
  diff::ByteSource& Source() { return *body_; }

  // Bytes beyond the announced size are an error, not silently left unread.
  Result<size_t> AtEnd() {
    char more = 0;
    const Result<size_t> n = Source().Read({&more, 1});
    if (n.ok() && *n > 0)
      return FailedPreconditionError("unexpected commit size: more than ", blob_.size, " bytes of ",
                                     blob_.digest.str());
    return size_t{0};
  }

  class Body final : public diff::ByteSource {
   public:
    explicit Body(std::unique_ptr<HttpResponse> response) : response_(std::move(response)) {}
    Result<size_t> Read(std::span<char> buffer) override { return response_->Read(buffer); }

   private:
    std::unique_ptr<HttpResponse> response_;
  };

  Status Adopt(Answer answer) {
    HttpResponse& response = *answer.response;
    int64_t skip = at_;
    if (response.status() == 206 || !response.Header("content-range").empty()) {
      if (!response.Header("content-range").starts_with(StrCat("bytes ", at_, "-"))) {
        return FailedPreconditionError("unhandled content range in response: ",
                                       response.Header("content-range"));
      }
      skip = 0;
    }
    const std::string encoding = response.Header("content-encoding");
    raw_ = std::make_unique<Body>(std::move(answer.response));
    body_.reset();
    if (encoding.empty() || encoding == "identity") {
      body_ = std::move(raw_);
    } else if (encoding == "gzip" || encoding == "zstd") {
      body_ = TRY(diff::OpenDecompressor(
          *raw_, encoding == "gzip" ? diff::Compression::kGzip : diff::Compression::kZstd));
    } else {
      return UnimplementedError("unsupported Content-Encoding ", Quoted(encoding));
    }
    char drop[16 << 10];
    while (skip > 0) {
      const size_t n =
          TRY(body_->Read({drop, static_cast<size_t>(std::min<int64_t>(skip, sizeof(drop)))}));
      if (n == 0) return UnavailableError("unexpected EOF");
      skip -= static_cast<int64_t>(n);
    }
    return Ok();
  }

  Registry* const registry_;
  const model::Descriptor blob_;
  int64_t at_;
  int reopens_ = 0;
  std::unique_ptr<diff::ByteSource> raw_;  // beneath body_ where that is a decompressor
  std::unique_ptr<diff::ByteSource> body_;
};

Result<std::unique_ptr<diff::ByteSource>> Registry::Fetch(const model::Descriptor& blob,
                                                          int64_t offset) {
  if (blob.size <= 0)
    return InvalidArgumentError("content ", blob.digest.str(),
                                ": empty descriptors cannot be fetched");
  auto source = std::make_unique<BlobSource>(this, blob, offset);
  TRY(source->Open());
  return std::unique_ptr<diff::ByteSource>(std::move(source));
}

}  // namespace corten::image
