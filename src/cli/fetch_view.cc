#include "cli/fetch_view.h"

namespace corten::cli {

namespace {
constexpr std::chrono::milliseconds kInterval(100);
}

FetchView::FetchView(std::string reference)
    : table_(std::move(reference)), thread_([this] { DrawOften(); }) {}

FetchView::~FetchView() { Finish(/*well=*/false); }

void FetchView::Told(const image::Progress& told) {
  const std::lock_guard lock(mutex_);
  table_.Apply(told);
}

void FetchView::DrawOften() {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, kInterval, [this] { return end_; })) DrawNow();
}

void FetchView::DrawNow() {
  screen_.Draw(table_.Picture(std::chrono::steady_clock::now() - start_));
}

void FetchView::Finish(bool well) {
  {
    const std::lock_guard lock(mutex_);
    if (end_) return;
    end_ = true;
    if (well) DrawNow();
  }
  ended_.notify_all();
  thread_.join();
}

}  // namespace corten::cli
