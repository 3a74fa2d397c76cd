#include "cli/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace corten::cli {
namespace {

TEST(Signals, NamesAndNumbersAreUnderstood) {
  EXPECT_EQ(ParseSignal("SIGTERM").value(), static_cast<uint32_t>(SIGTERM));
  EXPECT_EQ(ParseSignal("usr1").value(), static_cast<uint32_t>(SIGUSR1));
  EXPECT_EQ(ParseSignal("9").value(), static_cast<uint32_t>(SIGKILL));
  EXPECT_EQ(ParseSignal("SIGRTMIN").value(), 34u);
  EXPECT_EQ(ParseSignal("RTMIN+3").value(), 37u);
  EXPECT_EQ(ParseSignal("RTMAX-2").value(), 62u);
}

TEST(Signals, NonsenseIsRefused) {
  for (const char* text :
       {"", "0", "65", "-9", "SIGNOSUCH", "RTMIN-1", "RTMIN+31", "RTMAX+1", "9x"})
    EXPECT_FALSE(ParseSignal(text).ok()) << text;
}

}  // namespace
}  // namespace corten::cli
