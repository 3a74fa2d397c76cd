#include <cstdio>
#include <string>

#include "base/build_version.h"
#include "base/strcat.h"
#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "daemon/options.h"

int main(int argc, char** argv) {
  const corten::Result<corten::daemon::Options> options =
      corten::daemon::ParseOptions({argv + 1, argv + argc});
  if (!options.ok()) {
    (void)fprintf(stderr, "cortend: %s\nRun 'cortend --help' for usage.\n",
                  options.error().text().c_str());
    return 1;
  }
  if (options->version) {
    // Four fields; clients parse the third.
    const std::string line =
        corten::StrCat("cortend corten ", corten::BuildVersion(), " ", corten::BuildRevision());
    (void)printf("%s\n", line.c_str());
    return 0;
  }
  if (options->help) {
    (void)fputs(corten::daemon::HelpText().c_str(), stdout);
    return 0;
  }
  if (!options->command.empty()) return corten::daemon::RunCommand(*options);
  corten::Result<corten::daemon::Settings> settings = corten::daemon::LoadSettings(*options);
  const corten::Status ran = settings.ok()
                                 ? corten::daemon::RunDaemon(*options, std::move(settings).value())
                                 : corten::Status(std::move(settings).TakeError());
  if (ran.ok()) return 0;
  (void)fprintf(stderr, "cortend: %s\n", ran.error().text().c_str());
  return 1;
}
