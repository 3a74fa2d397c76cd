// Group commit: callers queue; the first of them leads, runs everybody's function in one write
// transaction and commits it while the next group gathers. Internal to the room. Threads:
// thread-safe.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
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
  Committer(Writer& writer, Readers& readers, const std::string& file_name, uint32_t max_queue,
            uint32_t max_group, std::function<void()> before_commit);

  // See Db::Update.
  Status Update(const Db::UpdateFn& fn);
  Counts counts() const;

 private:
  struct Request {
    const Db::UpdateFn* fn;
    Status status;
    bool done = false;
    std::condition_variable wake;
  };

  void RunGroup(const std::vector<Request*>& group);
  Status RunOne(WriteTx& tx,
                const Db::UpdateFn& fn) noexcept;  // a function that throws ends the process
  void CountGroup(const std::vector<Request*>& group, size_t committed);

  Writer& writer_;
  Readers& readers_;
  const std::string& file_name_;
  const uint32_t max_queue_;
  const uint32_t max_group_;
  const std::function<void()> before_commit_;
  mutable std::mutex mutex_;  // guards all below; never held while functions run or the disk works
  std::deque<Request*> queue_;  // in order of arrival; requests live on their callers' stacks
  bool leading_ = false;
  std::condition_variable room_;
  Counts counts_;
};

}  // namespace corten::bolt
