// Metrics of many tasks at once.
#include <set>

#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/any.pb.h"
#include "runtime/tasks_core.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

// Collects answers of all shims asked; finishes with the last.
struct Survey {
  std::shared_ptr<Tasks::Core> core;
  Done<std::vector<Metric>> done;
  std::vector<Metric> metrics;  // shim loop only, once calls are out
  size_t waiting = 0;
  void Answered() {
    if (--waiting == 0) core->Finish<std::vector<Metric>>(done, std::move(metrics));
  }
};

}  // namespace

void Tasks::Metrics(const model::Namespace& ns,
                    std::function<bool(const model::ContainerId&)> wanted,
                    Done<std::vector<Metric>> done) {
  auto survey = std::make_shared<Survey>();
  survey->core = core_;
  survey->done = std::move(done);
  std::vector<model::ContainerId> ids;
  for (const ProcessState& state : core_->table.List(ns)) {
    if (!wanted || wanted(state.container)) ids.push_back(state.container);
  }
  // On the loop, so that the first answer cannot overtake the last question.
  core_->loop.Post([survey, ns, ids = std::move(ids)] {
    survey->waiting = ids.size() + 1;
    for (const model::ContainerId& id : ids) {
      const Result<TaskLink> link = survey->core->table.Find({ns, id});
      if (!link.ok()) {
        survey->Answered();
        continue;
      }
      pb::StatsRequest request;
      request.set_id(id.str());
      link->shim->Call(ns, "Stats", request.SerializeAsString(),
                       survey->core->settings.state_deadline,
                       [survey, id, asked = Now()](Result<std::string> reply) {
                         pb::StatsResponse answer;
                         if (reply.ok() && answer.ParseFromString(*reply) && answer.has_stats()) {
                           survey->metrics.push_back(
                               {asked, id, {answer.stats().type_url(), answer.stats().value()}});
                         }
                         survey->Answered();
                       });
    }
    survey->Answered();
  });
}

}  // namespace corten::runtime
