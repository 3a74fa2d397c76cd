#include "runtime/shim_pool.h"

#include <sys/wait.h>

#include <algorithm>
#include <utility>

namespace corten::runtime {

namespace {

// After the connection of a child has closed it becomes a zombie within microseconds; a hung one is
// looked at again and again, ever more rarely.
constexpr int kReapAttempts = 16;
constexpr std::chrono::milliseconds kFirstReapDelay{1};

}  // namespace

ShimPool::ShimPool(LoopThread& loop, std::function<void(const std::shared_ptr<ShimClient>&)> lost)
    : loop_(loop), lost_(std::move(lost)) {}

Result<std::shared_ptr<ShimClient>> ShimPool::Acquire(const Endpoint& endpoint, int pid,
                                                      std::chrono::milliseconds timeout) {
  const auto join = [&]() -> std::shared_ptr<ShimClient> {
    const auto found = entries_.find(endpoint.address);
    if (found == entries_.end() || found->second.client->closed()) return nullptr;
    ++found->second.users;
    return found->second.client;
  };
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return UnavailableError("shutting down");
    if (std::shared_ptr<ShimClient> client = join()) return client;
  }
  Result<std::shared_ptr<ShimClient>> connected = ShimClient::Connect(
      loop_, endpoint, timeout, [this](ShimClient* client) { OnClosed(client); });
  if (!connected.ok()) {
    if (pid > 0) loop_.Post([this, pid] { Reap(pid, 0); });
    return std::move(connected).TakeError();
  }
  std::shared_ptr<ShimClient> surplus;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      surplus = *connected;
    } else if (std::shared_ptr<ShimClient> client =
                   join()) {  // another container of the pod was quicker
      surplus = std::exchange(*connected, std::move(client));
    } else {
      entries_.insert_or_assign(endpoint.address, Entry{*connected, 1, pid});
    }
  }
  if (surplus == nullptr) return std::move(*connected);
  surplus->Close();
  if (surplus == *connected) return UnavailableError("shutting down");
  return std::move(*connected);
}

bool ShimPool::Release(const std::shared_ptr<ShimClient>& shim) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(shim->endpoint().address);
  if (found == entries_.end() || found->second.client != shim) return false;  // closed meanwhile
  if (--found->second.users > 0) return false;
  leaving_.push_back(std::move(found->second));
  entries_.erase(found);
  return true;
}

void ShimPool::Forget(const std::shared_ptr<ShimClient>& shim) {
  int pid = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(leaving_.begin(), leaving_.end(),
                                    [&](const Entry& entry) { return entry.client == shim; });
    if (found == leaving_.end()) return;
    pid = found->pid;
    leaving_.erase(found);
  }
  gone_.notify_all();
  shim->Close();
  if (pid > 0) loop_.Post([this, pid] { Reap(pid, 0); });
}

bool ShimPool::AwaitLeaving(const std::string& address, std::chrono::milliseconds timeout) {
  const auto is_leaving = [&] {
    return std::any_of(leaving_.begin(), leaving_.end(), [&](const Entry& entry) {
      return entry.client->endpoint().address == address;
    });
  };
  std::unique_lock lock(mutex_);
  if (!is_leaving()) return false;
  (void)gone_.wait_for(lock, timeout,
                       [&] { return !is_leaving(); });  // past that the caller takes its chance
  return true;
}

size_t ShimPool::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size() + leaving_.size();
}

void ShimPool::OnClosed(ShimClient* client) {
  Entry entry;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const auto found = entries_.find(client->endpoint().address);
    if (found != entries_.end() && found->second.client.get() == client) {
      entry = std::move(found->second);
      entries_.erase(found);
    } else {
      const auto left = std::find_if(leaving_.begin(), leaving_.end(),
                                     [&](const Entry& one) { return one.client.get() == client; });
      if (left == leaving_.end()) return;
      entry = std::move(*left);
      leaving_.erase(left);
    }
  }
  gone_.notify_all();
  lost_(entry.client);
  if (entry.pid > 0) Reap(entry.pid, 0);
  entry.client->Close();  // its descriptor now, whoever still holds the client
}

void ShimPool::Reap(int pid, int attempt) {
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) != 0 || attempt >= kReapAttempts)
    return;  // reaped, or not our child any more
  loop_.loop().After(kFirstReapDelay * (1 << attempt),
                     [this, pid, attempt] { Reap(pid, attempt + 1); });
}

void ShimPool::CloseAll() {
  std::vector<Entry> all;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (auto& [address, entry] : entries_) all.push_back(std::move(entry));
    for (Entry& entry : leaving_) all.push_back(std::move(entry));
    entries_.clear();
    leaving_.clear();
  }
  gone_.notify_all();
  for (const Entry& entry : all) entry.client->Close();
}

}  // namespace corten::runtime
