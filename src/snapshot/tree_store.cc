#include "snapshot/tree_store.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/background_work.h"
#include "base/failpoint.h"
#include "base/parallel.h"

namespace corten::snapshot {

namespace {
constexpr mode_t kPrivate = 0700;

// Whether the row that this error is about is certainly not there, now or after a restart.
bool RowIsCertainlyAbsent(const Error& error) {
  switch (error.code()) {
    case Code::kAlreadyExists:
    case Code::kNotFound:
    case Code::kInvalidArgument:
    case Code::kResourceExhausted:
    case Code::kUnavailable:
      return true;  // the last: refused before anything was tried
    default:
      return false;
  }
}
}  // namespace

class TreeStore::Pending {
 public:
  Pending(TreeStore& store, std::string name) : store_(store), name_(std::move(name)) {
    const std::lock_guard lock(store_.mutex_);
    store_.pending_.insert(name_);
  }
  ~Pending() {
    if (kept_) return;
    const std::lock_guard lock(store_.mutex_);
    store_.pending_.erase(name_);
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  // For the life of the store: nobody knows whether a row names it.
  void KeepForever() { kept_ = true; }

 private:
  TreeStore& store_;
  const std::string name_;
  bool kept_ = false;
};

TreeStore::TreeStore(Dir trees, std::unique_ptr<MetaStore> rows)
    : trees_(std::move(trees)), syncer_(trees_.fd(), trees_.path()), rows_(std::move(rows)) {}

Result<std::unique_ptr<TreeStore>> TreeStore::Open(const std::string& root) {
  if (root.empty() || root[0] != '/')
    return InvalidArgumentError("snapshotter root ", Quoted(root), " is not absolute");
  const Dir dir = TRY(Dir::Create(root, kPrivate));
  Dir trees = TRY(dir.MakeDir("snapshots", kPrivate));
  std::unique_ptr<MetaStore> rows = TRY(MetaStore::Open(dir.Path("metadata.db")));
  TRY(trees.Sync());
  TRY(dir.Sync());
  const Dir above = TRY(Dir::Open(dir.Path("..")));
  TRY(above.Sync());
  return std::unique_ptr<TreeStore>(new TreeStore(std::move(trees), std::move(rows)));
}

// Renames `temp` to a fresh id. An id that a killed process left without a row is passed over.
Result<uint64_t> TreeStore::GiveId(const std::string& temp,
                                   std::vector<std::unique_ptr<Pending>>& pending) {
  while (true) {
    const uint64_t id = rows_->ReserveId();
    const std::string name = StrCat(id);
    pending.push_back(std::make_unique<Pending>(*this, name));
    if (temp.empty()) return id;
    int failed = renameat2(trees_.fd().get(), temp.c_str(), trees_.fd().get(), name.c_str(),
                           RENAME_NOREPLACE) == 0
                     ? 0
                     : errno;
    if (failed ==
        EINVAL) {  // the filesystem cannot refuse to replace: then only an empty directory would be
      failed = renameat(trees_.fd().get(), temp.c_str(), trees_.fd().get(), name.c_str()) == 0
                   ? 0
                   : errno;
    }
    if (failed == 0) return id;
    if (failed != EEXIST && failed != ENOTEMPTY)
      return ErrnoError(failed, "rename ", trees_.Path(temp));
    pending.pop_back();
  }
}

Result<Chain> TreeStore::Create(const Info& info, const Fill& fill) {
  Chain chain;
  chain.parent_ids = TRY(rows_->CheckCreate(info.name, info.parent));
  TRY(model::ValidateLabels(info.labels));
  std::vector<std::unique_ptr<Pending>> pending;
  std::string made;  // what must go if this fails
  const auto make = [&]() -> Status {
    std::string temp;
    if (fill) {
      char random[4];
      if (getrandom(random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random)))
        return ErrnoError(errno, "getrandom");
      temp = StrCat("new-", Hex(std::string_view(random, sizeof(random))), "-",
                    temp_names_.fetch_add(1));
      pending.push_back(std::make_unique<Pending>(*this, temp));
      made = temp;
      const Dir dir = TRY(trees_.MakeDir(temp, kPrivate));
      TRY(fill(dir, {info, chain.parent_ids}));
      FAILPOINT("snapshot.prepare.filled");
    }
    chain.record.id = TRY(GiveId(temp, pending));
    if (!fill) return Ok();
    made = StrCat(chain.record.id);
    FAILPOINT("snapshot.prepare.renamed");
    DirSyncer::Change change(syncer_);
    if (!FAILPOINT_SKIPS("snapshot.prepare.list")) TRY(change.Sync());
    FAILPOINT("snapshot.prepare.synced");
    return Ok();
  };
  Status done = make();
  bool absent = true;
  if (done.ok()) {
    done = rows_->Create(chain.record.id, info,
                         chain.parent_ids.empty() ? 0 : chain.parent_ids.front());
    absent = !done.ok() && RowIsCertainlyAbsent(done.error());
  }
  if (!done.ok()) {
    if (absent && !made.empty()) (void)trees_.RemoveTree(made);  // otherwise it is garbage
    if (!absent) {
      for (const auto& name : pending) name->KeepForever();
    }
    return std::move(done).TakeError();
  }
  FAILPOINT("snapshot.prepare.done");
  chain.record.info = info;
  return chain;
}

Status TreeStore::Remove(const std::string& key, RemoveNow now) {
  const Record record = TRY(rows_->Remove(key));
  FAILPOINT("snapshot.remove.unlisted");
  // In this thread and at its pace: somebody waits for it. What is left is garbage for Cleanup.
  if (now == RemoveNow::kYes) (void)trees_.RemoveTree(StrCat(record.id));
  FAILPOINT("snapshot.remove.done");
  return Ok();
}

std::vector<Status> TreeStore::RemoveMany(const std::vector<std::string>& keys, RemoveNow now) {
  std::vector<Status> removed;
  std::vector<std::string> trees;
  removed.reserve(keys.size());
  for (Result<Record>& record : rows_->RemoveMany(keys)) {
    if (record.ok()) trees.push_back(StrCat(record->id));
    removed.push_back(record.ok() ? Ok() : Status(std::move(record).TakeError()));
  }
  if (trees.empty()) return removed;
  FAILPOINT("snapshot.remove.unlisted");
  if (now == RemoveNow::kYes) (void)DeleteTrees(trees);  // what is left is garbage for Cleanup
  FAILPOINT("snapshot.remove.done");
  return removed;
}

// Two threads keep a disk busy that is told of each freed block (mount option discard); with more,
// others wait for the processor.
Status TreeStore::DeleteTrees(const std::vector<std::string>& names) {
  constexpr size_t kThreads = 2;
  std::atomic<size_t> next{0};
  std::mutex mutex;  // guards first
  std::optional<Error> first;
  InParallel(kThreads, names.size(), [&] {
    BackgroundWork work;
    for (size_t at = next++; at < names.size(); at = next++) {
      work.LetOthersRun();
      Status removed = trees_.RemoveTree(names[at]);
      FAILPOINT("snapshot.tree.deleted");
      if (removed.ok()) continue;
      const std::lock_guard lock(mutex);
      if (!first.has_value()) first = std::move(removed).TakeError();
    }
  });
  if (first.has_value()) return std::move(*first);
  return Ok();
}

Status TreeStore::Cleanup() {
  const std::lock_guard one_at_a_time(cleaning_);
  BackgroundWork work;
  // In this order: whoever made a directory that is listed here is still pending afterwards, or its
  // row is there when the ids are read.
  const std::vector<std::string> names = TRY(trees_.List());
  std::set<std::string> pending;
  {
    const std::lock_guard lock(mutex_);
    pending = pending_;
  }
  const std::set<uint64_t> ids = TRY(rows_->Ids());
  if (FAILPOINT_SKIPS("snapshot.cleanup")) return Ok();
  std::vector<std::string> garbage;
  for (const std::string& name : names) {
    work.LetOthersRunNowAndThen();
    uint64_t id = 0;
    if (pending.contains(name) || (ParseU64(name, &id) && StrCat(id) == name && ids.contains(id)))
      continue;
    garbage.push_back(name);
  }
  return DeleteTrees(garbage);
}

}  // namespace corten::snapshot
