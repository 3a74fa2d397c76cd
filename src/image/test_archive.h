// Small archives and images made in memory, for the tests of this room.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "content/fake_store.h"
#include "diff/tar_writer.h"
#include "model/descriptor.h"

namespace corten::image {

class StringSink final : public diff::ByteSink {
 public:
  Status Write(std::string_view data) override {
    text.append(data);
    return Ok();
  }
  std::string text;
};

// Gives out a string in pieces.
class StringSource final : public diff::ByteSource {
 public:
  explicit StringSource(std::string data, size_t piece = 1000)
      : data_(std::move(data)), piece_(piece) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t n = std::min({buffer.size(), piece_, data_.size() - at_});
    data_.copy(buffer.data(), n, at_);
    at_ += n;
    return n;
  }

 private:
  const std::string data_;
  const size_t piece_;
  size_t at_ = 0;
};

struct TestFile {
  std::string name;
  std::string data;
  char type = diff::kRegular;
};

inline std::string MakeTar(const std::vector<TestFile>& files) {
  StringSink sink;
  diff::TarWriter tar(sink);
  for (const TestFile& file : files) {
    diff::TarEntry entry;
    entry.type = file.type;
    entry.name = file.name;
    entry.mode = 0644;
    if (file.type == diff::kSymlink) {
      entry.link_name = file.data;
    } else {
      entry.size = static_cast<int64_t>(file.data.size());
    }
    tar.WriteHeader(entry).value();
    if (entry.size > 0) tar.WriteData(file.data).value();
  }
  tar.Finish().value();
  return sink.text;
}

inline model::Descriptor Describe(std::string_view media_type, const std::string& data) {
  model::Descriptor out;
  out.media_type = media_type;
  out.digest = model::Digest::Parse(Sha256Digest(data)).value();
  out.size = static_cast<int64_t>(data.size());
  return out;
}

inline std::string BlobName(const model::Descriptor& blob) {
  return StrCat("blobs/sha256/", blob.digest.hex());
}

}  // namespace corten::image
