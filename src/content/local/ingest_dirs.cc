#include "content/local/ingest_dirs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/failpoint.h"
#include "base/sha256.h"

namespace corten::content {

namespace {
constexpr mode_t kDirMode = 0755;
constexpr mode_t kFileMode = 0644;  // before umask
constexpr mode_t kBlobMode = 0444;
constexpr size_t kMaxRef =
    1
    << 20;  // bytes; refs come from clients whose messages are at most 16 MiB, real ones are short
constexpr size_t kMaxTime = 64;
constexpr std::string_view kTempPrefix = ".tmp-";

Status WriteSmall(const Dir& dir, const std::string& name, std::string_view text) {
  const Fd fd = TRY(dir.OpenFile(name, O_WRONLY | O_CREAT | O_TRUNC, kFileMode));
  return WriteAll(fd, text, dir.Path(name));
}

// Within one directory a rename is atomic, and a reader of the old file keeps it.
Status ReplaceSmall(const Dir& dir, const std::string& name, std::string_view text) {
  TRY(WriteSmall(dir, StrCat(kTempPrefix, name), text));
  return dir.Rename(StrCat(kTempPrefix, name), name);
}
}  // namespace

Status GiveName(FdRef file, const Dir& dir, const std::string& name) {
  if (linkat(file.get(), "", dir.fd().get(), name.c_str(), AT_EMPTY_PATH) == 0) return Ok();
  if (errno == EEXIST) return ErrnoError(errno, "link ", dir.Path(name));
  // Before kernel 6.10 the empty path needs CAP_DAC_READ_SEARCH.
  const std::string link = StrCat("/proc/self/fd/", file.get());
  if (linkat(AT_FDCWD, link.c_str(), dir.fd().get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0)
    return Ok();
  return ErrnoError(errno, "link ", dir.Path(name));
}

Result<std::unique_ptr<IngestDirs>> IngestDirs::Open(const Dir& root) {
  Dir dir = TRY(root.MakeDir("ingest", kDirMode));
  auto dirs = std::unique_ptr<IngestDirs>(new IngestDirs(std::move(dir)));
  TRY(dirs->Sweep());
  return dirs;
}

Status IngestDirs::Sweep() {
  const std::vector<std::string> names = TRY(dir_.List());
  for (const std::string& name : names) {
    bool keep = !name.starts_with(kTempPrefix);
    if (keep) {
      const Result<std::string> ref = dir_.ReadFile(StrCat(name, "/ref"), kMaxRef);
      if (!ref.ok() && ref.error().code() != Code::kNotFound && ref.error().sys_errno() != ENOTDIR)
        return ref.error().Clone();
      keep = ref.ok() && NameOf(*ref) == name && dir_.Exists(StrCat(name, "/data"));
    }
    if (!keep) TRY(dir_.RemoveTree(name));
  }
  return Ok();
}

std::string IngestDirs::NameOf(std::string_view ref) { return SmallSha256Hex(ref); }

std::string IngestDirs::TempName() {
  return StrCat(kTempPrefix, getpid(), "-", temp_names_.fetch_add(1));
}

Result<Fd> IngestDirs::CreateHidden() const {
  const int fd = openat(dir_.fd().get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kBlobMode);
  if (fd >= 0) return Fd(fd);
  if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)
    return UnimplementedError("files without a name in ", dir_.path());
  return ErrnoError(errno, "create a file in ", dir_.path());
}

Result<Fd> IngestDirs::Create(const std::string& name, const StoredIngest& ingest,
                              std::optional<FdRef> hidden) {
  const std::string temp = TempName();
  const auto fill = [&]() -> Result<Fd> {
    const Dir dir = TRY(dir_.MakeDir(temp, kDirMode));
    TRY(WriteSmall(dir, "ref", ingest.ref));
    TRY(WriteSmall(dir, "startedat", FormatRfc3339(ingest.started_at)));
    TRY(WriteSmall(dir, "updatedat", FormatRfc3339(ingest.updated_at)));
    if (ingest.total > 0) TRY(WriteSmall(dir, "total", StrCat(ingest.total)));
    Fd data;
    if (hidden.has_value()) {
      const struct stat like = TRY(dir.Stat("ref"));  // tells the mode after umask
      if (fchmod(hidden->get(), like.st_mode & 07777) != 0)
        return ErrnoError(errno, "set mode of ", DataPath(name));
      TRY(GiveName(*hidden, dir, "data"));
      const int copy = fcntl(hidden->get(), F_DUPFD_CLOEXEC, 0);
      if (copy < 0) return ErrnoError(errno, "open ", DataPath(name));
      data = Fd(copy);
    } else {
      data = TRY(dir.OpenFile("data", O_RDWR | O_CREAT | O_EXCL, kFileMode));
    }
    FAILPOINT("content.ingest.filled");
    if (renameat(dir_.fd().get(), temp.c_str(), dir_.fd().get(), name.c_str()) != 0) {
      if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        return ErrnoError(errno, "create ", dir_.Path(name));
      TRY(Remove(name));
      TRY(dir_.Rename(temp, name));
    }
    FAILPOINT("content.ingest.named");
    return data;
  };
  Result<Fd> made = fill();
  if (!made.ok()) (void)dir_.RemoveTree(temp);  // otherwise Open sweeps it
  return made;
}

Result<std::optional<StoredIngest>> IngestDirs::Load(const std::string& name) const {
  const std::optional<StoredIngest> none;
  Result<Dir> opened = dir_.OpenDir(name);
  if (!opened.ok()) {
    if (opened.error().Is(Code::kNotFound) || opened.error().sys_errno() == ENOTDIR) return none;
    return std::move(opened).TakeError();
  }
  const Dir& dir = *opened;
  Result<std::string> ref = dir.ReadFile("ref", kMaxRef);
  const Result<std::string> started = dir.ReadFile("startedat", kMaxTime);
  const Result<std::string> updated = dir.ReadFile("updatedat", kMaxTime);
  const Result<struct stat> data = dir.Stat("data");
  if (!ref.ok() || !started.ok() || !updated.ok() || !data.ok() || NameOf(*ref) != name)
    return none;
  const Result<Time> started_at = ParseRfc3339(*started);
  const Result<Time> updated_at = ParseRfc3339(*updated);
  if (!started_at.ok() || !updated_at.ok()) return none;
  StoredIngest ingest;
  ingest.ref = std::move(ref).value();
  ingest.size = data->st_size;
  ingest.started_at = *started_at;
  const Time written = {data->st_mtim.tv_sec, static_cast<int32_t>(data->st_mtim.tv_nsec)};
  ingest.updated_at = std::max(*updated_at, written);
  const Result<std::string> total = dir.ReadFile("total", kMaxTime);
  uint64_t value = 0;
  if (total.ok() && ParseU64(*total, &value) && value <= INT64_MAX)
    ingest.total = static_cast<int64_t>(value);
  return std::optional<StoredIngest>(std::move(ingest));
}

Result<Fd> IngestDirs::OpenData(const std::string& name) const {
  return dir_.OpenFile(StrCat(name, "/data"), O_RDWR | O_NOFOLLOW);
}

Status IngestDirs::MoveData(const std::string& name, const Dir& target,
                            const std::string& file) const {
  const std::string from = StrCat(name, "/data");
  if (renameat2(dir_.fd().get(), from.c_str(), target.fd().get(), file.c_str(), RENAME_NOREPLACE) ==
      0)
    return Ok();
  if (errno != EINVAL) return ErrnoError(errno, "rename ", DataPath(name));
  // The filesystem cannot refuse to replace. Replacing a blob by the same bytes harms nobody:
  // readers keep the old file.
  return dir_.RenameTo(from, target, file);
}

Status IngestDirs::StoreUpdated(const std::string& name, Time time) const {
  const Dir dir = TRY(dir_.OpenDir(name));
  return ReplaceSmall(dir, "updatedat", FormatRfc3339(time));
}

Status IngestDirs::StoreTotal(const std::string& name, int64_t total) const {
  const Dir dir = TRY(dir_.OpenDir(name));
  return ReplaceSmall(dir, "total", StrCat(total));
}

Status IngestDirs::Remove(const std::string& name) {
  const std::string temp = TempName();
  if (renameat(dir_.fd().get(), name.c_str(), dir_.fd().get(), temp.c_str()) != 0) {
    if (errno == ENOENT) return Ok();
    return ErrnoError(errno, "remove ", dir_.Path(name));
  }
  FAILPOINT("content.ingest.unnamed");
  return dir_.RemoveTree(temp);
}

Result<std::vector<std::string>> IngestDirs::List() const {
  std::vector<std::string> names = TRY(dir_.List());
  std::erase_if(names, [](const std::string& name) { return name.starts_with(kTempPrefix); });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace corten::content
