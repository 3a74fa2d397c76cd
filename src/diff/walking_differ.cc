#include <sys/random.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/strcat.h"
#include "diff/apply.h"
#include "diff/compare.h"
#include "diff/compress.h"
#include "os/mount.h"
#include "os/mount_options.h"

namespace corten::diff {

namespace {

constexpr std::string_view kUncompressedLabel = "containerd.io/uncompressed";

std::string Base64Of3(const unsigned char* bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const uint32_t bits = static_cast<uint32_t>(bytes[0] << 16 | bytes[1] << 8 | bytes[2]);
  return {kDigits[bits >> 18 & 63], kDigits[bits >> 12 & 63], kDigits[bits >> 6 & 63],
          kDigits[bits & 63]};
}

// A reference that nobody else uses: the time and three random bytes.
Result<std::string> MakeReference() {
  unsigned char random[3];
  if (getrandom(random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random)))
    return ErrnoError(errno, "getrandom");
  return StrCat(Now().UnixNanos(), '-', Base64Of3(random));
}

// Bytes into a content writer, counted.
class WriterSink final : public ByteSink {
 public:
  explicit WriterSink(content::Writer& writer) : writer_(writer) {}
  Status Write(std::string_view data) override {
    size_ += static_cast<int64_t>(data.size());
    return writer_.Write(data);
  }
  int64_t size() const { return size_; }

 private:
  content::Writer& writer_;
  int64_t size_ = 0;
};

// Hashes what goes through.
class HashedSink final : public ByteSink {
 public:
  explicit HashedSink(ByteSink& sink) : sink_(sink), hasher_(Hasher::Sha256()) {}
  Status Write(std::string_view data) override {
    hasher_.Update(data);
    return sink_.Write(data);
  }
  std::string Digest() const { return hasher_.Digest(); }

 private:
  ByteSink& sink_;
  Hasher hasher_;
};

// A tree to look at: where one bind mount says it is, or mounted.
Status WithTree(const std::string& temp_dir, const std::vector<model::Mount>& mounts,
                const std::function<Status(const std::string&)>& body) {
  std::vector<model::Mount> bind = mounts;
  for (model::Mount& mount : bind) std::erase(mount.options, "ro");
  const ApplyTarget target =
      TRY(ChooseTarget(bind, /*in_user_namespace=*/true));  // true: overlays are mounted
  if (!target.path.empty()) return body(target.path);
  return os::WithReadOnlyTempMount(temp_dir, mounts, body);
}

}  // namespace

Result<size_t> BlobSource::Read(std::span<char> buffer) {
  const size_t n = TRY(reader_.ReadAt(buffer, offset_));
  offset_ += static_cast<int64_t>(n);
  return n;
}

Result<model::Descriptor> WalkingDiffer::Apply(const model::Descriptor& descriptor,
                                               const std::vector<model::Mount>& mounts,
                                               const ApplyOptions& options) {
  const std::unique_ptr<content::Reader> reader =
      TRY(store_.OpenReader(descriptor.digest).Context("failed to get reader from content store"));
  BlobSource source(*reader);
  return applier_.ApplyStream(descriptor, mounts, source, options);
}

Result<model::Descriptor> WalkingDiffer::Compare(const std::vector<model::Mount>& lower,
                                                 const std::vector<model::Mount>& upper,
                                                 const CompareOptions& options) {
  const std::string media_type = options.media_type.empty()
                                     ? std::string(model::media_type::kOciLayerGzip)
                                     : options.media_type;
  Compression compression = Compression::kNone;
  if (media_type == model::media_type::kOciLayerGzip) {
    compression = Compression::kGzip;
  } else if (media_type == model::media_type::kOciLayerZstd) {
    compression = Compression::kZstd;
  } else if (media_type != model::media_type::kOciLayer) {
    return UnimplementedError("unsupported diff media type: ", media_type);
  }
  const bool made_up = options.reference.empty();
  std::string reference = options.reference;
  if (made_up) reference = TRY(MakeReference());

  std::optional<model::Descriptor> result;
  const Status status =
      WithTree(options_.temp_dir, lower, [&](const std::string& lower_path) -> Status {
        const Dir lower_dir = TRY(Dir::Open(lower_path));
        return WithTree(options_.temp_dir, upper, [&](const std::string& upper_path) -> Status {
          const Dir upper_dir = TRY(Dir::Open(upper_path));
          result =
              TRY(WriteLayer(lower_dir, upper_dir, media_type, compression, reference, options));
          return Ok();
        });
      });
  if (!status.ok()) {
    if (made_up)
      (void)store_.Abort(reference);  // nobody could ever resume it; not begun is fine too
    return status.error().Clone();
  }
  return std::move(*result);
}

Result<model::Descriptor> WalkingDiffer::WriteLayer(const Dir& lower, const Dir& upper,
                                                    const std::string& media_type,
                                                    Compression compression,
                                                    const std::string& reference,
                                                    const CompareOptions& options) {
  const std::unique_ptr<content::Writer> writer =
      TRY(store_.OpenWriter({reference, {}, 0}).Context("failed to open writer"));
  // A resumed ingest holds another diff's bytes.
  const content::IngestStatus begun = TRY(writer->GetStatus());
  if (begun.offset != 0) TRY(writer->Truncate(0));

  WriterSink blob(*writer);
  const std::unique_ptr<Compressor> compressor = TRY(OpenCompressor(blob, compression));
  HashedSink plain(*compressor);
  TRY(CompareTrees(lower, upper, plain, {options.source_date_epoch, options.canceled})
          .Context("failed to write diff"));
  TRY(compressor->Finish());

  content::Writer::CommitOptions commit;
  commit.size = blob.size();
  commit.labels = options.labels;
  model::Descriptor result;
  result.media_type = media_type;
  result.size = blob.size();
  if (compression != Compression::kNone) {
    commit.labels.insert_or_assign(std::string(kUncompressedLabel), plain.Digest());
    result.annotations.emplace(kUncompressedLabel, plain.Digest());
  }
  FAILPOINT("diff.compare.before_commit");
  result.digest = TRY(writer->CurrentDigest());
  Result<model::Digest> done = writer->Commit(commit);
  if (!done.ok() && !done.error().Is(Code::kAlreadyExists)) {
    return std::move(done).Context("failed to commit").TakeError();
  }
  if (compression == Compression::kNone) return result;
  // A blob that was there before may lack the label.
  content::Info info =
      TRY(store_.GetInfo(result.digest).Context("failed to get info from content store"));
  if (info.labels.contains(kUncompressedLabel)) return result;
  info.labels = {{std::string(kUncompressedLabel), plain.Digest()}};
  (void)TRY(store_.Update(info, {StrCat("labels.", kUncompressedLabel)}));
  return result;
}

}  // namespace corten::diff
