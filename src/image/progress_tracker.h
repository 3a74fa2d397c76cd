// Turns what many threads do into the few messages that a client draws.
//
// Each blob has a name (its ingest reference), parents and a state; a new state is told at once,
// bytes at most every 300 ms for each blob. Threads: all methods, any thread; the sink is called
// with one message at a time.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "image/progress.h"
#include "model/descriptor.h"

namespace corten::image {

class ProgressTracker {
 public:
  explicit ProgressTracker(ProgressSink sink) : sink_(std::move(sink)) {}

  // A line about the whole.
  void Line(const std::string& event);
  // About the image itself; blobs without a parent stand below it.
  void Root(const std::string& name, const std::string& event, const model::Descriptor& target);
  // Makes `blob` known ("waiting"), below `parent` (null: the root).
  void Add(const model::Descriptor& blob, const model::Descriptor* parent);
  // A state of `blob` and its bytes. States after a final one ("complete", "extracted", "already
  // exists") are dropped, but extraction may follow completion.
  void Update(const model::Descriptor& blob, const std::string& event, int64_t bytes);

 private:
  struct Blob {
    std::set<std::string> parents;
    std::string event;
    std::chrono::steady_clock::time_point told;
  };
  void Tell(const model::Descriptor& blob, const std::string& name, Blob& state, int64_t bytes);

  const ProgressSink sink_;
  std::mutex
      mutex_;  // guards all that follows; held while the sink is called, which keeps the order
  std::string root_;
  std::map<std::string, Blob> blobs_;
};

}  // namespace corten::image
