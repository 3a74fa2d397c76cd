// Ctrl-C and SIGTERM as a question that long work asks, instead of its sudden end. At most one at a
// time.
#pragma once

#include <signal.h>

namespace corten::cli {

inline constexpr int kInterruptedCode = 130;  // as a shell has it: 128 + SIGINT

class Interrupts {
 public:
  // From now on the first signal is only noted; the second one ends the program as ever.
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  // Any thread.
  static bool Seen();

 private:
  struct sigaction before_int_ = {};
  struct sigaction before_term_ = {};
};

}  // namespace corten::cli
