// The file under a database, as one interface, so that a disk that loses power is a unit test.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::bolt {

// A read-only view of a file's first bytes. Bytes past the end of the file must not be touched.
class Mapping {
 public:
  virtual ~Mapping() = default;
  virtual const char* data() const = 0;
  virtual size_t size() const = 0;
};

// Threads: Map, Size and Read may run beside anything; the others come from one thread at a time.
class File {
 public:
  virtual ~File() = default;

  // For error texts.
  virtual const std::string& name() const = 0;
  virtual Result<uint64_t> Size() = 0;
  // Fills `out` from `offset`; answers the bytes read, fewer than asked only at the end of the
  // file.
  virtual Result<size_t> Read(uint64_t offset, std::span<char> out) = 0;
  // Writes all of `parts` one behind the other at `offset`. On error any part of it may have been
  // written.
  virtual Status Write(uint64_t offset, std::span<const std::string_view> parts) = 0;
  // What was written before is durable when this returns, within the size that the last Sync made
  // durable.
  virtual Status DataSync() = 0;
  // Sets the size, and makes nothing durable.
  virtual Status Resize(uint64_t size) = 0;
  // DataSync, and the file's size.
  virtual Status Sync() = 0;
  // A view of the first `size` bytes that follows later writes; `size` may reach past the end of
  // the file.
  virtual Result<std::shared_ptr<const Mapping>> Map(size_t size) = 0;
};

enum class Mode : uint8_t {
  kReadWrite,  // creates the file if there is none
  kExisting,   // read and write, but kNotFound if there is no file
  kReadOnly,   // shared lock; Update answers kFailedPrecondition
};

// Opens `name` relative to directory `dir_fd` (AT_FDCWD allowed; borrowed for the call) and takes
// flock on it: exclusive, or shared for kReadOnly; retried every 50 ms until `lock_timeout` is over
// (negative: for ever). A created file has `permissions` less the umask, and its directory entry is
// durable. Errors: kUnavailable (locked; the text names the holder's pid and command where
// /proc/locks tells them), kNotFound, kInvalidArgument (not a regular file), and those of open(2).
Result<std::unique_ptr<File>> OpenFile(int dir_fd, const std::string& name, Mode mode,
                                       uint32_t permissions,
                                       std::chrono::milliseconds lock_timeout);

}  // namespace corten::bolt
