#include <cstdio>

#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "daemon/version.h"

int main(int argc, char** argv) {
  using namespace corten;  // NOLINT: the program's entry
  const Result<daemon::Options> options = daemon::ParseOptions({argv + 1, argv + argc});
  if (!options.ok()) {
    (void)fprintf(stderr, "cortend: %s\nRun 'cortend --help' for usage.\n", options.error().text().c_str());
    return 1;
  }
  if (options->version) {
    (void)printf("%s\n", daemon::VersionLine().c_str());
    return 0;
  }
  if (options->help) {
    (void)fputs(daemon::HelpText().c_str(), stdout);
    return 0;
  }
  if (!options->command.empty()) return daemon::RunCommand(*options);
  Result<daemon::Settings> settings = daemon::LoadSettings(*options);
  const Status ran = settings.ok() ? daemon::RunDaemon(*options, std::move(settings).value()) : Status(std::move(settings).TakeError());
  if (ran.ok()) return 0;
  (void)fprintf(stderr, "cortend: %s\n", ran.error().text().c_str());
  return 1;
}
