// Group commit: callers queue; the first of them leads, runs everybody's function in one write
// transaction and commits it while the next group gathers. A caller that waits leads, one after
// another; where none of those in line waits (UpdateLater), a task of the runner does. Internal to
// the room. Threads: thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "bolt/db.h"
#include "bolt/readers.h"
#include "bolt/writer.h"

namespace corten::bolt {

class Committer {
 public:
  struct Counts {
    uint64_t queued = 0;
    uint64_t updates = 0;
    uint64_t failed_updates = 0;
    uint64_t largest_group = 0;
    std::array<uint64_t, 9> groups{};
  };

  // References are borrowed for life. `before_commit` runs in the leader before each commit.
  Committer(Writer& writer, Readers& readers, const std::string& file_name, const Options& options,
            std::function<void()> before_commit);

  // See Db::Update and Db::UpdateLater.
  Status Update(const Db::UpdateFn& fn);
  void UpdateLater(Db::UpdateFn fn, Db::DoneFn done);
  Counts counts() const;

 private:
  // Of a caller who waits, on that caller's stack; or one for later, owned by whoever has taken it
  // out of the line.
  struct Request {
    const Db::UpdateFn* fn = nullptr;
    Status status;
    bool done = false;
    std::condition_variable wake;
    Db::UpdateFn later_fn;
    Db::DoneFn later_done;  // set: for later
  };
  using Later = std::vector<std::unique_ptr<Request>>;

  // Leads one group. REQUIRES: nobody leads, the line is not empty. Answers those for later whose
  // callers are still to be told (Tell), without the lock.
  Later Lead(std::unique_lock<std::mutex>& lock);
  // Waits a little, and no longer than a commit takes, for as many as were in line lately: who was
  // just told of a commit comes back in about that time, and would else always find a group gone
  // that is half as large as it could be.
  void Gather(std::unique_lock<std::mutex>& lock);
  void Push(Request* request);
  Request* FirstWaiter() const;  // in line, with a thread that can lead; null: none
  // Lets somebody else lead the next group, if there is one; false: there is nobody, call LeadLater
  // without the lock. REQUIRES: nobody leads.
  bool WakeNext(std::unique_lock<std::mutex>& lock);
  // Leads one group after another. The runner's task does while nobody else leads (kOn); a caller,
  // who has better things to do, until the runner has a thread again.
  enum class Leads : uint8_t { kOn, kForWantOfAThread };
  void LeadLater(Leads how);
  static void Tell(Later later);

  void RunGroup(const std::vector<Request*>& group);
  Status RunOne(WriteTx& tx,
                const Db::UpdateFn& fn) noexcept;  // a function that throws ends the process
  void CountGroup(const std::vector<Request*>& group, size_t committed);

  Writer& writer_;
  Readers& readers_;
  const std::string& file_name_;
  const uint32_t max_queue_;
  const uint32_t max_group_;
  const std::function<bool(std::function<void()>)> runner_;
  const std::function<void()> before_commit_;
  mutable std::mutex mutex_;  // guards all below; never held while functions run or the disk works
  std::deque<Request*> queue_;  // in order of arrival
  bool leading_ = false;
  bool runner_called_ = false;  // LeadLater is on its way
  std::condition_variable room_;
  std::condition_variable gather_;
  size_t expected_ = 1;  // members of the last group, and those who came while it was committed
  std::chrono::steady_clock::duration last_commit_{0};  // how long it took
  Counts counts_;
};

}  // namespace corten::bolt
