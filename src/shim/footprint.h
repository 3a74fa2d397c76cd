// Keeping a process small that lives long and does little.
//
// Threads: the only one of the process. Effects on time: see ReleaseIdleMemory.
#pragma once

namespace corten::shim {

// For the start of the process: one malloc arena, small steps, memory given back early.
void TuneAllocator();

// Gives back what the process does not need while nothing happens: free heap, and the mapping of
// its code. The code stays in the page cache, shared by all shims; what is needed next is mapped
// again by a few dozen minor faults (together some 50 us). A node's idle shims then count with
// their data only.
void ReleaseIdleMemory();

}  // namespace corten::shim
