#include "daemon/stacks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/dir.h"
#include "base/log.h"

namespace corten::daemon {

namespace {

std::string FirstLine(const std::string& path) {
  Result<std::string> text = ReadFileAt(path, 65536);
  if (!text.ok()) return "";
  return text->substr(0, text->find('\n'));
}

}  // namespace

void DumpStacks() {
  std::string text = "=== BEGIN goroutine stack dump ===\n";
  const Result<Dir> tasks = Dir::Open("/proc/self/task");
  if (tasks.ok()) {
    std::vector<std::string> ids =
        tasks->List().ok() ? tasks->List().value() : std::vector<std::string>();
    std::sort(ids.begin(), ids.end());
    for (const std::string& id : ids) {
      const std::string base = StrCat("/proc/self/task/", id);
      text += StrCat("thread ", id, " ", FirstLine(base + "/comm"), ": wchan ",
                     FirstLine(base + "/wchan"), ", syscall ", FirstLine(base + "/syscall"), "\n");
    }
  }
  text += "=== END goroutine stack dump ===";
  log::Info(text);
  const char* temp = getenv("TMPDIR");
  const Result<Dir> dir = Dir::Open(temp != nullptr && temp[0] != 0 ? temp : "/tmp");
  if (!dir.ok()) return;
  const Status written = ReplaceFile(*dir, StrCat("cortend.", getpid(), ".stacks.log"), text + "\n",
                                     0600, FileReplacer::Durable::kNo);
  if (!written.ok())
    log::Warn("failed to write the stack dump", {{"error", written.error().text()}});
}

}  // namespace corten::daemon
