#include "base/failpoint.h"

#ifdef CORTEN_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace corten::detail {

namespace {

struct Trigger {
  std::string_view name;
  uint64_t passage = 1;
};

Trigger Parse(const char* variable) {
  const char* value = getenv(variable);
  Trigger trigger;
  if (value == nullptr) return trigger;
  trigger.name = value;
  const size_t at = trigger.name.rfind('@');
  if (at != std::string_view::npos) {
    CHECK(ParseU64(trigger.name.substr(at + 1), &trigger.passage));
    trigger.name = trigger.name.substr(0, at);
  }
  return trigger;
}

bool Hit(const Trigger& trigger, std::atomic<uint64_t>& passages, const char* name) {
  return !trigger.name.empty() && trigger.name == name &&
         passages.fetch_add(1) + 1 == trigger.passage;
}

}  // namespace

void PassFailpoint(const char* name) {
  static const Trigger kill_at = Parse("CORTEN_KILL_AT");
  static const char* log_path = getenv("CORTEN_FAILPOINT_LOG");
  static std::atomic<uint64_t> passages{0};
  if (log_path != nullptr) {
    const std::string line = StrCat(name, "\n");
    const int fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
      (void)!write(fd, line.data(), line.size());
      (void)close(fd);
    }
  }
  if (Hit(kill_at, passages, name)) (void)kill(getpid(), SIGKILL);
}

bool FailpointFails(const char* name) {
  static const Trigger fail_at = Parse("CORTEN_FAIL_AT");
  static std::atomic<uint64_t> passages{0};
  return Hit(fail_at, passages, name);
}

}  // namespace corten::detail

#endif
