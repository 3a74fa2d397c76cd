// One image's registry: what a reference means, and the bytes of its blobs.
//
// Hosts are asked in order (mirrors, then the image's own). Credentials go to the host that asked
// for them only. Requests are repeated where that can help; a body that breaks off is continued
// with a range. Threads: Resolve and Fetch, any thread; one source, one thread at a time. Sources
// must not outlive the Registry. Source: images.md 2 to 5; OCI distribution specification 1.1.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "diff/differ.h"
#include "image/auth.h"
#include "image/hosts.h"
#include "image/http.h"
#include "image/progress.h"
#include "model/descriptor.h"
#include "model/reference.h"

namespace corten::image {

struct RegistryOptions {
  std::string hosts_dir;  // directories with hosts.toml files, joined by ':'; empty: none are read
  std::string default_scheme;  // "http" or "https" of the image's own host; empty: by its name
  TlsSettings tls;
  model::Labels headers;  // for every request
  AskCredentials ask;     // may be empty: anonymous
  std::string user_agent = "containerd/2.3.4";
  std::function<void(const std::string& text)>
      log;  // requests and answers, without secrets; any thread; may be empty
  Canceled canceled;
};

class Registry {
 public:
  // kInvalidArgument: not a reference.
  static Result<std::unique_ptr<Registry>> Open(const std::string& reference,
                                                RegistryOptions options);
  ~Registry();

  const model::Reference& reference() const { return reference_; }
  // The label that tells where a blob is from: key, and the repository to add to its value.
  std::string SourceLabel() const;

  // Media type, digest and size of what the reference names. kInvalidArgument `object required`,
  // schema 1; kNotFound `REFERENCE: not found`; kUnknown with containerd's texts for refusals;
  // kUnavailable: no host could be reached.
  Result<model::Descriptor> Resolve();

  // Media type and size of the blob of this digest in the reference's repository, asked for as a
  // blob or, where `media_type` is a manifest's, as a manifest. kUnknown `unexpected HEAD status
  // code URL: ...` and, as Resolve, others.
  Result<model::Descriptor> FindBlob(const model::Digest& digest, const std::string& media_type);

  // The bytes of a blob from `offset` on: exactly up to its size, or an error of some Read. The
  // digest is not checked. kNotFound: no host has it; kInvalidArgument: empty descriptors; others
  // as Resolve.
  Result<std::unique_ptr<diff::ByteSource>> Fetch(const model::Descriptor& blob, int64_t offset);

 private:
  class BlobSource;
  struct Answer;
  struct Ask;

  Registry(model::Reference reference, RegistryOptions options);
  Result<Answer> Do(size_t host, const Ask& ask);
  Result<Answer> DoOnce(size_t host, const Ask& ask, std::string* sent_auth, std::string* url);
  Result<model::Descriptor> ResolveAt(size_t host, const std::string& path,
                                      const std::string& object);
  Result<Answer> OpenAt(size_t host, const model::Descriptor& blob, int64_t offset);
  Result<Answer> OpenUrl(const std::string& url, int64_t offset);
  std::string UrlOf(size_t host, const std::string& path) const;

  const model::Reference reference_;
  const RegistryOptions options_;
  std::vector<RegistryHost> hosts_;
  std::vector<std::unique_ptr<std::atomic<bool>>>
      plain_;  // per host: https was tried and did not work
  HttpClient http_;
  Authorizer auth_;
};

}  // namespace corten::image
