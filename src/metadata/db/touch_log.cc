#include "metadata/db/touch_log.h"

namespace corten::metadata {

TouchLog::Session::Session(TouchLog* log) : log_(log) {
  const std::lock_guard lock(log_->mutex_);
  noting_ = log_->noting_;
  run_ = log_->run_;
  ++log_->open_[run_];
}

TouchLog::Session::~Session() {
  {
    const std::lock_guard lock(log_->mutex_);
    const auto mine = log_->open_.find(run_);
    if (--mine->second != 0) return;
    log_->open_.erase(mine);
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
  ++run_;
  idle_.wait(lock, [&] { return open_.empty() || open_.begin()->first == run_; });
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
