#include "content/store.h"

namespace corten::content {

Result<std::string> ReadBlob(Store& store, const model::Digest& digest, int64_t limit) {
  const std::unique_ptr<Reader> reader = TRY(store.OpenReader(digest));
  if (reader->size() > limit)
    return ResourceExhaustedError("content ", digest.str(), ": larger than ", limit, " bytes");
  std::string data(static_cast<size_t>(reader->size()), '\0');
  size_t at = 0;
  while (at < data.size()) {
    const size_t n =
        TRY(reader->ReadAt(std::span<char>(data).subspan(at), static_cast<int64_t>(at)));
    if (n == 0)
      return DataLossError("content ", digest.str(), ": ends after ", at, " of ", data.size(),
                           " bytes");
    at += n;
  }
  return data;
}

Status WriteBlob(Store& store, const std::string& ref, std::string_view data,
                 const model::Descriptor& descriptor, const model::Labels& labels) {
  Result<std::unique_ptr<Writer>> writer =
      store.OpenWriter({ref, descriptor.digest, descriptor.size});
  if (!writer.ok()) {
    if (writer.error().Is(Code::kAlreadyExists)) return Ok();
    return std::move(writer).TakeError();
  }
  const IngestStatus status = TRY((*writer)->GetStatus());
  if (status.offset != 0) TRY((*writer)->Truncate(0));
  TRY((*writer)->Write(data));
  const Result<model::Digest> done =
      (*writer)->Commit({descriptor.size, descriptor.digest, labels});
  if (!done.ok() && !done.error().Is(Code::kAlreadyExists)) return done.error().Clone();
  return Ok();
}

}  // namespace corten::content
