// images pull, import, export: flags, and the journeys as this program does them itself (--local).
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <ctime>

#include "base/clock.h"
#include "cli/byte_files.h"
#include "cli/content_verbs.h"
#include "cli/fetch_view.h"
#include "cli/held_lease.h"
#include "cli/image_journeys.h"
#include "cli/image_verbs.h"
#include "cli/registry_flags.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

using SteadyClock = std::chrono::steady_clock;

std::string Since(SteadyClock::time_point start) {
  return FormatDuration(
      std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyClock::now() - start).count());
}

Status UnpackPulled(Session& session, const Values& values, const model::Scope& scope,
                    const metadata::Image& image, std::vector<model::Platform> platforms) {
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  const std::unique_ptr<content::Store> content = session.stores().Content(scope);
  if (platforms.empty()) platforms = TRY(PlatformsUnder(*content, image.target));
  for (const model::Platform& platform : platforms) {
    PrintLine(StrCat("unpacking ", model::FormatPlatform(platform), " ", image.target.digest.str(),
                     "..."));
    const ImageParts parts = TRY(PartsOf(*content, image.target, platform));
    const std::string chain =
        TRY(UnpackParts(session, scope, parts, snapshotter, values.Bool("sync-fs")));
    if (values.Bool("print-chainid")) PrintLine(StrCat("image chain ID: ", chain));
  }
  return Ok();
}

Result<int> LocalPull(Session& session, const Values& values) {
  const std::string reference = values.Arg(0);
  const SteadyClock::time_point start = SteadyClock::now();
  const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session));
  const image::RegistryOptions registry = TRY(RegistryOptionsOf(values));
  const image::StoreRequest request = TRY(FetchRequestOf(values, reference));
  TRY(FetchImage(session, lease->scope(), reference, registry, request,
                 static_cast<int>(values.Int("max-concurrent-downloads"))));
  const metadata::Image image = TRY(session.images().Get(session.ns(), reference));
  TRY(UnpackPulled(session, values, lease->scope(), image, request.platforms));
  PrintLine(StrCat("done: ", Since(start), "\t"));
  return 0;
}

Result<int> Pull(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("please provide an image reference to pull");
  return values.Bool("local") ? LocalPull(session, values) : TransferPull(session, values);
}

Result<int> LocalImport(Session& session, const Values& values, FdRef archive) {
  if (values.Bool("skip-digest-for-named") && !values.Bool("digests"))
    return UnknownError("--skip-digest-for-named must be specified with --digests option");
  if (values.Bool("discard-unpacked-layers") && values.Bool("no-unpack"))
    return UnknownError("--discard-unpacked-layers and --no-unpack are incompatible options");
  const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session));
  image::StoreRequest request;
  request.name = values.Text("index-name");
  request.labels = ParseLabels(values.List("label"));
  request.extra_references = {{BaseName(values), /*is_prefix=*/true,
                               /*allow_overwrite=*/values.Text("base-name").empty(),
                               values.Bool("digests"), values.Bool("skip-digest-for-named")}};
  model::Platform platform = model::HostPlatform();
  if (const std::string wanted = values.Text("platform"); !wanted.empty())
    platform = TRY(model::ParsePlatform(wanted));
  if (!values.Bool("all-platforms")) request.platforms = {platform};
  FdSource source(archive, "archive");
  std::vector<image::Progress> saved;
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  TRY(RemoteJourneys(session, snapshotter)
          .Import(lease->scope(), source, request, values.Bool("compress-blobs"),
                  [&](const image::Progress& told) {
                    if (told.event == "saved") saved.push_back(told);
                  },
                  {}));
  if (values.Bool("no-unpack")) return 0;
  const std::unique_ptr<content::Store> content = session.stores().Content(lease->scope());
  for (const image::Progress& image : saved) {
    Print(StrCat("unpacking ", image.name, " (", image.descriptor.digest.str(), ")..."));
    const ImageParts parts = TRY(PartsOf(*content, image.descriptor, platform));
    const std::string chain =
        TRY(UnpackParts(session, lease->scope(), parts, snapshotter, values.Bool("sync-fs")));
    if (values.Bool("discard-unpacked-layers")) {
      content::Info info = TRY(content->GetInfo(parts.descriptor.digest));
      TRY(DropLayerLabels(*content, std::move(info)));
    }
    PrintLine("done");
  }
  return 0;
}

Result<int> Import(Session& session, const Values& values) {
  const std::string path = values.Arg(0);
  Fd file;
  if (path != "-") {
    file = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return OpenError(errno, path);
  }
  const FdRef archive = path == "-" ? FdRef(0) : file.ref();
  return values.Bool("local") ? LocalImport(session, values, archive)
                              : TransferImport(session, values, archive);
}

