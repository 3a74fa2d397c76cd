#include "oci/environment.h"

#include <algorithm>

#include "base/dir.h"

namespace corten::oci {

namespace {
constexpr size_t kMaxEnvFile = 1 << 20;  // bytes; a kernel takes at most 6 MiB of strings
}

void MergeEnv(std::vector<std::string>& env, const std::vector<std::string>& over) {
  std::vector<std::string> added;
  for (const std::string& entry : over) {
    const size_t equals = entry.find('=');
    const std::string name = StrCat(entry.substr(0, equals), "=");
    const auto same = std::find_if(env.begin(), env.end(),
                                   [&](const std::string& old) { return old.starts_with(name); });
    if (equals == std::string::npos) {
      if (same != env.end()) env.erase(same);
    } else if (same != env.end()) {
      *same = entry;
    } else {
      added.push_back(entry);
    }
  }
  env.insert(env.end(), added.begin(), added.end());
}

Result<std::vector<std::string>> ReadEnvFile(const std::string& path) {
  const std::string text = TRY(ReadFileAt(path, kMaxEnvFile));
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    out.push_back(std::move(line));
    at = end + 1;
  }
  return out;
}

}  // namespace corten::oci
