// A database in one bolt file: the format that containerd keeps its metadata in
// (docs/formats/bolt.md).
//
// One process at a time holds the file (flock). Inside it any number of readers see snapshots while
// one write transaction runs; neither waits for the other. Changes are durable when Update returns.
//
// Group commit: functions given to Update at the same time run one behind the other in one write
// transaction and share its two flushes (data, then the meta page). Each function sees what those
// before it did. Crash: after a crash, a kill or a power loss at any moment the file holds the
// state after some commit: every Update that had returned Ok is in it, of the others a group is in
// it entirely or not at all. Not covered: a disk that answers a flush without doing it, bytes that
// change on the disk later (the format has no sums over data pages), another program that writes or
// cuts the file without taking the lock (reading a cut file ends the process, SIGBUS). After a
// kill, readers may see a commit that was not acknowledged and is not durable yet; the first Update
// makes it so. Space: a page that a commit no longer needs is used again once no reader can see it.
// Which pages are free is not stored (always valid; the original completes it when it opens such a
// file) but found by a walk in a thread of its own that the first write starts. Until it has
// finished, commits take pages at the end of the file: opening costs the same for every file.
// Threads: all methods may be called at once.
// Format source: facts of files written by containerd 2.3.4 (bbolt 1.4), version 2 of the format.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "bolt/file.h"
#include "bolt/tx.h"

namespace corten::bolt {

struct Options {
  Mode mode = Mode::kReadWrite;
  uint32_t permissions = 0600;                // of a new file, before the umask
  std::chrono::milliseconds lock_timeout{0};  // 0: try once; negative: wait for ever
  bool no_sync = false;    // no flushes: after a power loss the file may be damaged
  uint32_t page_size = 0;  // of a new file: a power of two from 1024 to 65536; 0: the system's
  uint32_t max_readers = 65536;  // read transactions at once; more: kResourceExhausted
  uint32_t max_queue = 1024;     // callers waiting in Update; more block until there is room
  uint32_t max_group = 256;      // functions in one write transaction
  // Runs a function in another thread, soon; false: it cannot (any more), and has not. What it has
  // accepted must have run before the Db ends. Without a runner UpdateLater waits as Update does.
  std::function<bool(std::function<void()>)> runner = {};
};

struct Stats {
  uint32_t page_size = 0;
  uint64_t txid = 0;  // of the last commit
  uint64_t file_bytes = 0;
  uint64_t mapped_bytes = 0;   // address space, may be more than the file
  uint64_t pages = 0;          // the high-water page: pages below it are used or free
  uint64_t free_pages = 0;     // may be used by the next commit; 0 until free_pages_known
  uint64_t pending_pages = 0;  // free, but a reader may still see them
  bool free_pages_known = false;
  uint64_t readers = 0;         // open read transactions
  uint64_t oldest_reader = 0;   // its txid; 0: none
  uint64_t queued = 0;          // callers in Update, waiting or running
  uint64_t commits = 0;         // since Open, as all that follows
  uint64_t updates = 0;         // functions whose changes were committed
  uint64_t failed_updates = 0;  // functions that returned an error
  uint64_t flushes = 0;
  uint64_t pages_written = 0;
  uint64_t largest_group = 0;
  std::array<uint64_t, 9>
      groups{};        // commits by number of functions: 1, 2, 3-4, 5-8, ... 65-128, more
  std::string damage;  // what the walk for free pages found wrong; then free pages stay unknown
};

class Db;

// A read transaction of any length. It holds back the reuse of pages that were freed since its
// begin, so the file grows while it lives beside writers. Must end before its Db. Movable; end it
// in any thread.
class ReadTx {
 public:
  ReadTx(ReadTx&&) noexcept;
  ReadTx& operator=(ReadTx&&) noexcept;
  ~ReadTx();
  const Tx& operator*() const { return *tx_; }
  const Tx* operator->() const { return tx_; }

 private:
  friend class Db;
  ReadTx(Db* db, std::unique_ptr<TxState> state);
  void End();
  Db* db_;
  std::unique_ptr<TxState> state_;  // null once ended or moved from
  const Tx* tx_;
};

class Db {
 public:
  using UpdateFn = std::function<Status(Tx&)>;
  using DoneFn = std::function<void(Status)>;

  // Opens or creates the file at `path`.
  // Errors: those of OpenFile; kDataLoss (not a bolt file, no valid meta page, shorter than its
  // meta page says: names file and page and says what to try); kUnimplemented (another version of
  // the format).
  static Result<std::unique_ptr<Db>> Open(const std::string& path, const Options& options = {});
  static Result<std::unique_ptr<Db>> OpenAt(int dir_fd, const std::string& name,
                                            const Options& options = {});
  // As Open, on a file that the caller has opened (and locked, if it needs that).
  static Result<std::unique_ptr<Db>> OpenOn(std::unique_ptr<File> file,
                                            const Options& options = {});

  // REQUIRES: no read transaction is open, no call is running. Stops the walk for free pages; drops
  // the lock.
  ~Db();
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  // Runs `fn(tx)` in a read transaction on the last committed state; `fn` is called as Status(const
  // Tx&). Errors: fn's; kResourceExhausted (too many readers).
  template <typename F>
  Status View(F&& fn) {
    ReadTx tx = TRY(BeginView());
    return std::forward<F>(fn)(*tx);
  }
  Result<ReadTx> BeginView();

  // Runs `fn` once in a write transaction and returns when its changes are durable, and visible to
  // new readers.
  //
  // `fn` may run in the thread of another caller, while that caller waits; it must not wait for
  // other callers of Update. If it returns an error, nothing that it did remains and that error is
  // returned; its neighbours in the group are not touched and nothing runs twice. A function that
  // changes nothing costs no flush, except that the first update after opening makes the state that
  // it found durable. At most Options::max_queue callers are queued, in order of arrival; further
  // ones block. A function that throws ends the process. Errors: fn's; kFailedPrecondition (called
  // inside fn of the same Db; opened read-only); kDataLoss; kResourceExhausted (disk full: nothing
  // has changed, later calls may succeed); others of write(2). If a flush or the write of the meta
  // page fails, it is not known whether the group would survive a power loss: all its callers get
  // that error and every later Update is refused (kUnavailable) until the file is opened anew.
  Status Update(const UpdateFn& fn);
  // The same without a thread that waits: `done` is called once with what Update would return, in
  // any thread, the caller's included; it must be short and must not wait for this Db. With
  // max_queue callers in line, it waits as Update does.
  void UpdateLater(UpdateFn fn, DoneFn done);

  Stats GetStats() const;
  const std::string& name() const;

  // Waits until the walk for free pages has finished, having started it if need be. For tests and
  // tools. Errors: kDataLoss (what it found).
  Status WaitForFreePages();

  class Core;  // internal
  Core* core() const { return core_.get(); }

 private:
  friend class ReadTx;
  explicit Db(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace corten::bolt
