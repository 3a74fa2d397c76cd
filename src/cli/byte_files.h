// Descriptors as sources and sinks of bytes. One thread each.
#pragma once

#include <string>

#include "base/fd.h"
#include "diff/differ.h"

namespace corten::cli {

class FdSource final : public diff::ByteSource {
 public:
  FdSource(FdRef fd, std::string name) : fd_(fd), name_(std::move(name)) {}  // fd: borrowed
  Result<size_t> Read(std::span<char> buffer) override {
    return ReadSome(fd_, buffer.data(), buffer.size(), name_);
  }

 private:
  const FdRef fd_;
  const std::string name_;
};

class FdSink final : public diff::ByteSink {
 public:
  FdSink(FdRef fd, std::string name) : fd_(fd), name_(std::move(name)) {}  // fd: borrowed
  Status Write(std::string_view data) override { return WriteAll(fd_, data, name_); }

 private:
  const FdRef fd_;
  const std::string name_;
};

}  // namespace corten::cli
