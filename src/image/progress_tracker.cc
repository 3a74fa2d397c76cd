#include "image/progress_tracker.h"

#include "image/manifest.h"

namespace corten::image {

namespace {
constexpr std::chrono::milliseconds kInterval(300);
}

void ProgressTracker::Line(const std::string& event) {
  if (!sink_) return;
  Progress progress;
  progress.event = event;
  const std::lock_guard lock(mutex_);
  sink_(progress);
}

void ProgressTracker::Root(const std::string& name, const std::string& event,
                           const model::Descriptor& target) {
  if (!sink_) return;
  Progress progress;
  progress.event = event;
  progress.name = name;
  progress.descriptor = target;
  const std::lock_guard lock(mutex_);
  if (root_.empty()) root_ = name;
  sink_(progress);
}

void ProgressTracker::Add(const model::Descriptor& blob, const model::Descriptor* parent) {
  if (!sink_) return;
  const std::lock_guard lock(mutex_);
  const std::string name = IngestRef(blob);
  Blob& state = blobs_[name];
  const bool is_new = state.event.empty();
  const bool linked = state.parents.insert(parent == nullptr ? root_ : IngestRef(*parent)).second;
  if (is_new) state.event = "waiting";
  if (is_new || linked) Tell(blob, name, state, 0);
}

void ProgressTracker::Update(const model::Descriptor& blob, const std::string& event,
                             int64_t bytes) {
  if (!sink_) return;
  const std::lock_guard lock(mutex_);
  const std::string name = IngestRef(blob);
  Blob& state = blobs_[name];
  if (state.event == "extracted") return;
  if (event == "extracting" && state.event == "downloading")
    return;  // both at once: the bar shows the download
  const auto now = std::chrono::steady_clock::now();
  if (state.event == event && now - state.told < kInterval) return;
  state.event = event;
  Tell(blob, name, state, bytes);
}

void ProgressTracker::Tell(const model::Descriptor& blob, const std::string& name, Blob& state,
                           int64_t bytes) {
  state.told = std::chrono::steady_clock::now();
  Progress progress;
  progress.event = state.event;
  progress.name = name;
  progress.parents.assign(state.parents.begin(), state.parents.end());
  progress.progress = bytes;
  progress.total = blob.size;
  progress.descriptor = blob;
  sink_(progress);
}

}  // namespace corten::image
