#include "base/failpoint.h"

#ifdef CORTEN_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
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

// One write: lines of several threads and processes do not mix.
void Append(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return;
  (void)!write(fd, text.data(), text.size());
  (void)close(fd);
}

// What CORTEN_KILL_FILE says, and how often its point has been passed since it says so.
class ArmedFile {
 public:
  explicit ArmedFile(const char* path) : path_(path) {}
  void Pass(const char* name);

 private:
  const char* const path_;
  std::mutex mutex_;  // guards what follows
  std::string armed_;
  uint64_t passages_ = 0;
};

void ArmedFile::Pass(const char* name) {
  char buffer[256];
  const int fd = open(path_, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? 0 : read(fd, buffer, sizeof(buffer));
  if (fd >= 0) (void)close(fd);
  const std::string_view text(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  const size_t at = text.find('@');
  const size_t space = text.find(' ', at);
  if (at == std::string_view::npos || space == std::string_view::npos) return;
  const std::lock_guard lock(mutex_);
  if (armed_ != text) {
    armed_ = text;
    passages_ = 0;
  }
  if (text.substr(0, at) != name) return;
  const pid_t pid = atoi(armed_.c_str() + space + 1);
  uint64_t passage = 0;
  if (pid <= 0 || !ParseU64(text.substr(at + 1, space - at - 1), &passage)) return;
  if (++passages_ != passage) return;
  Append(StrCat(path_, ".fired").c_str(), StrCat(name, "\n"));
  (void)kill(pid, SIGKILL);
}

}  // namespace

void PassFailpoint(const char* name) {
  static const Trigger kill_at = Parse("CORTEN_KILL_AT");
  static const char* log_path = getenv("CORTEN_FAILPOINT_LOG");
  static const char* kill_file = getenv("CORTEN_KILL_FILE");
  static std::atomic<uint64_t> passages{0};
  if (log_path != nullptr) Append(log_path, StrCat(name, "\n"));
  if (kill_file != nullptr) {
    static ArmedFile armed(kill_file);
    armed.Pass(name);
  }
  if (Hit(kill_at, passages, name)) (void)kill(getpid(), SIGKILL);
}

bool FailpointFails(const char* name) {
  static const Trigger fail_at = Parse("CORTEN_FAIL_AT");
  static std::atomic<uint64_t> passages{0};
  return Hit(fail_at, passages, name);
}

bool FailpointNotes() {
  static const bool noted = getenv("CORTEN_NOTES") != nullptr;
  return noted;
}

void FailpointNote(const char* name, std::string_view text) {
  const char* path = getenv("CORTEN_NOTES");
  if (path != nullptr) Append(path, StrCat(name, " ", text, "\n"));
}

bool FailpointSkips(const char* name) {
  static const char* skip = getenv("CORTEN_SKIP");
  return skip != nullptr && std::string_view(skip) == name;
}

}  // namespace corten::detail

#endif
