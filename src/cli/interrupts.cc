#include "cli/interrupts.h"

#include <atomic>

namespace corten::cli {

namespace {
std::atomic<bool> seen = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");
void Note(int) { seen = true; }
}  // namespace

Interrupts::Interrupts() {
  struct sigaction note = {};
  note.sa_handler = &Note;
  note.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  (void)sigaction(SIGINT, &note, &before_int_);
  (void)sigaction(SIGTERM, &note, &before_term_);
}

Interrupts::~Interrupts() {
  (void)sigaction(SIGINT, &before_int_, nullptr);
  (void)sigaction(SIGTERM, &before_term_, nullptr);
}

bool Interrupts::Seen() { return seen; }

}  // namespace corten::cli
