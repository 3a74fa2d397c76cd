// Transactions, buckets and cursors of a bolt file.
//
// A transaction is one consistent state of the file: a tree of buckets. A bucket maps keys to
// values in byte order of the keys and may hold other buckets under some of its keys, to any depth
// up to kMaxBucketDepth. It also has a 64-bit sequence number that is stored with it.
//
// Life cycle: a read transaction (Db::View, Db::BeginView) sees the state of its begin until it
// ends. A write transaction exists only inside the function given to Db::Update. Memory: keys and
// values that come out are views into the transaction: valid until it ends (inside Update: until
// the function returns), even when the key is overwritten or deleted meanwhile. Keys and values
// that go in are copied. Threads: a read transaction, its buckets and their constant methods may be
// used by any number of threads at once; a Cursor belongs to one thread. A write transaction
// belongs to the function that got it. Damage: pages are checked as they are read. Whatever
// contradicts the format ends in kDataLoss naming file and page; damage is never reported as "not
// there" or as an early end of a walk. Handles (Bucket, Cursor) must not outlive their transaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace corten::bolt {

inline constexpr size_t kMaxKeySize = 32768;          // bytes
inline constexpr size_t kMaxValueSize = 0x7FFF'FFFE;  // bytes
inline constexpr uint32_t kMaxBucketDepth =
    256;  // buckets inside buckets; a deeper file is taken for damaged

struct Entry {
  std::string_view key;
  std::string_view value;  // empty for a bucket
  bool is_bucket = false;
};

class TxState;      // internal
struct BucketNode;  // internal
class Cursor;

namespace internal {
// Where a bucket's tree begins: on a page, or in a page image inside its value.
struct TreeRoot {
  uint64_t page = 0;  // 0: inline
  uint64_t sequence = 0;
  std::string_view inline_page;
};

// One level of a cursor's path: a page of the file, or a node that the transaction has changed.
struct Level {
  const void* node = nullptr;  // a changed node, or null
  const char* page = nullptr;  // first byte of a page, if node is null
  uint64_t length = 0;         // bytes that may be looked at from `page`
  uint64_t id = 0;             // for error texts; 0: inline
  size_t index = 0;
};
}  // namespace internal

// A handle to one bucket: cheap to copy.
class Bucket {
 public:
  // The value of `key`. nullopt: no such key, or the key holds a bucket (or is empty).
  // Errors: kDataLoss; kFailedPrecondition (the bucket was deleted in this transaction).
  Result<std::optional<std::string_view>> Find(std::string_view key) const;
  // As Find, but kNotFound if there is no such value.
  Result<std::string_view> Get(std::string_view key) const;
  // Whatever `key` holds, value or bucket.
  Result<std::optional<Entry>> FindEntry(std::string_view key) const;

  // The bucket under `name`. nullopt: no such key, or it holds a plain value.
  Result<std::optional<Bucket>> FindBucket(std::string_view name) const;
  // As FindBucket, but kNotFound `bucket "name"`.
  Result<Bucket> GetBucket(std::string_view name) const;

  // A cursor that stands before the first entry.
  Cursor NewCursor() const;
  // Calls `fn` for each entry in key order; stops at its first error and returns that. `fn` may
  // change this bucket: the walk goes on at the first key greater than the current one.
  Status ForEach(const std::function<Status(const Entry&)>& fn) const;
  // True if the bucket holds nothing.
  Result<bool> Empty() const;

  uint64_t Sequence() const;

  // What follows changes the bucket. In a read transaction all of it is kFailedPrecondition `tx not
  // writable`. The top level (Tx::Root) holds buckets only and has no sequence of its own:
  // kInvalidArgument.

  // Sets `key`. Errors: kInvalidArgument (`key required` for an empty one, `key too large`, `value
  // too large`, `incompatible value` if the key holds a bucket).
  Status Put(std::string_view key, std::string_view value);
  // Removes `key`; no error if there is none. Errors: kInvalidArgument (`incompatible value`: it
  // holds a bucket).
  Status Delete(std::string_view key);
  // Errors: kAlreadyExists (`bucket already exists`), kInvalidArgument (`bucket name required`,
  // `key too large`, `incompatible value` if the key holds a plain value, too many levels).
  Result<Bucket> CreateBucket(std::string_view name);
  Result<Bucket> CreateBucketIfNotExists(std::string_view name);
  // Removes the bucket and everything in it; handles to it answer kFailedPrecondition from then on.
  // Errors: kNotFound (`bucket "name"`), kInvalidArgument (`incompatible value`).
  Status DeleteBucket(std::string_view name);
  // Adds one to the sequence and returns it: the first answer of a new bucket is 1.
  Result<uint64_t> NextSequence();
  Status SetSequence(uint64_t value);

