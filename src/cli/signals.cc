#include "cli/signals.h"

#include <signal.h>

#include <string>

namespace corten::cli {

namespace {

struct SignalName {
  const char* name;
  int number;
};
constexpr SignalName kSignals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},     {"QUIT", SIGQUIT}, {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT},   {"IOT", SIGIOT},   {"BUS", SIGBUS},
    {"FPE", SIGFPE},       {"KILL", SIGKILL},   {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2},     {"PIPE", SIGPIPE},   {"ALRM", SIGALRM}, {"TERM", SIGTERM},
    {"STKFLT", SIGSTKFLT}, {"CHLD", SIGCHLD},   {"CLD", SIGCHLD},  {"CONT", SIGCONT},
    {"STOP", SIGSTOP},     {"TSTP", SIGTSTP},   {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},
    {"URG", SIGURG},       {"XCPU", SIGXCPU},   {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM},
    {"PROF", SIGPROF},     {"WINCH", SIGWINCH}, {"IO", SIGIO},     {"POLL", SIGPOLL},
    {"PWR", SIGPWR},       {"SYS", SIGSYS}};
// Of the kernel's numbering, which the C library narrows for itself.
constexpr int kRealTimeMin = 34;
constexpr int kRealTimeMax = 64;

}  // namespace

Result<uint32_t> ParseSignal(std::string_view text) {
  const Error unknown = InvalidArgumentError("unknown signal ", Quoted(text));
  uint64_t number = 0;
  if (ParseU64(text, &number)) {
    if (number == 0 || number > kRealTimeMax) return unknown.Clone();
    return static_cast<uint32_t>(number);
  }
  std::string name(text);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (const SignalName& signal : kSignals) {
    if (name == signal.name) return static_cast<uint32_t>(signal.number);
  }
  const bool from_min = name.starts_with("RTMIN");
  if (!from_min && !name.starts_with("RTMAX")) return unknown.Clone();
  const std::string rest = name.substr(5);
  if (!rest.empty() && (rest[0] != (from_min ? '+' : '-') || !ParseU64(rest.substr(1), &number) ||
                        number > kRealTimeMax - kRealTimeMin))
    return unknown.Clone();
  const int offset = rest.empty() ? 0 : static_cast<int>(number);
  return static_cast<uint32_t>(from_min ? kRealTimeMin + offset : kRealTimeMax - offset);
}

}  // namespace corten::cli
