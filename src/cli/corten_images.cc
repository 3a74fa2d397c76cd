// corten rmi, import, save, and finding images by short names.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <mutex>

#include "cli/corten_verbs.h"
#include "cli/table.h"
#include "image/export.h"
#include "image/transfers.h"
#include "model/reference.h"

namespace corten::cli {

namespace {

class FileSource final : public diff::ByteSource {
 public:
  FileSource(FdRef fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    return ReadSome(fd_, buffer.data(), buffer.size(), name_);
  }

 private:
  FdRef fd_;
  std::string name_;
};

class FileSink final : public diff::ByteSink {
 public:
  FileSink(FdRef fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Status Write(std::string_view data) override { return WriteAll(fd_, data, name_); }

 private:
  FdRef fd_;
  std::string name_;
};

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

// What a long operation does, as it does it: on a terminal one line that is redrawn and a line for
// each finished part, elsewhere the finished parts only.
class ProgressLines {
 public:
  void operator()(const image::Progress& progress) {
    const std::lock_guard lock(mutex_);
    if (progress.name.empty()) return Line(progress.event);
    Part& part = parts_[progress.name];
    const bool ended = progress.event == "complete" || progress.event == "already exists" ||
                       progress.event == "extracted" || progress.event == "saved";
    if (ended && part.event != progress.event) Line(StrCat(progress.name, ": ", progress.event));
    part.event = progress.event;
    part.bytes = progress.progress;
    if (terminal_ && !ended) Draw();
  }
  // Ends the redrawn line.
  void Finish() {
    const std::lock_guard lock(mutex_);
    Clear();
  }

 private:
  struct Part {
    std::string event;
    int64_t bytes = 0;
  };
  void Clear() {
    if (drawn_) (void)fputs("\r\033[K", stderr);
    drawn_ = false;
  }
  void Line(const std::string& text) {
    Clear();
    (void)fprintf(stderr, "%s\n", text.c_str());
  }
  void Draw() {
    int64_t bytes = 0;
    size_t open = 0;
    for (const auto& [name, part] : parts_) {
      bytes += part.bytes;
      if (part.event == "downloading" || part.event == "extracting") ++open;
    }
    (void)fprintf(stderr, "\r\033[K%zu of %zu parts at work, %s", open, parts_.size(),
                  BinarySize(bytes).c_str());
    drawn_ = true;
  }
  std::mutex mutex_;  // guards all below: progress comes from several threads
  std::map<std::string, Part> parts_;
  const bool terminal_ = isatty(2) == 1;
  bool drawn_ = false;
};

// The journeys of images, with this daemon's stores on the other end of the connection.
image::Transfers MakeTransfers(Session& session, const std::string& snapshotter) {
  image::TransferOptions options;
  options.stores = &session.stores();
  options.images = &session.images();
  options.leases = &session.leases();
  options.make_differ = [connection = session.connection()](const model::Scope& scope) {
    return client::RemoteDiffer(connection, scope);
  };
  options.unpack = {{model::HostPlatform(), snapshotter, /*can_rebase=*/nullptr}};
  return image::Transfers(std::move(options));
}

Result<int> ImportFrom(Session& session, const Values& values, FdRef file,
                       const std::string& name) {
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  image::Transfers transfers = MakeTransfers(session, snapshotter);
  FileSource source(file, name);
  image::StoreRequest request;
  request.extra_references = {
      {values.Text("base-name"), /*is_prefix=*/true, /*allow_overwrite=*/true, false, false}};
  request.unpacks = {{model::HostPlatform(), snapshotter}};
  ProgressLines lines;
  const Status done =
      transfers.Import(session.scope(), source, request, /*compress=*/false,
                       [&](const image::Progress& progress) { lines(progress); }, {});
  lines.Finish();
  if (!done.ok()) return done.error().Clone().Context(name);
  return 0;
}

Result<int> Pull(Session& session, const Values& values) {
  if (values.args.size() != 1)
    return InvalidArgumentError("name one image: corten pull [flags] IMAGE");
  const std::string reference = TRY(model::NormalizeDockerReference(values.Arg(0)));
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  image::Transfers transfers = MakeTransfers(session, snapshotter);
  image::RegistryOptions registry;
  registry.hosts_dir = values.Text("hosts-dir");
  if (values.Bool("plain-http")) registry.default_scheme = "http";
  image::StoreRequest request;
  request.name = reference;
  model::Platform platform = model::HostPlatform();
  if (const std::string wanted = values.Text("platform"); !wanted.empty())
    platform = TRY(model::ParsePlatform(wanted));
  request.platforms = {platform};
  request.unpacks = {{platform, snapshotter}};
  ProgressLines lines;
  const Status done = transfers.Pull(session.scope(), reference, registry, request,
                                     [&](const image::Progress& progress) { lines(progress); }, {});
  lines.Finish();
  if (!done.ok()) return done.error().Clone().Context(StrCat("pull ", reference));
  PrintLine(reference);
  return 0;
}

Result<int> Import(Session& session, const Values& values) {
  const std::string path = values.Arg(0);
  if (path.empty()) return InvalidArgumentError("name an archive, or - for standard input");
  if (path == "-") return ImportFrom(session, values, FdRef(0), "standard input");
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoError(errno, "open ", path);
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
    FileSink sink(FdRef(1), "standard output");
    TRY(image::ExportImages(*content, images, sink, {}));
    return 0;
  }
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return ErrnoError(errno, "create ", path);
  FileSink sink(file, path);
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
                       " is not here: `corten images` lists what is; get it with `corten pull` or "
                       "`corten import`: not found");
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
           TextFlag({"hosts-dir"}, "directory with hosts.toml files for registries",
                    "/etc/containerd/certs.d"),
           SnapshotterFlag()},
          {},
          Connected(&Pull)};
}
Command SaveVerb() {
  return {{"save"},        "write images into an archive", "FILE|- IMAGE...", "", {}, {},
          Connected(&Save)};
}

}  // namespace corten::cli
