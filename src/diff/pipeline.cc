#include "diff/pipeline.h"

#include <chrono>
#include <system_error>
#include <thread>

#include "base/strcat.h"

namespace corten::diff {

namespace {
constexpr std::chrono::milliseconds kWake{100};
}  // namespace

Status StreamReader::CheckCanceled() const {
  if (options_.canceled && options_.canceled()) return CanceledError("unpack: canceled");
  return Ok();
}

Result<size_t> StreamReader::Fill(std::span<char> buffer) {
  TRY(CheckCanceled());
  size_t have = 0;
  while (have < buffer.size()) {
    const size_t n = TRY(source_.Read(buffer.subspan(have)));
    if (n == 0) break;
    have += n;
  }
  size_ += static_cast<int64_t>(have);
  if (options_.max_bytes > 0 && size_ > options_.max_bytes) {
    return ResourceExhaustedError("layer grows beyond ", options_.max_bytes, " bytes");
  }
  return have;
}

SerialStream::SerialStream(StreamReader& reader)
    : reader_(reader),
      buffer_(std::make_unique_for_overwrite<char[]>(Pipeline::kBufferSize)),
      hasher_(Hasher::Sha256()) {}

Result<std::string_view> SerialStream::Next() {
  const size_t n = TRY(reader_.Fill(std::span<char>(buffer_.get(), Pipeline::kBufferSize)));
  const std::string_view bytes(buffer_.get(), n);
  hasher_.Update(bytes);
  return bytes;
}

Pipeline::Pipeline(StreamReader& reader) : reader_(reader), hasher_(Hasher::Sha256()) {
  for (Buffer& buffer : buffers_)
    buffer.bytes = std::make_unique_for_overwrite<char[]>(kBufferSize);
}

Status Pipeline::Run(const std::function<Status(ChunkSource&)>& consume) {
  Status consumed;
  std::thread consumer;
  try {
    consumer = std::thread([this, &consume, &consumed] {
      consumed = consume(*this);
      const Lock lock(mutex_);
      consumer_gone_ = true;
      changed_.notify_all();
    });
  } catch (const std::system_error&) {
    return ResourceExhaustedError("unpack: no thread to be had");
  }
  started_ = true;
  Produce();
  consumer.join();
  if (error_.has_value()) return std::move(*error_);
  return consumed;
}

void Pipeline::Produce() {
  Lock lock(mutex_);
  while (AwaitFree(lock)) {
    Buffer& buffer = buffers_[filled_ % kBuffers];
    lock.unlock();
    Result<size_t> size = reader_.Fill(std::span<char>(buffer.bytes.get(), kBufferSize));
    lock.lock();
    if (!size.ok()) {
      error_ = std::move(size).TakeError();
      break;
    }
    if (*size == 0) break;
    buffer.size = *size;
    ++filled_;
    changed_.notify_all();
  }
  ended_ = true;
  changed_.notify_all();
}

bool Pipeline::AwaitFree(Lock& lock) {
  while (!consumer_gone_ && filled_ - released_ == kBuffers) {
    if (!hashing_ && hashed_ < filled_) {
      HashOne(lock);
      continue;
    }
    if (changed_.wait_for(lock, kWake) == std::cv_status::no_timeout) continue;
    lock.unlock();
    Status canceled = reader_.CheckCanceled();
    lock.lock();
    if (canceled.ok()) continue;
    error_ = std::move(canceled).TakeError();
    return false;
  }
  return !consumer_gone_;
}

void Pipeline::HashOne(Lock& lock) {
  const Buffer& buffer = buffers_[hashed_ % kBuffers];
  hashing_ = true;
  lock.unlock();
  hasher_.Update(std::string_view(buffer.bytes.get(), buffer.size));
  lock.lock();
  hashing_ = false;
  ++hashed_;
  changed_.notify_all();
}

// Gives the lent buffer back, which must have been hashed by then.
void Pipeline::Release(Lock& lock) {
  while (hashed_ <= released_) {
    if (hashing_) {
      changed_.wait(lock);
    } else {
      HashOne(lock);
    }
  }
  lent_ = false;
  ++released_;
  changed_.notify_all();
}

Result<std::string_view> Pipeline::Next() {
  Lock lock(mutex_);
  if (lent_) Release(lock);
  while (filled_ == released_ && !ended_) changed_.wait(lock);
  // What the reader met ends the unpacking too, at once.
  if (error_.has_value()) return error_->Clone();
  if (filled_ == released_) return std::string_view();
  lent_ = true;
  const Buffer& buffer = buffers_[released_ % kBuffers];
  return std::string_view(buffer.bytes.get(), buffer.size);
}

}  // namespace corten::diff
