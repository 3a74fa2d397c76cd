#include "runtime/runtime_name.h"

#include <gtest/gtest.h>

#include "runtime/scratch_dir.h"

namespace corten::runtime {
namespace {

TEST(ShimProgramName, UsesTheLastTwoParts) {
  EXPECT_EQ(*ShimProgramName("io.containerd.runc.v2"), "containerd-shim-runc-v2");
  EXPECT_EQ(*ShimProgramName("kata.v2"), "containerd-shim-kata-v2");
  EXPECT_EQ(*ShimProgramName("io.containerd.spin-oci.v1"), "containerd-shim-spin-oci-v1");
}

TEST(ShimProgramName, RefusesOnePartAndEmptyOnes) {
  for (const char* name : {"runc", "", ".", "runc.", ".v2", "io..v2"}) {
    const auto program = ShimProgramName(name);
    ASSERT_FALSE(program.ok()) << name;
    EXPECT_EQ(program.error().code(), Code::kUnknown);
  }
}

TEST(RuntimeResolver, LooksInOwnDirectoriesThenPathThenBesideTheDaemon) {
  const ScratchDir dir;
  const auto resolve = [&dir](const std::string& runtime) {
    return RuntimeResolver({dir / "own"}, dir / "p1" + "::" + (dir / "p2"), {dir / "beside"})
        .Resolve(runtime);
  };
  dir.WriteProgram("beside/containerd-shim-a-v1", "");
  EXPECT_EQ(*resolve("x.a.v1"), dir / "beside/containerd-shim-a-v1");
  dir.WriteProgram("p2/containerd-shim-a-v1", "");
  EXPECT_EQ(*resolve("x.a.v1"), dir / "p2/containerd-shim-a-v1");
  dir.WriteProgram("own/containerd-shim-a-v1", "");
  EXPECT_EQ(*resolve("x.a.v1"), dir / "own/containerd-shim-a-v1");
}

TEST(RuntimeResolver, TakesAnAbsolutePathAsItIs) {
  const ScratchDir dir;
  dir.WriteProgram("shim", "");
  RuntimeResolver resolver({}, "", {});
  EXPECT_EQ(*resolver.Resolve(dir / "shim"), dir / "shim");
  EXPECT_FALSE(resolver.Resolve(dir / "none").ok());
  EXPECT_FALSE(resolver.Resolve(dir.path()).ok()) << "a directory is no program";
  EXPECT_EQ(resolver.Resolve("bin/shim").error().code(), Code::kUnknown);
}

TEST(RuntimeResolver, SaysWhatIsMissingInContainerdsWords) {
  RuntimeResolver resolver({}, "/nonexistent", {});
  const auto path = resolver.Resolve("io.containerd.nope.v1");
  ASSERT_FALSE(path.ok());
  EXPECT_EQ(path.error().text(),
            "runtime \"io.containerd.nope.v1\" binary not installed \"containerd-shim-nope-v1\": "
            "file does not exist");
}

}  // namespace
}  // namespace corten::runtime
