#include "base/kernel_version.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <string>

namespace corten {
namespace {

TEST(KernelVersion, OrdersReleasesByBothNumbers) {
  utsname name = {};
  ASSERT_EQ(uname(&name), 0);
  const std::string release = name.release;
  const int major = std::atoi(release.c_str());
  const int minor = std::atoi(release.substr(release.find('.') + 1).c_str());
  EXPECT_TRUE(KernelIsAtLeast(major, minor));
  EXPECT_FALSE(KernelIsAtLeast(major, minor + 1));
  EXPECT_TRUE(KernelIsAtLeast(major - 1, minor + 1));
  EXPECT_FALSE(KernelIsAtLeast(major + 1, 0));
}

}  // namespace
}  // namespace corten
