// The shim: a small process that never dies before its containers.
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/build_version.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/arguments.h"
#include "shim/commands.h"
#include "shim/footprint.h"
#include "shim/server.h"

namespace corten::shim {
namespace {

Status PrintVersion(std::string_view program) {
  const std::string text =
      StrCat(program, ":\n  Version:  ", BuildVersion(), "\n  Revision: ", BuildRevision(), "\n");
  return WriteAll(FdRef(STDOUT_FILENO), text, "standard output");
}

Status Main(std::string_view program, const std::vector<std::string_view>& words) {
  const Arguments arguments = TRY(ParseArguments(words));
  if (arguments.debug) log::SetLevel(log::Level::kDebug);
  switch (arguments.action) {
    case Action::kServe:
      return Serve(arguments);
    case Action::kStart:
      return RunStart(arguments);
    case Action::kDelete:
      return RunDelete(arguments);
    case Action::kInfo:
      return RunInfo();
    case Action::kVersion:
      return PrintVersion(program);
    case Action::kMount:
      return RunMount(arguments);
    case Action::kUnmount:
      return RunUnmount(arguments);
  }
  return InternalError("action without code");
}

}  // namespace
}  // namespace corten::shim

int main(int argc, char** argv) {
  corten::shim::TuneAllocator();
  (void)umask(0022);
  const std::string_view path = argc > 0 ? argv[0] : "containerd-shim-runc-v2";
  const std::string_view program = path.substr(path.rfind('/') + 1);
  const std::vector<std::string_view> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const corten::Status status = corten::shim::Main(program, words);
  if (status.ok()) return 0;
  // By the name of the runtime, not of the program: daemons show it to users.
  const std::string text = corten::StrCat(corten::shim::kRuntimeName, ": ", status.error().text());
  (void)!write(STDERR_FILENO, text.data(), text.size());  // nobody to tell otherwise
  return 1;
}
