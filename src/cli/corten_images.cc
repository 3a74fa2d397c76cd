// corten rmi, import, save, and finding images by short names.
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/corten_verbs.h"
#include "image/export.h"
#include "image/import.h"
#include "image/manifest.h"
#include "image/unpack.h"
#include "model/reference.h"

namespace corten::cli {

namespace {

class FileSource final : public diff::ByteSource {
 public:
  FileSource(FdRef fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<size_t> Read(std::span<char> buffer) override { return ReadSome(fd_, buffer.data(), buffer.size(), name_); }

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

// The name an archive's entry asks for; "" if none.
std::string NameOf(const model::Descriptor& descriptor, const std::string& base) {
  const auto full = descriptor.annotations.find("io.containerd.image.name");
  if (full != descriptor.annotations.end()) return full->second;
  const auto tag = descriptor.annotations.find("org.opencontainers.image.ref.name");
  if (tag == descriptor.annotations.end()) return "";
  return tag->second.find('/') != std::string::npos ? tag->second : StrCat(base, ":", tag->second);
}

Result<int> ImportFrom(Session& session, const Values& values, FdRef file, const std::string& name) {
  metadata::Lease lease;
  const Time until = AddNanos(Now(), int64_t{24} * 3600 * 1000000000);
  lease.labels["containerd.io/gc.expire"] = FormatRfc3339({until.seconds, 0});
  const metadata::Lease held = TRY(session.leases().Create(session.ns(), std::move(lease)));
  const model::Scope scope{session.ns(), held.id};
  const auto import = [&]() -> Result<int> {
    const std::unique_ptr<content::Store> content = session.stores().Content(scope);
    FileSource source(file, name);
    const model::Descriptor index = TRY(image::ImportArchive(*content, source, {}));
    const std::vector<model::Descriptor> entries = TRY(image::Children(*content, index));
    int stored = 0;
    for (const model::Descriptor& entry : entries) {
      const std::string image_name = NameOf(entry, values.Text("base-name"));
      if (image_name.empty()) continue;
      metadata::Image image;
      image.name = image_name;
      image.target = entry;
      image.target.annotations.clear();
      Result<metadata::Image> put = session.images().Create(scope, image, std::nullopt);
      if (!put.ok() && put.error().Is(Code::kAlreadyExists)) put = session.images().Update(scope, image, {}, std::nullopt);
      if (!put.ok()) return std::move(put).TakeError();
      PrintLine(image_name);
      ++stored;
    }
    if (stored == 0) return InvalidArgumentError(name, ": the archive names no image; give a name with --base-name");
    return 0;
  };
  Result<int> code = import();
  (void)session.leases().Delete(session.ns(), held.id, false);  // it expires by itself
  return code;
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
  if (values.args.size() < 2) return InvalidArgumentError("want a file and images: corten save FILE IMAGE...");
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
  return NotFoundError("image ", Quoted(name), " is not here: `corten images` lists what is, `corten import FILE` brings an archive in: not found");
}

Command RmiVerb() { return {{"rmi"}, "remove images and what only they need", "IMAGE...", "", {}, {}, Connected(&Rmi)}; }
Command ImportVerb() {
  return {{"import"}, "bring images in from an OCI or Docker archive", "FILE|-", "", {TextFlag({"base-name"}, "name for images that have only a tag", "imported")}, {}, Connected(&Import)};
}
Command SaveVerb() { return {{"save"}, "write images into an archive", "FILE|- IMAGE...", "", {}, {}, Connected(&Save)}; }

}  // namespace corten::cli