Result<int> LocalExport(Session& session, const Values& values, FdRef archive) {
  image::ExportOptions options;
  options.all_platforms = values.Bool("all-platforms");
  for (const std::string& text : values.List("platform")) {
    model::Platform platform = TRY(model::ParsePlatform(text));
    options.platforms.push_back(std::move(platform));
  }
  options.skip_docker_manifest = values.Bool("skip-manifest-json");
  options.skip_non_distributable = values.Bool("skip-non-distributable");
  std::vector<metadata::Image> images;
  for (size_t i = 1; i < values.args.size(); ++i) {
    metadata::Image image = TRY(session.images().Get(session.ns(), values.args[i]));
    images.push_back(std::move(image));
  }
  const std::unique_ptr<content::Store> content = session.Content();
  FdSink sink(archive, "archive");
  TRY(image::ExportImages(*content, images, sink, options));
  return 0;
}

Result<int> Export(Session& session, const Values& values) {
  if (values.args.size() < 2 || values.Arg(0).empty())
    return UnknownError("please provide both an output filename and an image reference to export");
  const std::string path = values.Arg(0);
  Fd file;
  if (path != "-") {
    file = Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file.valid()) return OpenError(errno, path);
  }
  const FdRef archive = path == "-" ? FdRef(1) : file.ref();
  return values.Bool("local") ? LocalExport(session, values, archive)
                              : TransferExport(session, values, archive);
}

}  // namespace

std::string BaseName(const Values& values) {
  if (std::string given = values.Text("base-name"); !given.empty()) return given;
  const time_t now = time(nullptr);
  struct tm day = {};
  (void)localtime_r(&now, &day);
  char text[32];
  (void)strftime(text, sizeof(text), "import-%Y-%m-%d", &day);
  return text;
}

Command ImagesPullCommand() {
  Command command;
  command.names = {"pull"};
  command.summary = "pull an image from a remote";
  command.arguments = "[flags] <ref>";
  command.flags = RegistryFlags();
  const std::vector<Flag> chosen = FetchFlags();
  const std::vector<Flag> own = {
      SnapshotterFlag(), BoolFlag({"print-chainid"}, "Print the resulting image's chain ID"),
      BoolFlag({"local"}, "Fetch content from local client rather than using transfer service"),
      BoolFlag({"sync-fs"},
               "Synchronize the underlying filesystem containing files when unpack images, false "
               "by default")};
  command.flags.insert(command.flags.end(), chosen.begin(), chosen.end());
  command.flags.insert(command.flags.end(), own.begin(), own.end());
  Flag hidden =
      BoolFlag({"all-metadata"}, "(Deprecated: use skip-metadata) Pull metadata for all platforms");
  hidden.hidden = true;
  command.flags.push_back(std::move(hidden));
  command.action = Connected(&Pull);
  return command;
}

Command ImagesImportCommand() {
  Command command;
  command.names = {"import"};
  command.summary = "import images";
  command.arguments = "[flags] <in>";
  command.flags = {
      TextFlag({"base-name"},
               "base image name for added images, when provided only images with this name prefix "
               "are imported"),
      BoolFlag({"digests"}, "whether to create digest images (default: false)"),
      BoolFlag({"skip-digest-for-named"},
               "skip applying --digests option to images named in the importing tar (use it in "
               "conjunction with --digests)"),
      TextFlag({"index-name"}, "image name to keep index as, by default index is discarded"),
      BoolFlag({"all-platforms"}, "imports content for all platforms, false by default"),
      TextFlag({"platform"}, "imports content for specific platform"),
      BoolFlag({"no-unpack"}, "skip unpacking the images, false by default"),
      BoolFlag({"local"}, "run import locally rather than through transfer API"),
      BoolFlag({"compress-blobs"},
               "compress uncompressed blobs when creating manifest (Docker format only)"),
      BoolFlag({"discard-unpacked-layers"},
               "allow the garbage collector to clean layers up from the content store after "
               "unpacking, cannot be used with --no-unpack, false by default"),
      BoolFlag({"sync-fs"},
               "Synchronize the underlying filesystem containing files when unpack images, false "
               "by default"),
      SnapshotterFlag(),
      ListFlag({"label"}, "labels to attach to the image")};
  command.action = Connected(&Import);
  return command;
}

Command ImagesExportCommand() {
  Command command;
  command.names = {"export"};
  command.summary = "export images";
  command.arguments = "[flags] <out> <image> ...";
  command.flags = {
      BoolFlag({"skip-manifest-json"}, "do not add Docker compatible manifest.json to archive"),
      BoolFlag({"skip-non-distributable"},
               "do not add non-distributable blobs such as Windows layers to archive"),
      ListFlag({"platform"}, "Pull content from a specific platform"),
      BoolFlag({"all-platforms"}, "exports content from all platforms"),
      BoolFlag({"local"}, "run export locally rather than through transfer API")};
  command.action = Connected(&Export);
  return command;
}

}  // namespace corten::cli
