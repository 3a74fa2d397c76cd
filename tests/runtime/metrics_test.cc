// Metrics that the daemon reads itself are those that the shim would have told.
#include <google/protobuf/message.h>

#include <csignal>
#include <fstream>
#include <set>

#include "containerd/task/v3/task.pb.h"
#include "fixture.h"
#include "io/containerd/cgroups/v1/metrics.pb.h"
#include "io/containerd/cgroups/v2/metrics.pb.h"
#include "os/cgroup.h"
#include "runtime/bundle.h"
#include "runtime/loop_thread.h"
#include "runtime/shim_client.h"

namespace corten::runtime {
namespace {

namespace pb = ::containerd::task::v3;

// "memory.usage_limit=123" for each number that is set. Averages and totals of pressure move while
// nothing happens, so of those only the name.
void Spread(const google::protobuf::Message& message, const std::string& prefix,
            std::set<std::string>* out) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    const std::string name = StrCat(prefix, field->name());
    if (field->type() != google::protobuf::FieldDescriptor::TYPE_MESSAGE) {
      const bool moves = name.find("psi.") != std::string::npos;
      std::string value;
      if (!moves && !field->is_repeated() &&
          field->type() == google::protobuf::FieldDescriptor::TYPE_UINT64)
        value = StrCat("=", reflection->GetUInt64(message, field));
      if (field->is_repeated()) value = StrCat(" x ", reflection->FieldSize(message, field));
      if (!moves || name.find("total") != std::string::npos) out->insert(name + value);
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        Spread(reflection->GetRepeatedMessage(message, field, i), StrCat(name, "[", i, "]."), out);
    } else {
      Spread(reflection->GetMessage(message, field), StrCat(name, "."), out);
    }
  }
}

std::set<std::string> Figures(const std::string& type, const std::string& bytes) {
  std::set<std::string> out{type};
  ::io::containerd::cgroups::v1::Metrics old;
  ::io::containerd::cgroups::v2::Metrics unified;
  if (type == "io.containerd.cgroups.v1.Metrics" && old.ParseFromString(bytes)) {
    Spread(old, "", &out);
  } else if (type == "io.containerd.cgroups.v2.Metrics" && unified.ParseFromString(bytes)) {
    Spread(unified, "", &out);
  }
  return out;
}

class MetricsJourney : public RuntimeFixture {
 protected:
  std::vector<Metric> Metrics() {
    Pending<std::vector<Metric>> all;
    tasks_->Metrics(ns_, nullptr, all.Callback());
    Result<std::vector<Metric>> got = all.Get();
    EXPECT_TRUE(got.ok()) << got.error().text();
    return got.ok() ? std::move(*got) : std::vector<Metric>();
  }
  // What the task's shim itself says.
  Result<pb::StatsResponse> AskShim(const TaskKey& task) {
    const BundleStore store = TRY(BundleStore::Open(settings_.root, settings_.state));
    const Endpoint endpoint = TRY(store.At(task).ReadEndpoint());
    const std::unique_ptr<LoopThread> loop = TRY(LoopThread::Start("test"));
    const std::shared_ptr<ShimClient> shim =
        TRY(ShimClient::Connect(*loop, endpoint, std::chrono::seconds(5), [](ShimClient*) {}));
    pb::StatsRequest request;
    request.set_id(task.id.str());
    const Result<std::string> reply =
        shim->CallSync(task.ns, "Stats", request.SerializeAsString(), kLong);
    shim->Close();
    if (!reply.ok()) return reply.error().Clone();
    pb::StatsResponse response;
    if (!response.ParseFromString(*reply)) return InternalError("unreadable answer");
    return response;
  }
  bool Own() const { return !settings_.shim.own_shim.empty(); }
};

TEST_F(MetricsJourney, FiguresAreTheShims) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  ASSERT_TRUE(Pause(task).ok());  // from here on nothing is used
  std::set<std::string> ours;
  std::set<std::string> theirs;
  // A kernel may still fold in what happened before the pause.
  EXPECT_TRUE(Eventually([&] {
    const std::vector<Metric> metrics = Metrics();
    const Result<pb::StatsResponse> asked = AskShim(task);
    EXPECT_EQ(metrics.size(), 1u);
    EXPECT_TRUE(asked.ok()) << asked.error().text();
    if (metrics.size() != 1 || !asked.ok()) return true;
    ours = Figures(metrics[0].data.type_url, metrics[0].data.value);
    theirs = Figures(asked->stats().type_url(), asked->stats().value());
    return ours == theirs;
  }));
  EXPECT_EQ(ours, theirs);
  EXPECT_GT(ours.size(), 3u);
  ASSERT_TRUE(Resume(task).ok());
}

