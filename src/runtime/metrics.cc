// Metrics of many tasks at once.
//
// A shim of our own reads nothing but its container's cgroup, so the daemon reads that itself, with
// the same code, and spares one call per container. Everything else is asked: other shims, a cgroup
// that is not known or cannot be read.
#include <algorithm>
#include <iterator>
#include <thread>

#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/any.pb.h"
#include "os/cgroup_metrics.h"
#include "runtime/tasks_core.h"
#include "wire/cgroup_message.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

constexpr size_t kMaxReaders = 4;    // threads of `control` for one survey
constexpr size_t kReaderWorth = 16;  // containers that are worth another thread
using Metered = TaskTable::Metered;

// Collects what was read and what shims answered; finishes with the last.
struct Survey : std::enable_shared_from_this<Survey> {
  std::shared_ptr<Tasks::Core> core;
  model::Namespace ns;
  Done<std::vector<Metric>> done;
  std::vector<Metric> metrics;  // this and `waiting`: shim loop only
  size_t waiting = 0;

  void Answered();
  void Ask(const Metered& task);
  void Read(std::vector<Metered> tasks);
  Result<Metric> ReadOne(const Metered& task, std::optional<os::CgroupLocator>* locator,
                         os::CgroupParents* parents) const;
  void Run(std::vector<Metered> tasks);
};

void Survey::Answered() {
  if (--waiting != 0) return;
  std::sort(metrics.begin(), metrics.end(),
            [](const Metric& a, const Metric& b) { return a.id < b.id; });
  core->Finish<std::vector<Metric>>(done, std::move(metrics));
}

// On the loop.
void Survey::Ask(const Metered& task) {
  const model::ContainerId& id = task.init.container;
  pb::StatsRequest request;
  request.set_id(id.str());
  task.link.shim->Call(
      ns, "Stats", request.SerializeAsString(), core->settings.state_deadline,
      [self = shared_from_this(), id, asked = Now()](Result<std::string> reply) {
        pb::StatsResponse answer;
        if (reply.ok() && answer.ParseFromString(*reply) && answer.has_stats()) {
          self->metrics.push_back({asked, id, {answer.stats().type_url(), answer.stats().value()}});
        }
        self->Answered();
      });
}

Result<Metric> Survey::ReadOne(const Metered& task, std::optional<os::CgroupLocator>* locator,
                               os::CgroupParents* parents) const {
  const Time now = Now();
  std::shared_ptr<const os::CgroupPlace> place = task.cgroup;
  if (place == nullptr) {
    if (!locator->has_value()) *locator = TRY(os::CgroupLocator::Create());
    os::CgroupPlace found = TRY((*locator)->Of(static_cast<pid_t>(task.init.pid)));
    place = std::make_shared<const os::CgroupPlace>(std::move(found));
    const TaskKey key{ns, task.init.container};
    if (place->empty() || !core->table.SetCgroup(key, task.init.pid, place))
      return NotFoundError("cgroup of task ", key.id.str());
  }
  wire::CgroupMessage message = TRY(wire::ReadCgroupMessage(*place, parents));
  return Metric{now, task.init.container, {std::move(message.type_url), std::move(message.value)}};
}

// On `control`.
void Survey::Read(std::vector<Metered> tasks) {
  std::optional<os::CgroupLocator> locator;
  os::CgroupParents parents;
  auto found = std::make_shared<std::vector<Metric>>();  // shared only because tasks are copied
  std::vector<Metered> unread;
  for (Metered& task : tasks) {
    Result<Metric> metric = ReadOne(task, &locator, &parents);
    if (metric.ok()) {
      found->push_back(std::move(*metric));
    } else {
      unread.push_back(std::move(task));
    }
  }
  core->loop.Post([self = shared_from_this(), found, unread = std::move(unread)] {
    std::move(found->begin(), found->end(), std::back_inserter(self->metrics));
    self->waiting += unread.size();
    for (const Metered& task : unread) self->Ask(task);
    self->Answered();
  });
}

// On the loop, so that the first answer cannot overtake the last question.
void Survey::Run(std::vector<Metered> tasks) {
  const std::string& own = core->settings.shim.own_shim;
  const auto direct = [&own](const Metered& task) {
    return !own.empty() && task.link.binary == own &&
           (task.cgroup != nullptr ||
            (task.init.pid != 0 && task.init.status != ProcessStatus::kStopped));
  };
  const auto asked = std::partition(tasks.begin(), tasks.end(), direct);
  const auto count = static_cast<size_t>(asked - tasks.begin());
  const size_t readers =
      std::min({kMaxReaders, std::max<size_t>(std::thread::hardware_concurrency(), 1),
                (count + kReaderWorth - 1) / kReaderWorth});
  waiting = static_cast<size_t>(tasks.end() - asked) + readers + 1;
  for (auto task = asked; task != tasks.end(); ++task) Ask(*task);
  auto first = tasks.begin();
  for (size_t i = 0; i < readers; ++i) {
    const auto last = tasks.begin() + static_cast<std::ptrdiff_t>(count * (i + 1) / readers);
    std::vector<Metered> share(std::make_move_iterator(first), std::make_move_iterator(last));
    core->Background([self = shared_from_this(), share = std::move(share)]() mutable {
      self->Read(std::move(share));
    });
    first = last;
  }
  Answered();
}

}  // namespace

std::vector<model::Namespace> Tasks::Namespaces() const {
  std::vector<model::Namespace> out;
  for (const auto& [key, state] : core_->table.ListAll()) {  // sorted by namespace
    if (out.empty() || out.back() != key.ns) out.push_back(key.ns);
  }
  return out;
}

void Tasks::Metrics(const model::Namespace& ns,
                    std::function<bool(const model::ContainerId&)> wanted,
                    Done<std::vector<Metric>> done) {
  auto survey = std::make_shared<Survey>();  // shared by the readers and calls under way
  survey->core = core_;
  survey->ns = ns;
  survey->done = std::move(done);
  std::vector<Metered> tasks = core_->table.Meter(ns);
  if (wanted)
    std::erase_if(tasks, [&](const Metered& task) { return !wanted(task.init.container); });
  core_->loop.Post([survey, tasks = std::move(tasks)] { survey->Run(tasks); });
}

}  // namespace corten::runtime
