// A disk that loses power: what was not flushed is kept, lost, torn and reordered as a seed
// decides. Test code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "bolt/file.h"

namespace corten::bolt {

// Bytes that a disk writes as one.
inline constexpr uint64_t kSectorSize = 512;

// What of the unflushed is on the disk after the power is back.
enum class Loss : uint8_t {
  kAll,      // nothing of it
  kNothing,  // all of it
  kWrites,   // each write is there or not, whatever the order
  kSectors,  // each sector of each write is there or not
  kPrefix,   // the first writes, the next one in part
  kLast,     // the latest write alone
};
inline constexpr Loss kLosses[] = {Loss::kAll,     Loss::kNothing, Loss::kWrites,
                                   Loss::kSectors, Loss::kPrefix,  Loss::kLast};

class FaultyDisk final : public File {
 public:
  enum class Op : uint8_t { kWrite, kResize, kDataSync, kSync };

  // A disk that holds `content`, durably.
  explicit FaultyDisk(std::string_view content = {});

  const std::string& name() const override { return name_; }
  Result<uint64_t> Size() override;
  Result<size_t> Read(uint64_t offset, std::span<char> out) override;
  Status Write(uint64_t offset, std::span<const std::string_view> parts) override;
  Status DataSync() override;
  Status Resize(uint64_t size) override;
  Status Sync() override;
  Result<std::shared_ptr<const Mapping>> Map(size_t size) override;

  // Called before each operation; an error is its result. Called after each operation that worked.
  std::function<Status(Op)> before;
  std::function<void(Op)> after;
  // Flushes for which this says true answer Ok and do nothing.
  std::function<bool(Op)> lies;

  // What would be on the disk if the power went now.
  std::string Crash(Loss loss, std::mt19937_64& random) const;
  // Another disk in the same state: what a killed process leaves to the next one.
  std::unique_ptr<FaultyDisk> Clone() const;
  // Whether a write below / at or above `offset` is unflushed.
  bool UnflushedBelow(uint64_t offset) const;
  bool UnflushedFrom(uint64_t offset) const;

 private:
  struct Change {
    bool resize = false;
    uint64_t offset = 0;  // or the new size
    std::string bytes;
  };
  void Settle(bool size_too);
  static void Apply(const Change& change, std::string* content);

  std::string name_ = "faulty.db";
  Fd live_;  // what programs see: a memory file
  std::string durable_;
  std::vector<Change> unflushed_;  // in order
};

}  // namespace corten::bolt
