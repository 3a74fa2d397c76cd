// What was made so far, undone in reverse unless kept. Each step may fail: what stays is named by
// the next listing. One thread. Steps borrow what they name; declare that before the Undo.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace corten::cli {

class Undo {
 public:
  Undo() = default;
  ~Undo() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  void Add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void Keep() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace corten::cli
