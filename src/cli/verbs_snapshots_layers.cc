// snapshots diff, unpack.
#include <cstdlib>

#include "base/clock.h"
#include "cli/held_lease.h"
#include "cli/image_journeys.h"
#include "cli/snapshot_verbs.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr const char* kGcRoot = "containerd.io/gc.root";

// The mounts of a snapshot: an active one's own, a view of a committed one for as long as this
// lives.
class LookAt {
 public:
  static Result<std::unique_ptr<LookAt>> Take(snapshot::Snapshotter& snapshots,
                                              const std::string& name, const std::string& view) {
    std::unique_ptr<LookAt> out(new LookAt(snapshots));
    const snapshot::Info info = TRY(snapshots.Stat(name));
    if (info.kind == snapshot::Kind::kActive) {
      out->mounts_ = TRY(snapshots.Mounts(name));
      return out;
    }
    out->mounts_ = TRY(snapshots.View(view, name, {}));
    out->view_ = view;
    return out;
  }
  ~LookAt() {
    if (!view_.empty()) (void)snapshots_.Remove(view_);  // else the lease's end takes it
  }
  LookAt(const LookAt&) = delete;
  LookAt& operator=(const LookAt&) = delete;
  const std::vector<model::Mount>& mounts() const { return mounts_; }

 private:
  explicit LookAt(snapshot::Snapshotter& snapshots) : snapshots_(snapshots) {}
  snapshot::Snapshotter& snapshots_;
  std::vector<model::Mount> mounts_;
  std::string view_;  // not empty: ours to remove
};

// SOURCE_DATE_EPOCH, the time that nothing in a layer may be younger than. kInvalidArgument.
Result<std::optional<Time>> SourceDateEpoch() {
  const char* text = getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr || text[0] == 0) return std::optional<Time>();
  char* end = nullptr;
  const int64_t seconds = strtoll(text, &end, 10);
  if (*end != 0) return InvalidArgumentError("invalid SOURCE_DATE_EPOCH value: ", Quoted(text));
  return std::optional<Time>(Time{seconds, 0});
}

Status WriteOut(content::Store& store, const model::Digest& digest) {
  const std::unique_ptr<content::Reader> reader = TRY(store.OpenReader(digest));
  std::string buffer(kChunk, '\0');
  for (int64_t at = 0; at < reader->size();) {
    const size_t n = TRY(reader->ReadAt(buffer, at));
    if (n == 0) return DataLossError("content ", digest.str(), ": ends at ", at);
    TRY(WriteAll(FdRef(1), std::string_view(buffer).substr(0, n), "standard output"));
    at += static_cast<int64_t>(n);
  }
  return Ok();
}

// What `upper` has on top of `lower`; an empty `lower`: on top of its parent.
Result<model::Descriptor> Compare(snapshot::Snapshotter& snapshots, diff::Differ& differ,
                                  const std::string& first, const std::string& second,
                                  const diff::CompareOptions& options) {
  if (!second.empty()) {
    const std::unique_ptr<LookAt> lower =
        TRY(LookAt::Take(snapshots, first, UniqueName(StrCat(first, "-view"))));
    const std::unique_ptr<LookAt> upper =
        TRY(LookAt::Take(snapshots, second, UniqueName(StrCat(second, "-view"))));
    return differ.Compare(lower->mounts(), upper->mounts(), options);
  }
  const snapshot::Info info = TRY(snapshots.Stat(first));
  std::unique_ptr<LookAt> lower;
  if (!info.parent.empty())
    lower =
        TRY(LookAt::Take(snapshots, info.parent, UniqueName(StrCat(info.parent, "-parent-view"))));
  const std::unique_ptr<LookAt> upper =
      TRY(LookAt::Take(snapshots, first, UniqueName(StrCat(first, "-view"))));
  return differ.Compare(lower == nullptr ? std::vector<model::Mount>() : lower->mounts(),
                        upper->mounts(), options);
}

Result<int> Diff(Session& session, const Values& values) {
  const std::string first = values.Arg(0);
  if (first.empty()) return UnknownError("snapshot id must be provided");
  const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session));
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session.stores().Snapshots(lease->scope(), snapshotter));
  const std::unique_ptr<diff::Differ> differ =
      client::RemoteDiffer(session.connection(), lease->scope());
  diff::CompareOptions options;
  options.media_type = values.Text("media-type");
  options.reference = values.Text("ref");
  options.labels = ParseLabels(values.List("label"));
  const bool keep = values.Bool("keep");
  if (keep) options.labels[kGcRoot] = FormatRfc3339({Now().seconds, 0});
  options.source_date_epoch = TRY(SourceDateEpoch());
  const model::Descriptor blob = TRY(Compare(*snapshots, *differ, first, values.Arg(1), options));
  const std::unique_ptr<content::Store> content = session.stores().Content(lease->scope());
  TRY(WriteOut(*content, blob.digest));
  return 0;
}

Result<int> Unpack(Session& session, const Values& values) {
  const Result<model::Digest> parsed = model::Digest::Parse(values.Arg(0));
  if (!parsed.ok()) return UnknownError("invalid checksum digest format");
  const model::Digest& digest = *parsed;
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  const std::vector<metadata::Image> images = TRY(session.images().List(session.ns(), {}));
  for (const metadata::Image& image : images) {
    if (image.target.digest != digest) continue;
    const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session));
    Print(StrCat("unpacking ", digest.str(), " (", image.target.media_type, ")..."));
    const std::unique_ptr<content::Store> content = session.stores().Content(lease->scope());
    const Result<ImageParts> parts = PartsOf(*content, image.target, model::HostPlatform());
    if (!parts.ok()) {
      PrintLine("");
      return parts.error().Clone();
    }
    const Result<std::string> chain =
        UnpackParts(session, lease->scope(), *parts, snapshotter, values.Bool("sync-fs"));
    if (!chain.ok()) {
      PrintLine("");
      return chain.error().Clone();
    }
    PrintLine("done");
    return 0;
  }
  return UnknownError("manifest not found");
}

}  // namespace

Command SnapshotsDiffCommand() {
  return {{"diff"},
          "get the diff of two snapshots. the default second snapshot is the first snapshot's "
          "parent.",
          "[flags] <idA> [<idB>]",
          "",
          {TextFlag({"media-type"}, "media type to use for creating diff",
                    "application/vnd.oci.image.layer.v1.tar+gzip"),
           TextFlag({"ref"}, "content upload reference to use"),
           BoolFlag({"keep"}, "keep diff content. up to creator to delete it."),
           ListFlag({"label"}, "labels to attach to the image")},
          {},
          Connected(&Diff)};
}

Command SnapshotsUnpackCommand() {
  return {
      {"unpack"},
      "unpack applies layers from a manifest to a snapshot",
      "[flags] <digest>",
      "",
      {SnapshotterFlag(), BoolFlag({"sync-fs"},
                                   "Synchronize the underlying filesystem containing files when "
                                   "unpack images, false by default")},
      {},
      Connected(&Unpack)};
}

}  // namespace corten::cli
