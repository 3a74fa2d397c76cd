// corten rmi, import, save, and finding images by short names.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <mutex>
#include <set>

#include "cli/byte_files.h"
#include "cli/corten_verbs.h"
#include "cli/image_journeys.h"
#include "cli/interrupts.h"
#include "cli/process.h"
#include "cli/transfer_view.h"
#include "image/export.h"
#include "model/reference.h"

namespace corten::cli {

namespace {

constexpr const char* kHostsDir = "/etc/containerd/certs.d";

Result<int> Rmi(Session& session, const Values& values) {
  if (values.args.empty()) return InvalidArgumentError("name at least one image");
  for (size_t i = 0; i < values.args.size(); ++i) {
    const metadata::Image image = TRY(FindImage(session, values.args[i]));
    metadata::ImageStore::DeleteOptions options;
    options.synchronous = i + 1 == values.args.size();  // one collection serves all
    TRY(session.images().Delete(session.scope(), image.name, options));
    PrintLine(image.name);
  }
  return 0;
}

// What a journey does, as it does it: on a terminal a tree with bars, elsewhere a line for each
// part that is done.
class JourneyView {
 public:
  void operator()(const image::Progress& told) {
    const std::lock_guard lock(mutex_);
    if (screen_.is_terminal()) {
      const bool seen = tree_.Apply(told);
      if (seen) screen_.Draw(tree_.Picture(std::chrono::steady_clock::now() - start_));
      return;
    }
    const bool done = told.event == "complete" || told.event == "already exists" ||
                      told.event == "extracted" || told.event == "saved" || told.name.empty();
    if (done && done_[told.name].insert(told.event).second) {
      screen_.Draw(told.name.empty() ? StrCat(told.event, "\n")
                                     : StrCat(told.name, ": ", told.event, "\n"));
    }
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;  // guards all below: progress comes from several threads
  TransferTree tree_;
  std::map<std::string, std::set<std::string>> done_;  // what was told of each part
  Screen screen_{FdRef(2)};
};

// A journey's answer: an interrupt is no error of anybody.
Result<int> Ended(const Status& done, std::string_view what) {
  if (done.ok()) return 0;
  if (!Interrupts::Seen()) return done.error().Clone().Context(what);
  (void)fprintf(stderr, "corten: %s: interrupted; what has come so far is used by the next try\n",
                std::string(what).c_str());
  return kInterruptedCode;
}

Result<int> ImportFrom(Session& session, const Values& values, FdRef file,
                       const std::string& name) {
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  image::Transfers transfers = RemoteJourneys(session, snapshotter);
  FdSource source(file, name);
  image::StoreRequest request;
  request.extra_references = {
      {values.Text("base-name"), /*is_prefix=*/true, /*allow_overwrite=*/true, false, false}};
  request.unpacks = {{model::HostPlatform(), snapshotter}};
  JourneyView view;
  const Interrupts interrupts;
  const Status done = transfers.Import(
      session.scope(), source, request, /*compress=*/false,
      [&](const image::Progress& told) { view(told); }, &Interrupts::Seen);
  return Ended(done, name);
}

// Fetches and unpacks, with a picture of it on standard error.
Status Fetch(Session& session, const std::string& reference, const image::RegistryOptions& registry,
             const model::Platform& platform, const std::string& snapshotter,
             const std::function<bool()>& canceled) {
  image::Transfers transfers = RemoteJourneys(session, snapshotter);
  image::StoreRequest request;
  request.name = reference;
  request.platforms = {platform};
  request.unpacks = {{platform, snapshotter}};
  JourneyView view;
  return transfers.Pull(
      session.scope(), reference, registry, request,
      [&](const image::Progress& told) { view(told); }, canceled);
}

Result<int> Pull(Session& session, const Values& values) {
  if (values.args.size() != 1)
    return InvalidArgumentError("name one image: corten pull [flags] IMAGE");
  const std::string reference = TRY(model::NormalizeDockerReference(values.Arg(0)));
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  image::RegistryOptions registry;
  registry.hosts_dir = values.Text("hosts-dir");
  if (values.Bool("plain-http")) registry.default_scheme = "http";
  model::Platform platform = model::HostPlatform();
  if (const std::string wanted = values.Text("platform"); !wanted.empty())
    platform = TRY(model::ParsePlatform(wanted));
  const Interrupts interrupts;
  const Status done = Fetch(session, reference, registry, platform, snapshotter, &Interrupts::Seen);
  if (done.ok()) PrintLine(reference);
  return Ended(done, StrCat("pull ", reference));
}

Result<int> Import(Session& session, const Values& values) {
  const std::string path = values.Arg(0);
  if (path.empty()) return InvalidArgumentError("name an archive, or - for standard input");
  if (path == "-") return ImportFrom(session, values, FdRef(0), "standard input");
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return OpenError(errno, path);
  return ImportFrom(session, values, file, path);
}

Result<int> Save(Session& session, const Values& values) {
  if (values.args.size() < 2)
    return InvalidArgumentError("want a file and images: corten save FILE IMAGE...");
  std::vector<metadata::Image> images;
  for (size_t i = 1; i < values.args.size(); ++i) {
    metadata::Image image = TRY(FindImage(session, values.args[i]));
    images.push_back(std::move(image));
  }
  const std::string path = values.Arg(0);
  const std::unique_ptr<content::Store> content = session.Content();
  if (path == "-") {
    FdSink sink(FdRef(1), "standard output");
    TRY(image::ExportImages(*content, images, sink, {}));
    return 0;
  }
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return OpenError(errno, path);
  FdSink sink(file, path);
  const Status done = image::ExportImages(*content, images, sink, {});
  if (!done.ok()) {
    (void)unlink(path.c_str());  // half an archive helps nobody
    return done.error().Clone();
  }
  return 0;
}

}  // namespace

Result<metadata::Image> FindImage(Session& session, const std::string& name) {
  Result<metadata::Image> image = session.images().Get(session.ns(), name);
  if (image.ok() || !image.error().Is(Code::kNotFound)) return image;
  const Result<std::string> full = model::NormalizeDockerReference(name);
  if (full.ok() && *full != name) {
    Result<metadata::Image> other = session.images().Get(session.ns(), *full);
    if (other.ok() || !other.error().Is(Code::kNotFound)) return other;
  }
  return NotFoundError("image ", Quoted(name),
                       " (`corten pull` or `corten import` brings it here)");
}

Result<metadata::Image> ImageToRun(Session& session, const std::string& name,
                                   const std::string& pull, const std::string& snapshotter) {
  if (pull != "missing" && pull != "always" && pull != "never")
    return InvalidArgumentError("pull ", Quoted(pull), ": want missing, always or never");
  if (pull != "always") {
    Result<metadata::Image> found = FindImage(session, name);
    if (found.ok() || pull == "never" || !found.error().Is(Code::kNotFound)) return found;
  }
  const std::string reference = TRY(model::NormalizeDockerReference(name));
  image::RegistryOptions registry;
  registry.hosts_dir = kHostsDir;
  Status done = Fetch(session, reference, registry, model::HostPlatform(), snapshotter,
                      [] { return !NotInterrupted().ok(); });
  TRY(NotInterrupted());
  if (!done.ok()) return std::move(done).TakeError().Context(StrCat("pull ", reference));
  return session.images().Get(session.ns(), reference);
}

Command RmiVerb() {
  return {{"rmi"},        "remove images and what only they need", "IMAGE...", "", {}, {},
          Connected(&Rmi)};
}
Command ImportVerb() {
  return {{"import"},
          "bring images in from an OCI or Docker archive",
          "FILE|-",
          "",
          {TextFlag({"base-name"}, "name for images that have only a tag", "imported"),
           SnapshotterFlag()},
          {},
          Connected(&Import)};
}
Command PullVerb() {
  return {{"pull"},
          "fetch an image from a registry",
          "IMAGE",
          "",
          {TextFlag({"platform"}, "e.g. linux/arm64 (default: this machine's)"),
           BoolFlag({"plain-http"}, "speak HTTP without TLS"),
           TextFlag({"hosts-dir"}, "directory with hosts.toml files for registries", kHostsDir),
           SnapshotterFlag()},
          {},
          Connected(&Pull)};
}
Command SaveVerb() {
  return {{"save"},        "write images into an archive", "FILE|- IMAGE...", "", {}, {},
          Connected(&Save)};
}

}  // namespace corten::cli
