// Device nodes of this machine as entries of a specification. Functions that look at /dev; any
// thread; what vanishes while they look is left out. Source: OCI runtime specification,
// config-linux.md; containerd 2.3's choice of host devices.
#pragma once

#include <string>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

// The resource rules that let a container use the usual nodes (null, zero, full, random, urandom,
// tty, console, pty ends, ptmx) and nothing else.
Json DefaultDeviceRules();

// A node as an entry of `linux.devices`. kInvalidArgument: not a device; others by errno.
Result<Json> DeviceEntry(const std::string& path);

// Every device node below `directory`, without ttys of others: pts, shm, fd, mqueue, .lxc,
// .lxd-mounts, .udev, console and FIFOs are left out. kInvalidArgument beyond 64 levels.
Result<Json> DevicesBelow(const std::string& directory);

// Adds a device, or every device below a directory, to `linux` with a rule that allows it.
Status AddDevice(Json& linux, const std::string& path);

}  // namespace corten::oci