// Some of version 1's files are not opened because their text follows from others: here they are.
TEST_F(MetricsJourney, FiguresAreWhatTheKernelsFilesSay) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  const auto pid = StartInit(task);
  ASSERT_TRUE(pid.ok());
  const Result<os::CgroupPlace> place = os::CgroupOfProcess(static_cast<pid_t>(*pid));
  ASSERT_TRUE(place.ok()) << place.error().text();
  if (place->unified) GTEST_SKIP() << "every file of version 2 is read as it is";
  const auto number = [&](const char* controller, const std::string& file) {
    std::ifstream in(StrCat(place->V1(controller), "/", file));
    uint64_t value = 0;
    EXPECT_TRUE(in >> value) << file;
    return value;
  };
  ASSERT_TRUE(Pause(task).ok());
  for (const char* limit : {"", "67108864"}) {
    std::ofstream(place->V1("memory") + "/memory.limit_in_bytes") << limit;
    std::set<std::string> wrong;
    // A kernel may still fold in what happened before the pause.
    EXPECT_TRUE(Eventually([&] {
      wrong.clear();
      const std::vector<Metric> metrics = Metrics();
      ::io::containerd::cgroups::v1::Metrics got;
      EXPECT_EQ(metrics.size(), 1u);
      if (metrics.size() != 1 || !got.ParseFromString(metrics[0].data.value)) return false;
      const auto compare = [&](const char* what, uint64_t ours, uint64_t files) {
        if (ours != files) wrong.insert(StrCat(what, ": ", ours, " for ", files));
      };
      const auto entry = [&](const auto& ours, const std::string& prefix) {
        compare("usage", ours.usage(), number("memory", prefix + ".usage_in_bytes"));
        compare("max", ours.max(), number("memory", prefix + ".max_usage_in_bytes"));
        compare("limit", ours.limit(), number("memory", prefix + ".limit_in_bytes"));
        compare("failcnt", ours.failcnt(), number("memory", prefix + ".failcnt"));
      };
      entry(got.memory().usage(), "memory");
      entry(got.memory().kernel_tcp(), "memory.kmem.tcp");
      compare("cpu", got.cpu().usage().total(), number("cpuacct", "cpuacct.usage"));
      return wrong.empty();
    })) << testing::PrintToString(wrong);
  }
  ASSERT_TRUE(Resume(task).ok());
}

TEST_F(MetricsJourney, AShimOfOurOwnIsNotAsked) {
  std::vector<TaskKey> tasks;
  for (const char* id : {"c1", "c2", "c3"}) {
    tasks.push_back(AddContainer(id, {"sleep", "1000"}));
    ASSERT_TRUE(Create(tasks.back()).ok());
    ASSERT_TRUE(StartInit(tasks.back()).ok());
  }
  ASSERT_TRUE(Freeze(ShimPid(tasks[1])));
  const std::vector<Metric> metrics = Metrics();
  ASSERT_EQ(kill(ShimPid(tasks[1]), SIGCONT), 0);
  // Another's shim is asked, and one that does not answer in time is left out.
  EXPECT_EQ(metrics.size(), Own() ? 3u : 2u);
  EXPECT_TRUE(std::is_sorted(metrics.begin(), metrics.end(), [](const Metric& a, const Metric& b) {
    return a.id < b.id;
  })) << "in the order of their ids";
}

TEST_F(MetricsJourney, ATaskOfTheSameNameHasFiguresOfItsOwn) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(Create(task).ok());
    ASSERT_TRUE(StartInit(task).ok());
    ASSERT_EQ(Metrics().size(), 1u);
    const Result<pb::StatsResponse> asked = AskShim(task);
    ASSERT_TRUE(asked.ok()) << asked.error().text();
    EXPECT_EQ(Metrics()[0].data.type_url, asked->stats().type_url());
    ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
    ASSERT_TRUE(Wait({task, {}}).ok());
    ASSERT_TRUE(Delete(task).ok());
    EXPECT_TRUE(Metrics().empty());
  }
}

TEST_F(MetricsJourney, AnAdoptedTaskIsRead) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  EXPECT_EQ(Reopen().adopted, 1u);
  EXPECT_EQ(Metrics().size(), 1u);
}

}  // namespace
}  // namespace corten::runtime
