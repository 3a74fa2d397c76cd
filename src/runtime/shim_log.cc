#include "runtime/shim_log.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <memory>

namespace corten::runtime {

namespace {
constexpr size_t kChunk = 16384;
constexpr int kChunksPerTurn =
    4;  // so that one talkative shim does not hold up the others' replies
}  // namespace

Status ShimLogs::Watch(const Bundle& bundle) {
  Fd opened = TRY(bundle.OpenLog());
  auto fifo =
      std::make_shared<Fd>(std::move(opened));  // shared only to pass through a copyable task
  loop_.Post([this, key = bundle.key(), fifo] {
    const auto [entry, fresh] = fifos_.try_emplace(key, std::move(*fifo));
    if (!fresh) return;
    const Status added =
        loop_.loop().Add(entry->second, EPOLLIN, [this, key](uint32_t) { Copy(key); });
    if (!added.ok()) fifos_.erase(entry);  // its log is lost, nothing else
  });
  return Ok();
}

void ShimLogs::Copy(const TaskKey& key) {
  const auto found = fifos_.find(key);
  if (found == fifos_.end()) return;
  char buffer[kChunk];
  for (int turn = 0; turn < kChunksPerTurn; ++turn) {
    const ssize_t got = read(found->second.get(), buffer, sizeof(buffer));
    if (got <= 0) return;
    pollfd ready{target_.get(), POLLOUT, 0};
    const ssize_t put =
        poll(&ready, 1, 0) == 1 ? write(target_.get(), buffer, static_cast<size_t>(got)) : 0;
    if (put < got) dropped_ += static_cast<uint64_t>(got - std::max<ssize_t>(put, 0));
  }
}

void ShimLogs::Forget(const TaskKey& key) {
  loop_.Post([this, key] {
    const auto found = fifos_.find(key);
    if (found == fifos_.end()) return;
    Copy(key);
    loop_.loop().Remove(found->second);
    fifos_.erase(found);
  });
}

void ShimLogs::Clear() {
  for (const auto& [key, fifo] : fifos_) loop_.loop().Remove(fifo);
  fifos_.clear();
}

}  // namespace corten::runtime
