// images mount, unmount: an image as a tree on this machine.
#include "base/clock.h"
#include "cli/held_lease.h"
#include "cli/image_journeys.h"
#include "cli/image_verbs.h"
#include "cli/registry_flags.h"
#include "cli/verbs.h"
#include "os/mount.h"

namespace corten::cli {

namespace {

// The mounts of the snapshot called as the target: made, or there from before.
Result<std::vector<model::Mount>> MountsFor(snapshot::Snapshotter& snapshots,
                                            const std::string& key, const std::string& parent,
                                            bool writable) {
  Result<std::vector<model::Mount>> mounts =
      writable ? snapshots.Prepare(key, parent, {}) : snapshots.View(key, parent, {});
  if (!mounts.ok() && mounts.error().Is(Code::kAlreadyExists)) return snapshots.Mounts(key);
  return mounts;
}

// "[{overlay overlay  [lowerdir=/a:/b]}]".
std::string MountsText(const std::vector<model::Mount>& mounts) {
  std::string out;
  for (const model::Mount& mount : mounts) {
    std::string options;
    for (const std::string& option : mount.options)
      options += StrCat(options.empty() ? "" : " ", option);
    out += StrCat(out.empty() ? "" : " ", "{", mount.type, " ", mount.source, " ", mount.target,
                  " [", options, "]}");
  }
  return StrCat("[", out, "]");
}

Result<int> Mount(Session& session, const Values& values) {
  const std::string reference = values.Arg(0);
  const std::string target = values.Arg(1);
  if (reference.empty()) return UnknownError("please provide an image reference to mount");
  const std::string snapshotter = TRY(session.SnapshotterName(values));
  const model::Platform platform =
      TRY(model::ParsePlatform(values.Text("platform")).Context("unable to parse platform"));
  const std::string key = target.empty() ? UniqueName("ctr-images-mount") : target;
  LeaseWishes wishes;
  wishes.id = model::LeaseId(key);
  wishes.life_nanos = values.Nanos("expiration");
  Result<std::unique_ptr<HeldLease>> lease = HeldLease::Take(session, std::move(wishes));
  if (!lease.ok() && !lease.error().Is(Code::kAlreadyExists)) return std::move(lease).TakeError();
  const model::Scope scope = {session.ns(), model::LeaseId(key)};

  const metadata::Image image = TRY(session.images().Get(session.ns(), reference));
  const std::unique_ptr<content::Store> content = session.stores().Content(scope);
  const ImageParts parts =
      TRY(PartsOf(*content, image.target, platform).Context("error unpacking image"));
  const std::string chain =
      TRY(UnpackParts(session, scope, parts, snapshotter, values.Bool("sync-fs"))
              .Context("error unpacking image"));
  PrintLine(chain);
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session.stores().Snapshots(scope, snapshotter));
  const std::vector<model::Mount> mounts =
      TRY(MountsFor(*snapshots, key, chain, values.Bool("rw")));
  if (target.empty()) {
    if (mounts.size() != 1 || mounts[0].type != "bind") {
      (void)snapshots->Remove(key);  // nobody could use it
      return UnknownError("cannot handle returned mounts: ", MountsText(mounts));
    }
    if (lease.ok()) (*lease)->Keep();
    PrintLine(mounts[0].source);
    return 0;
  }
  const Status mounted = os::MountList(mounts, target);
  if (!mounted.ok()) {
    (void)snapshots->Remove(key);  // the error of the mount is the one to tell
    return mounted.error().Clone().Context(StrCat("failed to mount ", MountsText(mounts)));
  }
  if (lease.ok()) (*lease)->Keep();
  PrintLine(target);
  return 0;
}

Result<int> Unmount(Session& session, const Values& values) {
  const std::string target = values.Arg(0);
  if (target.empty()) return UnknownError("please provide a target path to unmount from");
  TRY(os::UnmountAll(target, 0));
  if (values.Bool("rm")) {
    const std::unique_ptr<snapshot::Snapshotter> snapshots = TRY(session.Snapshots(values));
    const Status removed = snapshots->Remove(target);
    if (!removed.ok() && !removed.error().Is(Code::kNotFound))
      return removed.error().Clone().Context("error removing snapshot");
    const Status released =
        session.leases().Delete(session.ns(), model::LeaseId(target), /*synchronous=*/false);
    if (!released.ok() && !released.error().Is(Code::kNotFound))
      return released.error().Clone().Context("error deleting lease");
  }
  PrintLine(target);
  return 0;
}

}  // namespace

Command ImagesMountCommand() {
  Command command;
  command.names = {"mount"};
  command.summary = "mount an image to a target path";
  command.arguments = "[flags] <ref> [<target>]";
  command.flags = RegistryFlags();
  const std::vector<Flag> own = {
      SnapshotterFlag(),
      ListFlag({"label"}, "labels to attach to the image"),
      BoolFlag({"rw"}, "Enable write support on the mount"),
      TextFlag({"platform"}, "Mount the image for the specified platform",
               model::FormatPlatform(model::HostPlatform())),
      BoolFlag({"sync-fs"},
               "Synchronize the underlying filesystem containing files when unpack images, false "
               "by default"),
      DurationFlag({"expiration", "x"}, "Expiration of the mount's lease, 0 for none", "1h0m0s")};
  command.flags.insert(command.flags.end(), own.begin(), own.end());
  command.action = Connected(&Mount);
  return command;
}

Command ImagesUnmountCommand() {
  Command command;
  command.names = {"unmount"};
  command.summary = "unmount the image from the target";
  command.arguments = "[flags] <target>";
  command.flags = RegistryFlags();
  const std::vector<Flag> own = {
      SnapshotterFlag(), ListFlag({"label"}, "labels to attach to the image"),
      BoolFlag({"rm"}, "Remove the snapshot after a successful unmount")};
  command.flags.insert(command.flags.end(), own.begin(), own.end());
  command.action = Connected(&Unmount);
  return command;
}

}  // namespace corten::cli
