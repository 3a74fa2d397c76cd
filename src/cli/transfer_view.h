// Pictures of progress. On a terminal each is drawn over the one before, elsewhere each
// is appended. Told: any thread, one at a time.
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "cli/progress_picture.h"
#include "client/transfer.h"

namespace corten::cli {

class Screen {
 public:
  explicit Screen(FdRef out);  // borrowed
  bool is_terminal() const { return columns_ > 0; }
  void Draw(const std::string& picture);

 private:
  const FdRef out_;
  int columns_ = 0;  // of the terminal; 0: there is none
  int drawn_ = 0;    // lines of the picture that is there
};

// A transfer, drawn whenever something is told.
class TransferView {
 public:
  void Told(const client::TransferProgress& told);

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  TransferTree tree_;
  Screen screen_{FdRef(1)};
};

}  // namespace corten::cli
