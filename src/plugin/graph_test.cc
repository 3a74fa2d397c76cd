#include "plugin/graph.h"

#include <gtest/gtest.h>

namespace corten::plugin {
namespace {

struct Thing {
  std::string name;
  std::string* log;
  ~Thing() { *log += StrCat("-", name); }
};
constexpr PluginType<Thing> kA{"io.test.a.v1"};
constexpr PluginType<Thing> kB{"io.test.b.v1"};

Descriptor Make(PluginType<Thing> type, const std::string& id, std::vector<std::string> needs,
                std::string* log) {
  return MakeDescriptor<Thing>(type, id, std::move(needs),
                               [log, id](InitContext&) -> Result<std::unique_ptr<Thing>> {
                                 *log += StrCat("+", id);
                                 return std::unique_ptr<Thing>(new Thing{id, log});
                               });
}

TEST(Graph, BuildsInOrderOfNeedAndDestroysInReverse) {
  std::string log;
  {
    Graph graph({Make(kB, "b", {"io.test.a.v1"}, &log), Make(kA, "a1", {}, &log),
                 Make(kA, "a2", {}, &log)});
    ASSERT_TRUE(graph.Initialise({}, {}).ok());
    EXPECT_EQ(log, "+a1+a2+b");
    EXPECT_EQ(graph.Get(kA, "a2")->name, "a2");
    EXPECT_EQ(graph.FindAll(kA.name).size(), 2u);
  }
  EXPECT_EQ(log, "+a1+a2+b-b-a2-a1");
}

TEST(Graph, AFailedPluginIsKeptWithItsErrorUnlessRequired) {
  std::string log;
  const auto failing = [&] {
    return MakeDescriptor<Thing>(kA, "bad", {}, [](InitContext&) -> Result<std::unique_ptr<Thing>> {
      return SkipPlugin("no such kernel");
    });
  };
  std::vector<Descriptor> list;
  list.push_back(failing());
  list.push_back(Make(kB, "b", {"io.test.a.v1"}, &log));
  Graph graph(std::move(list));
  int failures = 0;
  ASSERT_TRUE(
      graph.Initialise({}, [&](const Record& record) { failures += record.skipped ? 1 : 0; }).ok());
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(graph.records().size(), 2u);

  std::vector<Descriptor> again;
  again.push_back(failing());
  Graph strict(std::move(again));
  Graph::Options options;
  options.required = {"io.test.a.v1.bad"};
  EXPECT_EQ(strict.Initialise(options, {}).error().text(),
            "load required plugin io.test.a.v1.bad: no such kernel: skip plugin");
  options.required = {"nodots"};
  Graph other({});
  EXPECT_FALSE(other.Initialise(options, {}).ok());
}

TEST(Graph, DisabledPluginsAreNotBuilt) {
  std::string log;
  Graph graph({Make(kA, "a1", {}, &log), Make(kA, "a2", {}, &log)});
  Graph::Options options;
  options.disabled = {"io.test.a.v1.a1"};
  ASSERT_TRUE(graph.Initialise(options, {}).ok());
  EXPECT_EQ(log, "+a2");
}

TEST(ConfigTable, ChecksTypesAndSuggestsNames) {
  bool flag = false;
  Duration delay;
  std::vector<std::string> list;
  ConfigTable table;
  table.Add("sync_remove", &flag).Add("schedule_delay", &delay).Add("mount_options", &list);
  EXPECT_TRUE(table.Set("sync_remove", true).ok());
  EXPECT_TRUE(flag);
  EXPECT_TRUE(table.Set("schedule_delay", std::string("1m")).ok());
  EXPECT_EQ(std::get<std::string>(ConfigTable::Get(table.fields()[1])), "1m0s");
  EXPECT_EQ(table.Set("sync_remove", std::string("yes")).error().text(),
            "key \"sync_remove\": want true or false");
  EXPECT_EQ(table.Set("sync_remov", true).error().text(),
            "unknown key \"sync_remov\", did you mean \"sync_remove\"?");
  EXPECT_EQ(table.Set("zzz", true).error().text(), "unknown key \"zzz\"");
}

}  // namespace
}  // namespace corten::plugin
