#include "bolt/committer.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace corten::bolt {

namespace {

constexpr std::chrono::microseconds kGather(250);

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
                     const Options& options, std::function<void()> before_commit)
    : writer_(writer),
      readers_(readers),
      file_name_(file_name),
      max_queue_(std::max(options.max_queue, 1U)),
      max_group_(std::max(options.max_group, 1U)),
      runner_(options.runner),
      before_commit_(std::move(before_commit)) {}

Status Committer::Update(const Db::UpdateFn& fn) {
  if (IsInside(this))
    return FailedPreconditionError("update inside an update of the same database");
  Request request;
  request.fn = &fn;
  Later later;
  bool led = true;
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return queue_.size() < max_queue_; });
    Push(&request);
    while (!request.done) {
      request.wake.wait(lock, [&] { return request.done || !leading_; });
      if (request.done) break;
      for (std::unique_ptr<Request>& told_later : Lead(lock))
        later.push_back(std::move(told_later));
      led = WakeNext(lock);
    }
  }
  Tell(std::move(later));
  if (!led) LeadLater(Leads::kForWantOfAThread);
  return std::move(request.status);
}

void Committer::UpdateLater(Db::UpdateFn fn, Db::DoneFn done) {
  if (IsInside(this))
    return done(FailedPreconditionError("update inside an update of the same database"));
  auto request = std::make_unique<Request>();
  {
    std::unique_lock lock(mutex_);
    if (runner_ && queue_.size() < max_queue_) {
      request->later_fn = std::move(fn);
      request->later_done = std::move(done);
      request->fn = &request->later_fn;
      Push(request.release());
      const bool led = leading_ || WakeNext(lock);
      lock.unlock();
      if (!led) LeadLater(Leads::kForWantOfAThread);
      return;
    }
  }
  done(Update(fn));
}

void Committer::Push(Request* request) {
  queue_.push_back(request);
  ++counts_.queued;
  if (leading_ && queue_.size() == expected_) gather_.notify_one();
}

void Committer::Gather(std::unique_lock<std::mutex>& lock) {
  const size_t enough = std::min<size_t>(expected_, max_group_);
  if (queue_.size() >= enough) return;
  (void)gather_.wait_for(lock, std::min<std::chrono::steady_clock::duration>(last_commit_, kGather),
                         [&] { return queue_.size() >= enough; });
}

Committer::Request* Committer::FirstWaiter() const {
  const auto waiter = std::find_if(queue_.begin(), queue_.end(),
                                   [](const Request* request) { return !request->later_done; });
  return waiter != queue_.end() ? *waiter : nullptr;
}

// Those who wait come first: they have a thread already.
bool Committer::WakeNext(std::unique_lock<std::mutex>& lock) {
  if (queue_.empty()) return true;
  if (Request* waiter = FirstWaiter()) {
    waiter->wake.notify_one();
    return true;
  }
  if (std::exchange(runner_called_, true)) return true;
  lock.unlock();
  const bool accepted = runner_([this] { LeadLater(Leads::kOn); });
  lock.lock();
  if (!accepted) runner_called_ = false;
  return accepted;
}

void Committer::LeadLater(Leads how) {
  std::unique_lock lock(mutex_);
  for (bool first = true;; first = false) {
    runner_called_ = false;
    if (how == Leads::kForWantOfAThread && !first && !leading_ && WakeNext(lock)) return;
    if (leading_ || queue_.empty()) return;  // whoever leads looks after those in line
    Later later = Lead(lock);
    Request* waiter = FirstWaiter();
    if (waiter != nullptr) {
      waiter->wake.notify_one();
    } else {
      runner_called_ = true;  // this one comes back: those who are told are in line again soon
    }
    lock.unlock();
    Tell(std::move(later));
    if (waiter != nullptr) return;
    lock.lock();
  }
}

void Committer::Tell(Later later) {
  for (const std::unique_ptr<Request>& request : later)
    request->later_done(std::move(request->status));
}

Committer::Later Committer::Lead(std::unique_lock<std::mutex>& lock) {
  leading_ = true;
  Gather(lock);
  const auto begin = std::chrono::steady_clock::now();
  const size_t size = std::min<size_t>(queue_.size(), max_group_);
  const std::vector<Request*> group(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(size));
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(size));
  room_.notify_all();
  lock.unlock();
  RunGroup(group);
  lock.lock();
  leading_ = false;
  counts_.queued -= size;
  last_commit_ = std::chrono::steady_clock::now() - begin;
  expected_ = size + queue_.size();
  Later later;
  for (Request* member : group) {
    member->done = true;
    if (member->later_done) {
      later.emplace_back(member);
    } else {
      member->wake.notify_one();  // under the lock: the member's stack is still there
    }
  }
  return later;
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
