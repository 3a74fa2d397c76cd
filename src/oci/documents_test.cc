// The rest of a specification: defaults, mounts, devices, namespaces, filters, id maps.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/test_dir.h"
#include "oci/default_spec.h"
#include "oci/devices.h"
#include "oci/id_maps.h"
#include "oci/member_order.h"
#include "oci/mounts.h"
#include "oci/seccomp.h"

namespace corten::oci {
namespace {

TEST(Mounts, AreReadWithBothSpellingsAndQuotes) {
  EXPECT_EQ(ParseMount("type=bind,src=/a,dst=/b,options=rbind:ro").value(),
            (Json{{"destination", "/b"},
                  {"type", "bind"},
                  {"source", "/a"},
                  {"options", {"rbind", "ro"}}}));
  EXPECT_EQ(ParseMount(R"(type=bind,"source=/a,""b",destination=/c)").value()["source"], "/a,\"b");
  EXPECT_FALSE(ParseMount("type=bind,nonsense").ok());
  EXPECT_FALSE(ParseMount("color=blue").ok());
  EXPECT_FALSE(ParseMount("").ok());
  EXPECT_FALSE(ParseMount("\"type=x").ok());
}

TEST(Devices, TheNullDeviceIsKnown) {
  const Json entry = DeviceEntry("/dev/null").value();
  EXPECT_EQ(entry["type"], "c");
  EXPECT_EQ(entry["major"], 1);
  EXPECT_EQ(entry["minor"], 3);
  EXPECT_FALSE(DeviceEntry("/etc/passwd").ok());
  Json linux;
  ASSERT_TRUE(AddDevice(linux, "/dev/null").ok());
  EXPECT_EQ(linux["devices"].size(), 1u);
  EXPECT_EQ(linux["resources"]["devices"][0]["access"], "rwm");
  EXPECT_FALSE(AddDevice(linux, "/dev/none").ok());
}

TEST(Namespaces, AreJoinedOrLeftToTheHost) {
  Json spec = DefaultSpec("n", "c");
  EXPECT_EQ(spec["linux"]["cgroupsPath"], "/n/c");
  JoinNamespace(spec["linux"], "network", "/proc/1/ns/net");
  JoinNamespace(spec["linux"], "user", "/u");
  UseHostNamespace(spec["linux"], "pid");
  std::map<std::string, std::string> found;
  for (const Json& entry : spec["linux"]["namespaces"])
    found[String(entry, "type")] = String(entry, "path");
  EXPECT_EQ(found["network"], "/proc/1/ns/net");
  EXPECT_EQ(found["user"], "/u");
  EXPECT_FALSE(found.contains("pid"));
}

TEST(Privileged, NothingIsHiddenOrReadOnly) {
  Json spec = DefaultSpec("n", "c");
  spec["linux"]["seccomp"] = DefaultSeccompProfile({});
  MakePrivileged(spec, {"CAP_X"});
  EXPECT_FALSE(spec["linux"].contains("maskedPaths"));
  EXPECT_FALSE(spec["linux"].contains("readonlyPaths"));
  EXPECT_FALSE(spec["linux"].contains("seccomp"));
  for (const Json& mount : spec["mounts"]) {
    for (const std::string& option : Strings(mount, "options")) EXPECT_NE(option, "ro");
  }
}

// The action that an unconditional rule gives a call; empty: none.
std::string ActionFor(const Json& profile, const std::string& call) {
  std::string action;
  for (const Json& rule : profile["syscalls"]) {
    if (rule.contains("args")) continue;
    for (const std::string& name : Strings(rule, "names")) {
      if (name == call) action = String(rule, "action");
    }
  }
  return action;
}

TEST(Seccomp, CapabilitiesOpenWhatTheyAreFor) {
  const Json plain = DefaultSeccompProfile({});
  EXPECT_EQ(plain["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ(ActionFor(plain, "read"), "SCMP_ACT_ALLOW");
  EXPECT_EQ(ActionFor(plain, "mount"), "");
  EXPECT_EQ(ActionFor(plain, "reboot"), "");
  EXPECT_EQ(ActionFor(plain, "clone3"), "SCMP_ACT_ERRNO");
  const Json admin = DefaultSeccompProfile({"CAP_SYS_ADMIN", "CAP_SYS_BOOT"});
  EXPECT_EQ(ActionFor(admin, "mount"), "SCMP_ACT_ALLOW");
  EXPECT_EQ(ActionFor(admin, "reboot"), "SCMP_ACT_ALLOW");
  EXPECT_EQ(ActionFor(admin, "clone3"), "SCMP_ACT_ALLOW");
}

TEST(Seccomp, NoCallIsNamedTwiceInOneRule) {
  const Json profile = DefaultSeccompProfile({});
  ASSERT_FALSE(profile["syscalls"].empty());
  for (const Json& rule : profile["syscalls"]) {
    const std::vector<std::string> names = Strings(rule, "names");
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  }
}

TEST(IdMaps, AnIdOfTheContainerHasOneOnTheHost) {
  const IdMaps maps = {{0, 1000, 10}, {10, 5000, 5}};
  EXPECT_EQ(IdMapText(maps), "0:1000:10,10:5000:5");
  EXPECT_EQ(ToHost(maps, 9).value(), 1009u);
  EXPECT_EQ(ToHost(maps, 12).value(), 5002u);
  EXPECT_FALSE(ToHost(maps, 15).ok());
  Json linux;
  SetUserNamespace(linux, maps, {{0, 7, 1}});
  EXPECT_EQ(linux["namespaces"], Json::array({{{"type", "user"}}}));
  EXPECT_EQ(linux["uidMappings"][1]["hostID"], 5000);
  EXPECT_EQ(linux["gidMappings"][0]["size"], 1);
}

TEST(IdMaps, OwnersShiftOnceAndModesStay) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: owners are changed";
  TestDir tmp;
  const std::string base = tmp.dir().path() + "/tree";
  ASSERT_EQ(mkdir(base.c_str(), 0755), 0);
  ASSERT_EQ(mkdir((base + "/d").c_str(), 0755), 0);
  std::ofstream(base + "/d/f") << "x";
  ASSERT_EQ(chmod((base + "/d/f").c_str(), 04755), 0);
  ASSERT_EQ(link((base + "/d/f").c_str(), (base + "/g").c_str()), 0);
  ASSERT_EQ(symlink("/etc/passwd", (base + "/l").c_str()), 0);
  const Dir root = Dir::Open(base).value();
  ASSERT_TRUE(ShiftOwners(root, {{0, 1000, 500}, {1000, 9000, 10}}, {{0, 2000, 10}}).ok());
  struct stat st = {};
  for (const char* name : {"", "/d", "/d/f", "/g", "/l"}) {
    ASSERT_EQ(lstat((base + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000u) << name;  // a second shift would have made 9000 of the linked file
    EXPECT_EQ(st.st_gid, 2000u) << name;
  }
  ASSERT_EQ(lstat((base + "/g").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 04755u);
  ASSERT_EQ(lstat("/etc/passwd", &st), 0);
  EXPECT_EQ(st.st_uid, 0u);
}

TEST(MemberOrder, IsTheSpecificationsAndKeepsWhatItDoesNotKnow) {
  Json spec = Json::parse(
      R"({"linux":{"seccomp":{"syscalls":[{"action":"A","names":["n"]}],"defaultAction":"D"},"devices":[7,{"type":"c","path":"/p"}]},)"
      R"("x":1,"process":{"env":[],"odd":2,"args":["a"]},"ociVersion":"1.3.0","root":"no object"})");
  const Json before = spec;
  SetMembersInOrder(spec);
  EXPECT_EQ(
      Text(spec),
      R"({"ociVersion":"1.3.0","process":{"args":["a"],"env":[],"odd":2},"root":"no object",)"
      R"("linux":{"devices":[7,{"path":"/p","type":"c"}],"seccomp":{"defaultAction":"D","syscalls":[{"names":["n"],"action":"A"}]}},"x":1})");
  EXPECT_EQ(nlohmann::json::parse(Text(spec)), nlohmann::json::parse(Text(before)));
}

}  // namespace
}  // namespace corten::oci
