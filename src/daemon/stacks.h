// SIGUSR1: what every thread is doing, into the log and a file.
#pragma once

namespace corten::daemon {

// Writes name, state and kernel wait place of each thread between containerd's markers to the log,
// and to $TMPDIR/cortend.<pid>.stacks.log. Never fails: what cannot be read is left out.
void DumpStacks();

}  // namespace corten::daemon
