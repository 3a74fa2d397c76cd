#include "metadata/db/touch_log.h"

namespace corten::metadata {

TouchLog::Session::Session(TouchLog* log) : log_(log) {
  const std::lock_guard lock(log_->mutex_);
  noting_ = log_->noting_;
  if (!noting_) ++log_->silent_;
}

TouchLog::Session::~Session() {
  if (noting_) return;
  {
    const std::lock_guard lock(log_->mutex_);
    if (--log_->silent_ != 0) return;
  }
  log_->idle_.notify_all();
}

void TouchLog::Session::Note(NodeName node) {
  const std::lock_guard lock(log_->mutex_);
  if (!log_->noting_) return;  // the run ended meanwhile
  if (log_->nodes_.size() >= kLimit) {
    log_->overflow_ = true;
  } else {
    log_->nodes_.push_back(std::move(node));
  }
}

void TouchLog::Begin() {
  std::unique_lock lock(mutex_);
  noting_ = true;
  overflow_ = false;
  nodes_.clear();
  idle_.wait(lock, [&] { return silent_ == 0; });
}

void TouchLog::End() {
  const std::lock_guard lock(mutex_);
  noting_ = false;
  nodes_.clear();
  nodes_.shrink_to_fit();
}

bool TouchLog::Take(std::vector<NodeName>* nodes) {
  const std::lock_guard lock(mutex_);
  nodes->clear();
  nodes->swap(nodes_);
  return !overflow_;
}

}  // namespace corten::metadata
