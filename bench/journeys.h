// The journeys: each measures some rows of docs/BENCHMARKS.md. The only list is in journeys.cc.
#pragma once

#include <vector>

#include "run.h"

namespace corten::bench {

struct Journey {
  const char* name;
  std::vector<const char*> rows;
  void (*measure)(Run& run);
};
const std::vector<Journey>& Journeys();

void MeasureStartup(Run& run);    // 1, 3: cold start, idle memory
void MeasureCalls(Run& run);      // 28, 30, 31, 33: metadata calls
void MeasureImages(Run& run);     // 2, 31, 32: ten thousand images
void MeasureStreams(Run& run);    // 26, 27: content streams
void MeasureEvents(Run& run);     // 29
void MeasureCollect(Run& run);    // 34, 35, 36: tiny blobs and garbage collection
void MeasurePull(Run& run);       // 21-24
void MeasureLifecycle(Run& run);  // 6, 7, 9, 10, 12, 13, 17: containers from nothing to nothing
void MeasureProcesses(Run& run);  // 15, 16: exec, kill
void MeasureCrowd(Run& run);      // 4, 5, 14, 18, 19, 20: hundreds of running containers
void MeasureTraced(Run& run);     // ops: execs, flushes and system calls per operation

}  // namespace corten::bench
