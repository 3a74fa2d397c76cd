#include "bolt/db.h"

#include <fcntl.h>

#include <system_error>
#include <utility>

#include "base/strcat.h"
#include "bolt/core.h"
#include "bolt/walk.h"

namespace corten::bolt {

namespace {
constexpr uint64_t kQuickWalk = 64;  // pages that are sooner walked than a thread is started
}  // namespace

// --- the walk for free pages ---

FreeWalk::~FreeWalk() { Stop(); }

void FreeWalk::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

// Where it cannot run, free pages stay unknown: the file grows, nothing else.
void FreeWalk::Start() {
  std::unique_lock lock(mutex_);
  if (started_) return;
  started_ = true;
  Result<std::shared_ptr<const Snapshot>> snapshot = readers_.Begin();
  if (!snapshot.ok()) {
    failed_ = std::move(snapshot).TakeError();
    finished_ = true;
    return;
  }
  if ((*snapshot)->meta.high_water <= kQuickWalk) {
    lock.unlock();
    Run(std::move(*snapshot));
    return;
  }
  try {
    thread_ = std::thread([this, pinned = *snapshot] { Run(pinned); });
  } catch (const std::system_error& e) {
    readers_.End((*snapshot)->meta.txid);
    failed_ = ResourceExhaustedError("no thread to look for free pages: ", e.what());
    finished_ = true;
  }
}

void FreeWalk::Run(std::shared_ptr<const Snapshot> snapshot) {
  const uint64_t txid = snapshot->meta.txid;
  std::optional<Error> failed;
  {
    TxState tx(std::move(snapshot), &file_name_, nullptr);
    Walk walk(
        tx,
        [&](uint64_t page, const std::string& what) {
          failed = DamageError(file_name_, page, what);
          return false;
        },
        &stop_);
    if (walk.Run()) {
      // The next commit drops a stored list of free pages. Until that one is durable this state may
      // come back, and the original would not open it without its list.
      if (walk.stored_list().count > 0) space_.AddPending(txid + 1, {walk.stored_list()});
      space_.AddWalked(walk.Unreached());
    }
  }
  readers_.End(txid);
  const std::lock_guard lock(mutex_);
  failed_ = std::move(failed);
  finished_ = true;
  done_.notify_all();
}

Status FreeWalk::Wait() {
  Start();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return finished_; });
  if (failed_) return failed_->Clone();
  return Ok();
}

std::string FreeWalk::damage() const {
  const std::lock_guard lock(mutex_);
  return failed_ && failed_->Is(Code::kDataLoss) ? failed_->text() : std::string();
}

// --- Db ---

Db::Core::Core(std::unique_ptr<File> opened, const Options& how,
               std::shared_ptr<const Snapshot> snapshot, const Opened& found)
    : file(std::move(opened)),
      options(how),
      readers(std::move(snapshot), how.max_readers),
      free_walk(readers, space, file->name()),
      writer(*file, readers, space, how.no_sync, found.file_bytes, found.created),
      committer(writer, readers, file->name(), how, [this] { free_walk.Start(); }) {}

Db::Db(std::unique_ptr<Core> core) : core_(std::move(core)) {}

Db::~Db() {
  core_->free_walk.Stop();
  CHECK(core_->readers.open() == 0);
}

Result<std::unique_ptr<Db>> Db::Open(const std::string& path, const Options& options) {
  return OpenAt(AT_FDCWD, path, options);
}

Result<std::unique_ptr<Db>> Db::OpenAt(int dir_fd, const std::string& name,
                                       const Options& options) {
  std::unique_ptr<File> file =
      TRY(OpenFile(dir_fd, name, options.mode, options.permissions, options.lock_timeout));
  return OpenOn(std::move(file), options);
}

Result<std::unique_ptr<Db>> Db::OpenOn(std::unique_ptr<File> file, const Options& options) {
  const Opened opened = TRY(ReadOrCreate(*file, options));
  std::shared_ptr<const Mapping> mapping =
      TRY(file->Map(MappedSize(opened.meta.high_water * opened.meta.page_size)));
  auto snapshot = std::make_shared<const Snapshot>(Snapshot{opened.meta, std::move(mapping)});
  auto core = std::make_unique<Core>(std::move(file), options, std::move(snapshot), opened);
  return std::unique_ptr<Db>(new Db(std::move(core)));
}

Result<ReadTx> Db::BeginView() {
  std::shared_ptr<const Snapshot> snapshot = TRY(core_->readers.Begin());
  return ReadTx(this,
                std::make_unique<TxState>(std::move(snapshot), &core_->file->name(), nullptr));
}

Status Db::Update(const UpdateFn& fn) {
  if (core_->options.mode == Mode::kReadOnly)
    return FailedPreconditionError(name(), ": opened read-only");
  return core_->committer.Update(fn);
}

void Db::UpdateLater(UpdateFn fn, DoneFn done) {
  if (core_->options.mode == Mode::kReadOnly)
    return done(FailedPreconditionError(name(), ": opened read-only"));
  core_->committer.UpdateLater(std::move(fn), std::move(done));
}

Status Db::WaitForFreePages() { return core_->free_walk.Wait(); }

const std::string& Db::name() const { return core_->file->name(); }

Stats Db::GetStats() const {
  Stats stats;
  const std::shared_ptr<const Snapshot> newest = core_->readers.newest();
  const FreePages::Counts space = core_->space.counts();
  const Writer::Counters& writer = core_->writer.counters();
  const Committer::Counts committer = core_->committer.counts();
  stats.page_size = newest->meta.page_size;
  stats.txid = newest->meta.txid;
  stats.file_bytes = writer.file_bytes;
  stats.mapped_bytes = newest->mapping->size();
  stats.pages = newest->meta.high_water;
  stats.free_pages = space.free;
  stats.pending_pages = space.pending;
  stats.free_pages_known = space.walked;
  stats.readers = core_->readers.open();
  stats.oldest_reader = core_->readers.oldest().value_or(0);
  stats.queued = committer.queued;
  stats.commits = writer.commits;
  stats.updates = committer.updates;
  stats.failed_updates = committer.failed_updates;
  stats.flushes = writer.flushes;
  stats.pages_written = writer.pages_written;
  stats.largest_group = committer.largest_group;
  stats.groups = committer.groups;
  stats.damage = core_->free_walk.damage();
  return stats;
}

// --- ReadTx ---

ReadTx::ReadTx(Db* db, std::unique_ptr<TxState> state)
    : db_(db), state_(std::move(state)), tx_(&state_->tx()) {}

ReadTx::ReadTx(ReadTx&& other) noexcept
    : db_(other.db_), state_(std::move(other.state_)), tx_(other.tx_) {}

ReadTx& ReadTx::operator=(ReadTx&& other) noexcept {
  if (this != &other) {
    End();
    db_ = other.db_;
    state_ = std::move(other.state_);
    tx_ = other.tx_;
  }
  return *this;
}

ReadTx::~ReadTx() { End(); }

void ReadTx::End() {
  if (!state_) return;
  const uint64_t txid = state_->meta().txid;
  state_.reset();
  db_->core_->readers.End(txid);
}

}  // namespace corten::bolt
