// Any bytes as config.toml, of every version: an error or a configuration; what `config migrate`
// prints of it is a file of the newest version that says the same again.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/strcat.h"
#include "daemon/config.h"
#include "daemon/config_toml.h"
#include "plugin/config_table.h"

namespace corten::daemon {
namespace {

constexpr size_t kMaxInput = size_t{16} << 10;

// A field of every kind that a plugin can have.
struct Settings {
  bool flag = true;
  int64_t number = 7;
  double ratio = 0.5;
  std::string text = "default";
  std::vector<std::string> list = {"a"};
  plugin::Duration duration{.nanos = 1000000};
};

plugin::Descriptor WithSettings(const char* type, const char* id) {
  plugin::Descriptor descriptor;
  descriptor.type = type;
  descriptor.id = id;
  return plugin::WithConfig<Settings>(std::move(descriptor),
                                      [](Settings& settings, plugin::ConfigTable& table) {
                                        table.Add("flag", &settings.flag)
                                            .Add("uid", &settings.number)
                                            .Add("ratio", &settings.ratio)
                                            .Add("address", &settings.text)
                                            .Add("env", &settings.list)
                                            .Add("wait", &settings.duration);
                                      });
}

std::vector<plugin::Descriptor> Plugins() {
  std::vector<plugin::Descriptor> list;
  list.push_back(WithSettings("io.containerd.server.v1", "grpc"));
  list.push_back(WithSettings("io.containerd.server.v1", "ttrpc"));
  list.push_back(WithSettings("io.containerd.cri.v1", "images"));
  list.push_back(WithSettings("io.containerd.cri.v1", "runtime"));
  list.push_back(WithSettings("io.containerd.shim.v1", "manager"));
  return list;
}

// A file without a name in a directory: what it imports is not the fuzzer's to read.
class TextFile {
 public:
  explicit TextFile(std::string_view text) : fd_(memfd_create("config.toml", MFD_CLOEXEC)) {
    CHECK(fd_ >= 0);
    CHECK(write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile() { (void)close(fd_); }
  std::string path() const { return StrCat("/proc/self/fd/", fd_); }

 private:
  int fd_;
};

bool Imports(const std::string& path) {
  Result<ConfigFile> file = ReadConfigFile(path);
  if (!file.ok()) return false;
  std::vector<ConfigWarning> warnings;
  MigrateConfig(*file, warnings);
  const toml::array* imports = file->tree["imports"].as_array();
  return imports != nullptr && !imports->empty();
}

// nullopt: refused.
std::optional<std::string> Migrated(std::string_view text) {
  const TextFile file(text);
  if (Imports(file.path())) return std::nullopt;
  Result<Config> config = LoadConfig(file.path(), /*may_be_missing=*/false);
  if (!config.ok()) {
    CHECK(config.error().Is(Code::kInvalidArgument));
    return std::nullopt;
  }
  for (const auto& [key, unused] : config->timeouts) (void)config->TimeoutNanos(key);
  std::vector<plugin::Descriptor> plugins = Plugins();
  const Status applied = ApplyPluginTables(*config, plugins);
  if (!applied.ok()) {
    CHECK(applied.error().Is(Code::kInvalidArgument));
    return std::nullopt;
  }
  config->imports.clear();
  return PrintConfig(*config, plugins);
}

void TryInput(std::string_view text) {
  const std::optional<std::string> once = Migrated(text);
  if (!once.has_value()) return;
  const std::optional<std::string> again = Migrated(*once);
  CHECK(again.has_value());
  CHECK(*again == *once);
}

}  // namespace
}  // namespace corten::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size <= corten::daemon::kMaxInput)
    corten::daemon::TryInput({reinterpret_cast<const char*>(data), size});
  return 0;
}
