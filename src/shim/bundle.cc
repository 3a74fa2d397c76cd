#include "shim/bundle.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/dir.h"
#include "base/log.h"
#include "shim/json.h"

namespace corten::shim {

namespace {

constexpr size_t kMaxSpec = size_t{16} << 20;
constexpr size_t kMaxSmallFile = 64 << 10;
constexpr std::string_view kGroupAnnotations[] = {"io.containerd.runc.v2.group",
                                                  "io.kubernetes.cri.sandbox-id"};

// A file mapped for reading: a spec is looked at once, and a heap copy would stay in the shim's
// memory for ever.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path, size_t limit) {
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError(errno, "open ", path);
    struct stat info = {};
    if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "stat ", path);
    const auto size = static_cast<size_t>(info.st_size);
    if (size > limit) return InvalidArgumentError(path, ": larger than ", limit, " bytes");
    if (size == 0) return MappedFile(nullptr, 0);
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return ErrnoError(errno, "map ", path);
    return MappedFile(data, size);
  }
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile() {
    if (data_ != nullptr) (void)munmap(data_, size_);
  }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }

 private:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}
  void* data_;
  size_t size_;
};

void AddBool(std::string* json, std::string_view name, bool value) {
  if (value) *json += StrCat(json->size() > 1 ? "," : "", "\"", name, "\":true");
}
void AddNumber(std::string* json, std::string_view name, uint64_t value) {
  if (value != 0) *json += StrCat(json->size() > 1 ? "," : "", "\"", name, "\":", value);
}
void AddString(std::string* json, std::string_view name, std::string_view value) {
  if (!value.empty())
    *json += StrCat(json->size() > 1 ? "," : "", "\"", name, "\":", log::JsonString(value));
}

}  // namespace

Result<SpecFacts> ParseSpecFacts(std::string_view json) {
  const JsonView spec = TRY(JsonView::Parse(json));
  if (spec.kind() != JsonView::Kind::kObject) return InvalidArgumentError("not a JSON object");
  SpecFacts facts;
  facts.oci_version = spec.StringAt("ociVersion");
  if (const auto terminal = spec.Find("process", "terminal"))
    facts.terminal = terminal->Bool().value_or(false);
  if (const auto namespaces = spec.Find("linux", "namespaces")) {
    namespaces->ForEach([&](const JsonView& entry) {
      // With a path it joins somebody else's namespace.
      if (entry.StringAt("type") == "pid")
        facts.private_pid_namespace = entry.StringAt("path").empty();
      return true;
    });
  }
  if (const auto hooks = spec.Find("hooks", "poststop")) {
    hooks->ForEach([&](const JsonView&) {
      facts.poststop_hooks = true;
      return false;
    });
  }
  if (const auto annotations = spec.Find("annotations")) {
    for (const std::string_view name : kGroupAnnotations) {
      if (facts.group.empty()) facts.group = annotations->StringAt(name);
    }
  }
  return facts;
}

Result<SpecFacts> ReadSpecFacts(const std::string& bundle) {
  const MappedFile file = TRY(MappedFile::Open(StrCat(bundle, "/config.json"), kMaxSpec));
  return ParseSpecFacts(file.text()).Context("config.json");
}

Status WriteSettings(const std::string& bundle, const RuntimeSettings& settings) {
  const RuntimeSettings defaults;
  std::string json = "{";
  AddBool(&json, "no_pivot_root", settings.no_pivot_root);
  AddBool(&json, "no_new_keyring", settings.no_new_keyring);
  AddString(&json, "shim_cgroup", settings.shim_cgroup);
  AddNumber(&json, "io_uid", settings.io_uid);
  AddNumber(&json, "io_gid", settings.io_gid);
  AddString(&json, "binary_name", settings.binary == defaults.binary ? "" : settings.binary);
  AddString(&json, "root", settings.root == defaults.root ? "" : settings.root);
  AddBool(&json, "systemd_cgroup", settings.systemd_cgroup);
  json += "}";
  const Dir dir = TRY(Dir::Open(bundle));
  // The state directory does not outlive a reboot, so no fsync.
  TRY(ReplaceFile(dir, "options.json", json, 0600, FileReplacer::Durable::kNo));
  return ReplaceFile(dir, "runtime", settings.binary == defaults.binary ? "" : settings.binary,
                     0600, FileReplacer::Durable::kNo);
}

RuntimeSettings ReadSettings(const std::string& bundle) {
  RuntimeSettings out;
  const Result<std::string> text = ReadFileAt(StrCat(bundle, "/options.json"), kMaxSmallFile);
  if (text.ok()) {
    const Result<JsonView> json = JsonView::Parse(*text);
    if (json.ok()) {
      const auto flag = [&](std::string_view name) {
        const auto value = json->Find(name);
        return value.has_value() && value->Bool().value_or(false);
      };
      const auto number = [&](std::string_view name) {
        const auto value = json->Find(name);
        return static_cast<uint32_t>(value.has_value() ? value->Integer().value_or(0) : 0);
      };
      if (std::string root = json->StringAt("root"); !root.empty()) out.root = root;
      if (std::string binary = json->StringAt("binary_name"); !binary.empty()) out.binary = binary;
      out.systemd_cgroup = flag("systemd_cgroup");
      out.no_pivot_root = flag("no_pivot_root");
      out.no_new_keyring = flag("no_new_keyring");
      out.shim_cgroup = json->StringAt("shim_cgroup");
      out.io_uid = number("io_uid");
      out.io_gid = number("io_gid");
    }
  }
  const Result<std::string> binary = ReadFileAt(StrCat(bundle, "/runtime"), kMaxSmallFile);
  if (binary.ok() && !binary->empty()) out.binary = *binary;
  return out;
}

Result<pid_t> ReadPidFile(const std::string& path) {
  std::string text = TRY(ReadFileAt(path, 64));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  uint64_t pid = 0;
  if (!ParseU64(text, &pid) || pid == 0 || pid > INT32_MAX)
    return InvalidArgumentError("pid file ", path, ": ", Quoted(text));
  return static_cast<pid_t>(pid);
}

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace corten::shim
