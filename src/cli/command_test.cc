#include "cli/command.h"

#include <gtest/gtest.h>

#include "cli/table.h"

namespace corten::cli {
namespace {

struct Seen {
  Values values;
  int calls = 0;
};

Command Program(Seen* seen) {
  Command list;
  list.names = {"list", "ls"};
  list.flags = {BoolFlag({"quiet", "q"}, ""), ListFlag({"label"}, ""), IntFlag({"count"}, "", "7"),
                DurationFlag({"wait"}, "", "1m")};
  list.action = [seen](const Values& values) -> Result<int> {
    seen->values = values;
    ++seen->calls;
    return 5;
  };
  Command group;
  group.names = {"things", "t"};
  group.commands = {list};
  Command root;
  root.names = {"prog"};
  root.flags = {TextFlag({"address", "a"}, "", "/default", "CORTEN_TEST_ADDRESS")};
  root.commands = {group};
  return root;
}

TEST(Command, FlagsComeBeforeArgumentsInAllForms) {
  Seen seen;
  EXPECT_EQ(RunProgram(Program(&seen), {"-a", "/x", "t", "ls", "-quiet", "--label=a=b", "--label",
                                        "c", "--count=3", "one", "--two"}),
            5);
  EXPECT_EQ(seen.values.Text("address"), "/x");
  EXPECT_TRUE(seen.values.Bool("quiet"));
  EXPECT_EQ(seen.values.List("label"), (std::vector<std::string>{"a=b", "c"}));
  EXPECT_EQ(seen.values.Int("count"), 3);
  EXPECT_EQ(seen.values.Nanos("wait"), 60000000000);
  EXPECT_FALSE(seen.values.Has("wait"));
  EXPECT_EQ(seen.values.args, (std::vector<std::string>{"one", "--two"}));
}

TEST(Command, OneLetterBooleansAreJoinedButNotInCtr) {
  Seen seen;
  Command root = Program(&seen);
  root.commands[0].commands[0].flags.push_back(BoolFlag({"verbose", "v"}, ""));
  EXPECT_EQ(RunProgram(root, {"t", "ls", "-qv", "one"}), 5);
  EXPECT_TRUE(seen.values.Bool("quiet"));
  EXPECT_TRUE(seen.values.Bool("verbose"));
  EXPECT_EQ(RunProgram(root, {"t", "ls", "-qx"}), 1);
  root.names = {"ctr"};
  EXPECT_EQ(RunProgram(root, {"t", "ls", "-qv", "one"}), 1);
}

TEST(Command, FlagsMayStandAnywhereWhereACommandSaysSo) {
  Seen seen;
  Command root = Program(&seen);
  root.commands[0].commands[0].flags_anywhere = true;
  EXPECT_EQ(
      RunProgram(root, {"t", "ls", "one", "--count", "3", "two", "-q", "--", "--count", "-q"}), 5);
  EXPECT_EQ(seen.values.Int("count"), 3);
  EXPECT_TRUE(seen.values.Bool("quiet"));
  EXPECT_EQ(seen.values.args, (std::vector<std::string>{"one", "two", "--count", "-q"}));
  EXPECT_EQ(RunProgram(root, {"t", "ls", "--", "-q"}), 5);
  EXPECT_FALSE(seen.values.Bool("quiet"));
  EXPECT_EQ(seen.values.args, (std::vector<std::string>{"-q"}));
  EXPECT_EQ(RunProgram(root, {"t", "ls", "one", "--nope"}), 1);
}

TEST(Command, TheEnvironmentFillsInAndTheLineWins) {
  Seen seen;
  ASSERT_EQ(setenv("CORTEN_TEST_ADDRESS", "/env", 1), 0);
  EXPECT_EQ(RunProgram(Program(&seen), {"things", "list"}), 5);
  EXPECT_EQ(seen.values.Text("address"), "/env");
  EXPECT_EQ(RunProgram(Program(&seen), {"-a=/line", "things", "list"}), 5);
  EXPECT_EQ(seen.values.Text("address"), "/line");
  ASSERT_EQ(unsetenv("CORTEN_TEST_ADDRESS"), 0);
}

TEST(Command, UnknownWordsAndBadFlagsHaveTheirExitCodes) {
  Seen seen;
  EXPECT_EQ(RunProgram(Program(&seen), {"nothing"}), 3);
  EXPECT_EQ(RunProgram(Program(&seen), {"things", "nothing"}), 3);
  EXPECT_EQ(RunProgram(Program(&seen), {"things"}), 0);
  EXPECT_EQ(RunProgram(Program(&seen), {"things", "ls", "--nope"}), 1);
  EXPECT_EQ(RunProgram(Program(&seen), {"things", "ls", "--count=x"}), 1);
  EXPECT_EQ(RunProgram(Program(&seen), {"things", "ls", "--label"}), 1);
  EXPECT_EQ(seen.calls, 0);
}

TEST(Table, AlignsColumnsAsCtrDoes) {
  Table table(kTight);
  table.Row({"NAME", "LABELS"});
  table.Row({"foo", "a=b"});
  EXPECT_EQ(table.Render(), "NAME LABELS \nfoo  a=b    \n");
  Table wide(kWide);
  wide.Row({"TASK", "PID", "STATUS"});
  wide.Row({"c1", "12345", "RUNNING"}, /*trailing=*/false);
  EXPECT_EQ(wide.Render(), "TASK    PID      STATUS    \nc1      12345    RUNNING\n");
  Table tabs(kTabbed);
  tabs.Row({"DIGEST", "SIZE"});
  tabs.Row({"sha256:5891b5b522d5", "6B"});
  EXPECT_EQ(tabs.Render(), "DIGEST\t\t\tSIZE\t\nsha256:5891b5b522d5\t6B\t\n");
}

TEST(Sizes, HaveTheUnitsOfTheirColumns) {
  EXPECT_EQ(BinarySize(2097152), "2.0 MiB");
  EXPECT_EQ(BinarySize(582), "582.0 B");
  EXPECT_EQ(DecimalSize(6), "6B");
  EXPECT_EQ(DecimalSize(2140000), "2.14MB");
  EXPECT_EQ(HumanAge(0), "Less than a second");
  EXPECT_EQ(HumanAge(65), "About a minute");
  EXPECT_EQ(HumanAge(3 * 3600), "3 hours");
}

}  // namespace
}  // namespace corten::cli
