#include "bolt/committer.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace corten::bolt {

namespace {

// The Updates whose functions this thread is inside of, innermost first.
struct Inside {
  const Committer* committer;
  const Inside* outer;
};
thread_local const Inside* t_inside = nullptr;

bool IsInside(const Committer* committer) {
  for (const Inside* at = t_inside; at != nullptr; at = at->outer) {
    if (at->committer == committer) return true;
  }
  return false;
}

}  // namespace

Committer::Committer(Writer& writer, Readers& readers, const std::string& file_name,
                     uint32_t max_queue, uint32_t max_group, std::function<void()> before_commit)
    : writer_(writer),
      readers_(readers),
      file_name_(file_name),
      max_queue_(std::max(max_queue, 1U)),
      max_group_(std::max(max_group, 1U)),
      before_commit_(std::move(before_commit)) {}

Status Committer::Update(const Db::UpdateFn& fn) {
  if (IsInside(this))
    return FailedPreconditionError("update inside an update of the same database");
  Request request{.fn = &fn, .status = Ok(), .done = false, .wake = {}};
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return queue_.size() < max_queue_; });
  queue_.push_back(&request);
  ++counts_.queued;
  request.wake.wait(lock,
                    [&] { return request.done || (!leading_ && queue_.front() == &request); });
  if (request.done) return std::move(request.status);

  leading_ = true;
  const size_t size = std::min<size_t>(queue_.size(), max_group_);
  const std::vector<Request*> group(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(size));
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(size));
  room_.notify_all();
  lock.unlock();
  RunGroup(group);
  lock.lock();
  leading_ = false;
  counts_.queued -= size;
  for (Request* member : group) {
    member->done = true;
    if (member != &request)
      member->wake.notify_one();  // under the lock: the member's stack is still there
  }
  if (!queue_.empty()) queue_.front()->wake.notify_one();
  return std::move(request.status);
}

Status Committer::RunOne(WriteTx& tx, const Db::UpdateFn& fn) noexcept {
  const Inside here{this, t_inside};
  t_inside = &here;
  Status status = fn(tx.state().tx());
  t_inside = here.outer;
  return status;
}

void Committer::RunGroup(const std::vector<Request*>& group) {
  const Status usable = writer_.CheckUsable();
  if (!usable.ok()) {
    for (Request* request : group) request->status = usable.error().Clone();
    return;
  }
  before_commit_();
  WriteTx tx(readers_.newest(), &file_name_);
  for (Request* request : group) {
    request->status = RunOne(tx, *request->fn);
    request->status.ok() ? tx.Keep() : tx.Undo();
  }
  // What a function found already there it takes for durable: the first time, make it so.
  const Status status = tx.changed() ? writer_.Commit(tx) : writer_.Settle();
  size_t committed = 0;
  for (Request* request : group) {
    if (!request->status.ok()) continue;
    if (status.ok()) {
      committed += tx.changed() ? 1 : 0;
    } else {
      request->status = status.error().Clone();
    }
  }
  CountGroup(group, committed);
}

void Committer::CountGroup(const std::vector<Request*>& group, size_t committed) {
  const std::lock_guard lock(mutex_);
  for (const Request* request : group) {
    if (!request->status.ok()) ++counts_.failed_updates;
  }
  if (committed == 0) return;
  counts_.updates += committed;
  counts_.largest_group = std::max<uint64_t>(counts_.largest_group, committed);
  // 1 -> 0, 2 -> 1, 3-4 -> 2, 5-8 -> 3, ...
  const auto bin = static_cast<size_t>(std::bit_width(committed - 1));
  ++counts_.groups[std::min(bin, counts_.groups.size() - 1)];
}

Committer::Counts Committer::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace corten::bolt
