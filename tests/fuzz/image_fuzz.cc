// Any bytes as what comes with an image from outside: documents, an archive, a hosts file, an
// authentication challenge. No crash, no hang; what is accepted can be walked. The first byte
// chooses.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "content/fake_store.h"
#include "image/auth.h"
#include "image/hosts.h"
#include "image/import.h"
#include "image/json_text.h"
#include "image/manifest.h"
#include "image/url.h"

namespace corten::image {
namespace {

class Bytes final : public diff::ByteSource {
 public:
  explicit Bytes(std::string_view data) : data_(data) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t n = data_.copy(buffer.data(), std::min<size_t>(buffer.size(), 700));
    data_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view data_;
};

void Documents(const std::string& text) {
  const Result<Index> index = ParseIndex(text);
  if (index.ok()) (void)ChildLabels(index->manifests);
  const Result<Manifest> manifest = ParseManifest(text);
  // A manifest has a config; nothing is both.
  if (index.ok() && manifest.ok()) __builtin_trap();
  const Result<ImageConfig> config = ParseConfig(text);
  if (config.ok() && ChainIds(config->diff_ids).size() != config->diff_ids.size()) __builtin_trap();
  (void)JsonString(text);
}

void Archive(std::string_view data) {
  content::FakeStore store;
  store.SetCapacity(16 << 20);
  Bytes source(data);
  ImportOptions options;
  options.compress = !data.empty() && data.front() == 'c';
  const Result<model::Descriptor> index = ImportArchive(store, source, options);
  if (!index.ok()) return;
  if (!store.GetInfo(index->digest).ok()) __builtin_trap();  // the result is in the store
  (void)Children(store, *index);                             // may be nonsense, must be an answer
}

}  // namespace
}  // namespace corten::image

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 65536) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      corten::image::Documents(text);
      break;
    case 1:
      corten::image::Archive(text);
      break;
    case 2:
      (void)corten::image::ParseHostsFile(text, "/dir", "host.test:5000", {});
      break;
    default:
      for (const corten::image::Challenge& challenge : corten::image::ParseChallenges({text})) {
        if (challenge.scheme != "bearer" && challenge.scheme != "basic") __builtin_trap();
      }
      (void)corten::image::RedactUrl(text);
      (void)corten::image::ResolveLocation("http://h/p", text);
  }
  return 0;
}
