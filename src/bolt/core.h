// What a Db is made of. Internal to the room.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "bolt/committer.h"
#include "bolt/db.h"
#include "bolt/file.h"
#include "bolt/free_pages.h"
#include "bolt/readers.h"
#include "bolt/writer.h"

namespace corten::bolt {

// Finds the free pages of the state that the file was opened with: in a thread of its own, or
// within Start if there are few pages. Threads: thread-safe.
class FreeWalk {
 public:
  // Borrowed for life.
  FreeWalk(Readers& readers, FreePages& space, const std::string& file_name)
      : readers_(readers), space_(space), file_name_(file_name) {}
  ~FreeWalk();
  FreeWalk(const FreeWalk&) = delete;
  FreeWalk& operator=(const FreeWalk&) = delete;

  // Starts it, once. REQUIRES: no commit since the file was opened, or it was started before that.
  void Start();
  // Waits for its end. Errors: kDataLoss (what it found); kResourceExhausted (no thread, no
  // reader's place).
  Status Wait();
  // Ends it early.
  void Stop();
  std::string damage() const;  // empty: none found yet

 private:
  void Run(std::shared_ptr<const Snapshot> snapshot);

  Readers& readers_;
  FreePages& space_;
  const std::string& file_name_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;  // guards all below
  bool started_ = false;
  bool finished_ = false;
  std::optional<Error> failed_;
  std::condition_variable done_;
  std::thread thread_;
};

// Reads the meta pages of an open file, having made a new database of an empty one.
struct Opened {
  Meta meta;
  uint64_t file_bytes = 0;
  bool created = false;  // just now, and durable
};
Result<Opened> ReadOrCreate(File& file, const Options& options);

class Db::Core {
 public:
  Core(std::unique_ptr<File> file, const Options& options, std::shared_ptr<const Snapshot> snapshot,
       const Opened& found);

  const std::unique_ptr<File> file;
  const Options options;
  Readers readers;
  FreePages space;
  FreeWalk free_walk;
  Writer writer;
  Committer committer;
};

}  // namespace corten::bolt
