// What this program fetches, drawn ten times a second by a thread of its own until Finish.
// Told: any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "cli/progress_picture.h"
#include "cli/transfer_view.h"

namespace corten::cli {

class FetchView {
 public:
  explicit FetchView(std::string reference);
  ~FetchView();
  FetchView(const FetchView&) = delete;
  FetchView& operator=(const FetchView&) = delete;
  void Told(const image::Progress& told);
  // Ends the drawing; with a last picture if all went well.
  void Finish(bool well);

 private:
  void DrawOften();
  void DrawNow();  // REQUIRES: mutex_ held
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;  // guards all below
  std::condition_variable ended_;
  bool end_ = false;
  FetchTable table_;
  Screen screen_{FdRef(1)};
  std::thread thread_;
};

}  // namespace corten::cli
