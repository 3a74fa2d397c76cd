// The program that snapshot_crash_test kills: one journey through the overlay driver, telling on
// standard output what it has been promised. Usage: snapshot_crash_journey ROOT [sync]. It can be
// run again on the same root. `sync`: commits flush what was written into the tree.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/dir.h"
#include "snapshot/overlay/overlay.h"

namespace corten::snapshot {
namespace {

// What stands there was answered by the driver before the kill; write(2) is not undone by it.
void Tell(const std::string& line) {
  const std::string text = line + "\n";
  if (write(1, text.data(), text.size()) != static_cast<ssize_t>(text.size())) abort();
}

// A key that an earlier run left has to go first.
Status Fresh(Driver& driver, const std::string& key) {
  const Status removed = driver.Remove(key);
  if (!removed.ok() && !removed.error().Is(Code::kNotFound)) return removed.error().Clone();
  return Ok();
}

Status Layer(Driver& driver, const std::string& name, const std::string& parent) {
  if (driver.Stat(name).ok()) return Ok();  // made by an earlier run
  const std::string key = "making-" + name;
  TRY(Fresh(driver, key));
  const std::vector<model::Mount> mounts = TRY(driver.Prepare(key, parent, {}));
  Tell("made " + key);
  const std::string upper =
      parent.empty() ? mounts[0].source : mounts[0].options[1].substr(sizeof("upperdir=") - 1);
  const Dir dir = TRY(Dir::Open(upper));
  TRY(ReplaceFile(dir, "file", name, 0644));
  Tell("gone " + key);
  TRY(driver.Commit(name, key, {}));
  Tell("made " + name);
  return Ok();
}

// A layer and what stands on it, in one call.
Status RemoveTwo(Driver& driver) {
  TRY(Layer(driver, "under", ""));
  TRY(Fresh(driver, "upon"));
  TRY(driver.View("upon", "under", {}));
  Tell("gone under");
  for (const Status& removed : driver.RemoveMany({"upon", "under"})) {
    if (!removed.ok()) return Status(removed.error().Clone());
  }
  Tell("removed upon");
  Tell("removed under");
  return driver.Cleanup();
}

Status Journey(const std::string& root, bool sync) {
  overlay::Config config;
  config.sync_commit = sync;
  config.root = root;
  const std::unique_ptr<Driver> driver = TRY(overlay::Open(config));
  TRY(Layer(*driver, "base", ""));
  TRY(Layer(*driver, "middle", "base"));
  TRY(Fresh(*driver, "view"));
  TRY(driver->View("view", "middle", {}));
  Tell("made view");
  TRY(Fresh(*driver, "container"));
  TRY(driver->Prepare("container", "middle", {}));
  Tell("made container");
  Tell("gone view");
  TRY(driver->Remove("view"));
  Tell("removed view");
  TRY(driver->Cleanup());
  TRY(RemoveTwo(*driver));
  TRY(Layer(*driver, "top", "middle"));
  TRY(driver->Cleanup());
  return Ok();
}

}  // namespace
}  // namespace corten::snapshot

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  const corten::Status done = corten::snapshot::Journey(argv[1], argc == 3);
  if (done.ok()) return 0;
  fprintf(stderr, "%s\n", done.error().text().c_str());
  return 1;
}