 private:
  friend class Cursor;
  friend class TxState;
  Bucket(TxState* tx, BucketNode* node) : tx_(tx), node_(node) {}
  Bucket(TxState* tx, internal::TreeRoot root, uint32_t depth)
      : tx_(tx), root_(root), depth_(depth) {}

  Status CheckAlive() const;
  Status CheckWritable() const;
  Status CheckBelowTop() const;
  Result<internal::Level> RootLevel() const;
  Status CheckNewName(std::string_view name) const;
  Result<std::optional<Bucket>> OpenAt(const internal::Level& leaf) const;

  TxState* tx_;
  BucketNode* node_ = nullptr;  // in a write transaction
  internal::TreeRoot root_;     // in a read transaction
  uint32_t depth_ = 0;
};

// Walks a bucket in key order. Each move answers the entry it arrives at, or nullopt at the end.
//
// The bucket may change while a cursor stands on it (a write transaction only): Next then goes to
// the first key greater than the current one, Prev to the last smaller one, whether or not the
// current key still exists. Before the first move: Next is First, Prev is nullopt. After running
// off an end: the opposite move comes back to the entry at that end, the same move stays there.
// Errors of each move: kDataLoss (keys that do not ascend, among others: no file makes a walk
// endless). After an error the cursor stands before the first entry.
class Cursor {
 public:
  Result<std::optional<Entry>> First();
  Result<std::optional<Entry>> Last();
  // Goes to the first key that is not less than `key`.
  Result<std::optional<Entry>> Seek(std::string_view key);
  Result<std::optional<Entry>> Next();
  Result<std::optional<Entry>> Prev();
  // The bucket under the entry the cursor stands on, without a search of its own in a read
  // transaction. nullopt: on no entry, or on a plain value.
  Result<std::optional<Bucket>> FindBucket() const;
  // Removes the entry the cursor stands on; Next then goes to the one behind it.
  // Errors: kFailedPrecondition (on no entry; `tx not writable`), kInvalidArgument (`incompatible
  // value`: a bucket).
  Status Delete();

 private:
  friend class Bucket;
  enum class At : uint8_t { kBegin, kEntry, kEnd };
  explicit Cursor(const Bucket& bucket) : bucket_(bucket) {}

  uint64_t Changes() const;
  Status StartAtRoot();
  Status Enter();
  Status Descend(bool to_last);
  Result<std::optional<Entry>> SeekNotLess(std::string_view key);
  Result<std::optional<Entry>> StepForward();
  Result<std::optional<Entry>> StepBackward();
  Result<std::optional<Entry>> Arrive();

  Bucket bucket_;
  std::vector<internal::Level> path_;  // root first
  At at_ = At::kBegin;
  std::string_view key_;  // of the current entry
  uint64_t changes_ = 0;  // the bucket's count of changes that path_ belongs to
};

// One state of the file. Its top level is a bucket too, Root(); what follows are shorthands for it.
class Tx {
 public:
  explicit Tx(TxState* state) : state_(state) {}
  Tx(const Tx&) = delete;
  Tx& operator=(const Tx&) = delete;

  bool writable() const;
  // Grows by one with each commit. Inside Update: the number that the commit will have.
  uint64_t id() const;

  Bucket Root() const;
  Result<std::optional<Bucket>> FindBucket(std::string_view name) const {
    return Root().FindBucket(name);
  }
  Result<Bucket> GetBucket(std::string_view name) const { return Root().GetBucket(name); }
  Result<Bucket> CreateBucket(std::string_view name) { return Root().CreateBucket(name); }
  Result<Bucket> CreateBucketIfNotExists(std::string_view name) {
    return Root().CreateBucketIfNotExists(name);
  }
  Status DeleteBucket(std::string_view name) { return Root().DeleteBucket(name); }

  TxState* state() const { return state_; }  // internal

 private:
  TxState* state_;
};

}  // namespace corten::bolt
