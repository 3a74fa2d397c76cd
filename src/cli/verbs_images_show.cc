// images inspect, usage: what an image is made of, and what it takes.
#include "cli/event_json.h"
#include "cli/image_journeys.h"
#include "cli/image_verbs.h"
#include "cli/indent.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

constexpr std::string_view kRail = "│   ";
constexpr std::string_view kBlank = "    ";

class Inspector {
 public:
  Inspector(content::Store& content, bool documents) : content_(content), documents_(documents) {}

  // `front` stands before the lines of `blob` and what is below it.
  Status Show(const model::Descriptor& blob, const std::string& front, bool last, int depth) {
    if (depth > image::kMaxIndexDepth)
      return InvalidArgumentError("index ", blob.digest.str(), ": nested too deeply");
    PrintLine(StrCat(front, last ? "└── " : "├── ", blob.media_type, " @", blob.digest.str(), " (",
                     blob.size, " bytes)"));
    const std::string below = StrCat(front, last ? kBlank : kRail);
    Result<std::vector<model::Descriptor>> children = image::Children(content_, blob);
    if (!children.ok() && !children.error().Is(Code::kNotFound))
      return std::move(children).TakeError();
    const std::vector<model::Descriptor> none;
    const std::vector<model::Descriptor>& parts = children.ok() ? *children : none;
    if (blob.platform.has_value())
      PrintLine(StrCat(below, "│    Platform: ", model::FormatPlatform(*blob.platform)));
    if (documents_ && IsDocument(blob.media_type))
      TRY(ShowDocument(blob, StrCat(below, parts.empty() ? "" : kRail)));
    for (size_t i = 0; i < parts.size(); ++i)
      TRY(Show(parts[i], below, i + 1 == parts.size(), depth + 1));
    return Ok();
  }

 private:
  static bool IsDocument(std::string_view type) {
    return model::IsIndexType(type) || model::IsManifestType(type) || model::IsConfigType(type);
  }

  // Labels and text of a document, where it is here.
  Status ShowDocument(const model::Descriptor& blob, const std::string& front) {
    const Result<content::Info> info = content_.GetInfo(blob.digest);
    if (!info.ok()) {
      if (info.error().Is(Code::kNotFound)) return Ok();
      return info.error().Clone();
    }
    if (!info->labels.empty()) {
      PrintLine(StrCat(front, "┌────────Labels─────────"));
      for (const auto& [key, value] : info->labels)
        PrintLine(StrCat(front, "│", Quoted(key), ": ", Quoted(value)));
      PrintLine(StrCat(front, "└───────────────────────"));
    }
    const std::string text = TRY(content::ReadBlob(content_, blob.digest, image::kMaxConfig));
    PrintLine(StrCat(front, "┌────────Content────────"));
    PrintLine(StrCat(front, "│", IndentJson(text, StrCat(front, "│"), "   ")));
    PrintLine(StrCat(front, "└───────────────────────"));
    return Ok();
  }

  content::Store& content_;
  const bool documents_;
};

Result<int> Inspect(Session& session, const Values& values) {
  const metadata::Image image = TRY(session.images().Get(session.ns(), values.Arg(0)));
  PrintLine(image.name);
  PrintLine(StrCat("│    Created: ", GoTime(image.created_at)));
  PrintLine(StrCat("│    Updated: ", GoTime(image.updated_at)));
  const std::unique_ptr<content::Store> content = session.Content();
  TRY(Inspector(*content, values.Bool("content")).Show(image.target, "", /*last=*/true, 0));
  return 0;
}

Result<int> Usage(Session& session, const Values& values) {
  const std::string reference = values.Arg(0);
  if (reference.empty()) return UnknownError("please provide an image reference to mount");
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  const metadata::Image image =
      TRY(session.images()
              .Get(session.ns(), reference)
              .Context(StrCat("failed to ensure if image ", reference, " exists")));
  const std::unique_ptr<content::Store> content = session.Content();
  const ImageParts parts = TRY(PartsOf(*content, image.target, model::HostPlatform()));
  const std::vector<model::Digest> chain = image::ChainIds(parts.config.diff_ids);
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session.stores().Snapshots(session.scope(), snapshotter));
  std::string key = chain.empty() ? std::string() : chain.back().str();
  if (key.empty() || !snapshots->Stat(key).ok()) {
    return UnknownError("image ", reference, " isn't unpacked in snapshotter ", snapshotter);
  }
  Table table(kTight);
  table.Row({"KEY", "SIZE", "INODES"});
  while (!key.empty()) {
    const snapshot::Usage usage = TRY(snapshots->GetUsage(key));
    table.Row({key, BinarySize(usage.size), StrCat(usage.inodes)});
    const snapshot::Info info = TRY(snapshots->Stat(key));
    key = info.parent;
  }
  table.Print();
  return 0;
}

}  // namespace

Command ImagesInspectCommand() {
  return {{"inspect", "i"},
          "inspect an image",
          "<image> [flags]",
          "",
          {BoolFlag({"content"}, "Show JSON content")},
          {},
          Connected(&Inspect)};
}

Command ImagesUsageCommand() {
  return {{"usage"},           "Display usage of snapshots for a given image ref",
          "[flags] <ref>",     "",
          {SnapshotterFlag()}, {},
          Connected(&Usage)};
}

}  // namespace corten::cli
