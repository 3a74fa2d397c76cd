// Named pipes as container stdio uses them.
//
// Both sides agree on this: the client makes the FIFO; the shim opens output FIFOs for writing and
// for reading, so that a client may leave and come back without the container seeing SIGPIPE, and
// opens the stdin FIFO for reading and for writing, so that stdin does not end when one of several
// writers leaves. Closing the kept write side is what CloseIO does.
//
// All descriptors are non-blocking and close-on-exec; no function here waits for a peer. Threads:
// plain functions. Source: containerd 2.3 stdio conventions, fifo(7).
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace corten::os {

// Makes a FIFO with exactly `mode`; one that is there already is fine. kAlreadyExists if something
// else is at `path`.
Status MakeFifo(const std::string& path, mode_t mode);

enum class EndKind { kFifo, kRegular, kOther };  // kOther: terminals, devices, sockets

// A place for output.
struct OutputEnd {
  EndKind kind = EndKind::kOther;
  Fd write;
  Fd keep;  // FIFO: its read side, only held; otherwise none
};
// Opens an existing FIFO, file (appending) or device. kNotFound and others by errno.
Result<OutputEnd> OpenOutput(const std::string& path);

// A source of input.
struct InputEnd {
  EndKind kind = EndKind::kOther;
  Fd read;
  Fd keep;  // FIFO: a write side, only held; otherwise none
};
Result<InputEnd> OpenInput(const std::string& path);

}  // namespace corten::os
