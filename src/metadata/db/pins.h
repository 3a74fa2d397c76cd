// Locks that live in the process only: names in use that the collector must not delete in a
// backend, and calls on one key that must not overlap. All classes are thread-safe; the holders
// they hand out belong to one thread at a time and must not outlive the table.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace corten::metadata {

// Names (digests, backend names) that somebody is about to write a row for.
//
// The collector decides from a list that may be older than a row, so it brackets its work with a
// Sweep: TryClaim refuses every name that was pinned at any moment since the sweep began.
class PinTable {
 public:
  class Pin {
   public:
    Pin() = default;
    Pin(PinTable* table, std::string name) : table_(table), name_(std::move(name)) {}
    Pin(Pin&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), name_(std::move(other.name_)) {}
    Pin& operator=(Pin&& other) noexcept {
      Drop();
      table_ = std::exchange(other.table_, nullptr);
      name_ = std::move(other.name_);
      return *this;
    }
    ~Pin() { Drop(); }

   private:
    void Drop() {
      if (table_ != nullptr) table_->Unpin(name_);
      table_ = nullptr;
    }
    PinTable* table_ = nullptr;
    std::string name_;
  };

  // Waits while the collector is deleting this very name.
  [[nodiscard]] Pin Acquire(const std::string& name);
  // What is pinned now: rows of these names are roots for a collection that begins.
  std::set<std::string> Pinned() const;

  // One at a time.
  class Sweep {
   public:
    explicit Sweep(PinTable* table);
    ~Sweep();
    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;
    // True: nobody had the name since the sweep began, and nobody gets it before Release.
    bool TryClaim(const std::string& name);
    void Release(const std::string& name);

   private:
    PinTable* table_;
  };

 private:
  void Unpin(const std::string& name);

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable released_;
  std::map<std::string, size_t> pinned_;
  std::set<std::string> claimed_;
  bool sweeping_ = false;
  std::set<std::string> recent_;  // pinned at some time during the sweep
};

// One holder per key at a time.
class KeyLocks {
 public:
  class Hold {
   public:
    Hold() = default;
    Hold(KeyLocks* locks, std::string key) : locks_(locks), key_(std::move(key)) {}
    Hold(Hold&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), key_(std::move(other.key_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (locks_ != nullptr) locks_->Unlock(key_);
    }

   private:
    KeyLocks* locks_ = nullptr;
    std::string key_;
  };
  [[nodiscard]] Hold Lock(const std::string& key);

 private:
  void Unlock(const std::string& key);
  std::mutex mutex_;
  std::condition_variable free_;
  std::set<std::string> held_;
};

}  // namespace corten::metadata
