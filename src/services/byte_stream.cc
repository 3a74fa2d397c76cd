#include "services/byte_stream.h"

#include <algorithm>
#include <cstring>

#include "containerd/types/transfer/streaming.pb.h"

namespace corten::services {

namespace {

namespace types = containerd::types::transfer;

constexpr std::string_view kData = "containerd.types.transfer.Data";
constexpr std::string_view kWindowUpdate = "containerd.types.transfer.WindowUpdate";
constexpr size_t kMaxData = 32u << 10;
// Larger than the 64 KiB that clients grant themselves: fewer turns for a long archive. Half of
// what a Stream holds.
constexpr int32_t kWindow = 1 << 20;

bool Is(const model::Any& message, std::string_view type) {
  return message.type_url.ends_with(type) &&
         (message.type_url.size() == type.size() ||
          message.type_url[message.type_url.size() - type.size() - 1] == '/');
}

model::Any DataMessage(std::string_view data) {
  types::Data message;
  message.set_data(data.data(), data.size());
  return {std::string(kData), message.SerializeAsString()};
}

}  // namespace

Result<size_t> StreamSource::Read(std::span<char> buffer) {
  while (at_ == data_.size()) {
    if (window_ < kWindow / 2) {
      types::WindowUpdate update;
      update.set_update(kWindow);
      TRY(stream_->Send({std::string(kWindowUpdate), update.SerializeAsString()}, canceled_));
      window_ += kWindow;
    }
    const std::optional<model::Any> message = TRY(stream_->Receive(canceled_));
    if (!message.has_value()) return size_t{0};
    if (!Is(*message, kData)) continue;
    types::Data data;
    if (!data.ParseFromString(message->value))
      return InvalidArgumentError("stream: malformed Data message");
    data_ = std::move(*data.mutable_data());
    at_ = 0;
    window_ -= static_cast<int64_t>(data_.size());
  }
  const size_t n = std::min(buffer.size(), data_.size() - at_);
  memcpy(buffer.data(), data_.data() + at_, n);
  at_ += n;
  return n;
}

void StreamSink::Grant(const model::Any& message) {
  types::WindowUpdate update;
  if (Is(message, kWindowUpdate) && update.ParseFromString(message.value) && update.update() > 0)
    window_ += update.update();
}

Status StreamSink::Write(std::string_view data) {
  while (!data.empty()) {
    while (window_ <= 0) {
      const std::optional<model::Any> message = TRY(stream_->Receive(canceled_));
      if (!message.has_value()) return UnavailableError("stream closed by the client");
      Grant(*message);
    }
    const size_t n = std::min({data.size(), kMaxData, static_cast<size_t>(window_)});
    TRY(stream_->Send(DataMessage(data.substr(0, n)), canceled_));
    window_ -= static_cast<int64_t>(n);
    data.remove_prefix(n);
  }
  return Ok();
}

void StreamSink::WriteOrDrop(std::string_view data) {
  while (const std::optional<model::Any> message = stream_->TryReceive()) Grant(*message);
  const size_t n =
      std::min({data.size(), kMaxData, static_cast<size_t>(std::max<int64_t>(window_, 0))});
  if (n == data.size() && stream_->TrySend(DataMessage(data))) window_ -= static_cast<int64_t>(n);
}

}  // namespace corten::services
