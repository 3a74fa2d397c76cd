#include "cli/transfer_view.h"

#include <unistd.h>

#include <cstdio>

#include "os/pty.h"

namespace corten::cli {

Screen::Screen(FdRef out) : out_(out) {
  if (isatty(out.get()) != 1) return;
  constexpr int kUsual = 80;
  const Result<os::WindowSize> size = os::GetWindowSize(out);
  columns_ = size.ok() && size->columns > 0 ? size->columns : kUsual;
}

void Screen::Draw(const std::string& picture) {
  std::string text;
  if (columns_ > 0) {
    for (int i = 0; i < drawn_; ++i) text += "\033[1A\033[2K\r";
    drawn_ = LinesOnScreen(picture, columns_);
  }
  (void)fflush(stdout);                                     // what was printed before comes before
  (void)WriteAll(out_, StrCat(text, picture), "progress");  // who does not read it misses it
}

void TransferView::Told(const client::TransferProgress& told) {
  const image::Progress progress = {told.event,    told.name,  told.parents,
                                    told.progress, told.total, told.descriptor};
  if (tree_.Apply(progress)) screen_.Draw(tree_.Picture(std::chrono::steady_clock::now() - start_));
}

}  // namespace corten::cli
