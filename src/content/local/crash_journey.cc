// The program that content_crash_test kills: one journey through a local store, telling on standard
// output what it has been promised. Usage: content_crash_journey ROOT
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/hash.h"
#include "content/local/crash_data.h"
#include "content/local/local_store.h"

namespace corten::content {
namespace {

// What stands there was answered by the store before the kill; write(2) is not undone by it.
void Tell(const std::string& line) {
  const std::string text = line + "\n";
  if (write(1, text.data(), text.size()) != static_cast<ssize_t>(text.size())) abort();
}

Status Commit(LocalStore& store, const std::string& ref, const std::string& data,
              std::string_view algorithm) {
  Hasher hasher = TRY(Hasher::Create(algorithm));
  hasher.Update(data);
  const model::Digest digest = TRY(model::Digest::Parse(hasher.Digest()));
  model::Descriptor descriptor;
  descriptor.digest = digest;
  descriptor.size = static_cast<int64_t>(data.size());
  Status written = WriteBlob(store, ref, data, descriptor, {});
  if (written.ok()) Tell(StrCat("committed ", digest.str()));
  return written;
}

Status LeaveHalf(LocalStore& store, const std::string& ref, size_t size) {
  const std::unique_ptr<Writer> writer = TRY(store.OpenWriter({ref, {}, 0}));
  const IngestStatus status = TRY(writer->GetStatus());
  if (status.offset != 0) return Ok();  // left by an earlier run
  return writer->Write(CrashData(size, 9));
}

Status Journey(const std::string& root) {
  const std::unique_ptr<LocalStore> store = TRY(LocalStore::Open(root));
  TRY(Commit(*store, "small", CrashData(1000, 1), "sha256"));
  TRY(Commit(*store, "large", CrashData(kLargeCrashData, 2), "sha256"));
  TRY(Commit(*store, "other", CrashData(500, 3), "sha512"));
  TRY(LeaveHalf(*store, "half-small", 2000));
  TRY(LeaveHalf(*store, "half-large", kLargeCrashData));
  TRY(LeaveHalf(*store, "aborted", kLargeCrashData));
  TRY(store->Abort("aborted"));
  const std::string doomed = CrashData(700, 4);
  TRY(Commit(*store, "doomed", doomed, "sha256"));
  const model::Digest digest = TRY(model::Digest::Parse(Sha256Digest(doomed)));
  Tell(StrCat("deleting ", digest.str()));
  TRY(store->Delete(digest));
  TRY(Commit(*store, "small again", CrashData(1000, 1), "sha256"));
  return Ok();
}

}  // namespace
}  // namespace corten::content

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const corten::Status done = corten::content::Journey(argv[1]);
  if (done.ok()) return 0;
  fprintf(stderr, "%s\n", done.error().text().c_str());
  return 1;
}
