#include "cli/container_flags.h"

#include "cli/verbs.h"

namespace corten::cli {

std::vector<Flag> RuntimeFlags() {
  return {TextFlag({"runtime"}, "runtime name or absolute path to runtime binary",
                   "io.containerd.runc.v2"),
          TextFlag({"runtime-config-path"}, "optional runtime config path"),
          TextFlag({"runc-binary"}, "specify runc-compatible binary"),
          TextFlag({"runc-root"}, "specify runc-compatible root"),
          BoolFlag({"runc-systemd-cgroup"}, "start runc with systemd cgroup manager")};
}

std::vector<Flag> ContainerFlags() {
  std::vector<Flag> flags = {
      SnapshotterFlag(),
      ListFlag({"snapshotter-label"}, "labels added to the new snapshot for this container."),
      TextFlag({"config", "c"}, "path to the runtime-specific spec config file"),
      TextFlag({"cwd"}, "specify the working directory of the process"),
      ListFlag({"env"}, "specify additional container environment variables (e.g. FOO=bar)"),
      TextFlag({"env-file"},
               "specify additional container environment variables in a file(e.g. FOO=bar, one per "
               "line)"),
      ListFlag({"label"}, "specify additional labels (e.g. foo=bar)"),
      ListFlag({"annotation"}, "specify additional OCI annotations (e.g. foo=bar)"),
      ListFlag({"mount"},
               "specify additional container mount (e.g. "
               "type=bind,src=/tmp,dst=/host,options=rbind:ro)"),
      BoolFlag({"net-host"}, "enable host networking for the container"),
      BoolFlag({"privileged"}, "run privileged container"),
      BoolFlag({"read-only"}, "set the containers filesystem as readonly"),
      TextFlag({"sandbox"}, "create the container in the given sandbox"),
      BoolFlag({"tty", "t"}, "allocate a TTY for the container"),
      ListFlag({"with-ns"},
               "specify existing Linux namespaces to join at container runtime (format "
               "'<nstype>:<path>')"),
      TextFlag({"pid-file"}, "file path to write the task's pid"),
      ListFlag({"gpus"}, "add gpus to the container"),
      BoolFlag({"allow-new-privs"}, "turn off OCI spec's NoNewPrivileges feature flag"),
      UnsignedFlag({"memory-limit"}, "memory limit (in bytes) for the container"),
      ListFlag({"cap-add"}, "add Linux capabilities (Set capabilities with 'CAP_' prefix)"),
      ListFlag({"cap-drop"}, "drop Linux capabilities (Set capabilities with 'CAP_' prefix)"),
      BoolFlag({"seccomp"}, "enable the default seccomp profile"),
      TextFlag({"seccomp-profile"},
               "file path to custom seccomp profile. seccomp must be set to true, before using "
               "seccomp-profile"),
      TextFlag({"apparmor-default-profile"},
               "enable AppArmor with the default profile with the specified name, e.g. "
               "\"cri-containerd.apparmor.d\""),
      TextFlag({"apparmor-profile"}, "enable AppArmor with an existing custom profile"),
      TextFlag({"blockio-config-file"}, "file path to blockio class definitions"),
      TextFlag({"blockio-class"}, "name of the blockio class to associate the container with"),
      TextFlag({"rdt-class"}, "name of the RDT class to associate the container with"),
      TextFlag({"hostname"}, "set the container's host name"),
      TextFlag({"user", "u"},
               "username or user id, group optional (format: <name|uid>[:<group|gid>])"),
      BoolFlag({"rootfs"}, "use custom rootfs that is not managed by containerd snapshotter"),
      BoolFlag({"no-pivot"}, "disable use of pivot-root (linux only)"),
      IntFlag({"cpu-quota"}, "limit CPU CFS quota", "-1"),
      UnsignedFlag({"cpu-period"}, "limit CPU CFS period", "0"),
      TextFlag({"rootfs-propagation"}, "set the propagation of the container rootfs"),
      ListFlag({"device"},
               "file path to a device to add to the container; or a path to a directory tree of "
               "devices to add to the container")};
  const std::vector<Flag> runtime = RuntimeFlags();
  flags.insert(flags.end(), runtime.begin(), runtime.end());
  return flags;
}

std::vector<Flag> RunFlags() {
  return {BoolFlag({"rm"}, "remove the container after running, cannot be used with --detach"),
          BoolFlag({"null-io"}, "send all IO to /dev/null"),
          TextFlag({"log-uri"}, "log uri"),
          BoolFlag({"detach", "d"},
                   "detach from the task after it has started execution, cannot be used with --rm"),
          TextFlag({"fifo-dir"}, "directory used for storing IO FIFOs"),
          TextFlag({"cgroup"}, "cgroup path (To disable use of cgroup, set to \"\" explicitly)"),
          TextFlag({"platform"}, "run image for specific platform"),
          BoolFlag({"cni"}, "enable cni networking for the container"),
          BoolFlag({"sync-fs"},
                   "Synchronize the underlying filesystem containing files when unpack images, "
                   "false by default"),
          TextFlag({"dump-config"}, "dump the container spec into a file"),
          ListFlag({"uidmap"},
                   "run inside a user namespace with the specified UID mapping ranges; specified "
                   "with the format `container-uid:host-uid:length`"),
          ListFlag({"gidmap"},
                   "run inside a user namespace with the specified GID mapping ranges; specified "
                   "with the format `container-gid:host-gid:length`"),
          BoolFlag({"remap-labels"},
                   "provide the user namespace ID remapping to the snapshotter via label options; "
                   "requires snapshotter support"),
          BoolFlag({"privileged-without-host-devices"},
                   "don't pass all host devices to privileged container"),
          FloatFlag({"cpus"}, "set the CFS cpu quota"),
          IntFlag({"cpu-shares"}, "set the cpu shares", "1024"),
          TextFlag({"cpuset-cpus"}, "set the CPUs the container will run in (e.g., 1-2,4)"),
          TextFlag({"cpuset-mems"}, "set the memory nodes the container will run in (e.g., 1-2,4)"),
          TextFlag({"rlimit-nofile"}, "set RLIMIT_NOFILE (soft limit[:hard limit])")};
}

}  // namespace corten::cli
