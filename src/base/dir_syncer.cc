#include "base/dir_syncer.h"

namespace corten {

DirSyncer::Change::Change(DirSyncer& syncer) : syncer_(syncer) {
  const std::lock_guard lock(syncer_.mutex_);
  ++syncer_.changes_;
}

DirSyncer::Change::~Change() {
  const std::lock_guard lock(syncer_.mutex_);
  --syncer_.changes_;
}

Status DirSyncer::Settle() {
  {
    const std::lock_guard lock(mutex_);
    if (changes_ == 0) return Ok();
  }
  return Flush();
}

uint64_t DirSyncer::flushes() const {
  const std::lock_guard lock(mutex_);
  return flushes_;
}

uint64_t DirSyncer::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

Status DirSyncer::Flush() {
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Round> mine = next_;  // begins after now, so it covers what the caller did
  ++waiting_;
  changed_.wait(lock, [&] { return mine->done || !running_; });
  if (!mine->done) {
    running_ = true;
    next_ = std::make_shared<Round>();
    lock.unlock();
    Status flushed = flush_();
    lock.lock();
    if (!flushed.ok()) mine->error = std::move(flushed).TakeError();
    mine->done = true;
    running_ = false;
    ++flushes_;
    changed_.notify_all();
  }
  --waiting_;
  if (mine->error.has_value()) return mine->error->Clone();
  return Ok();
}

}  // namespace corten
