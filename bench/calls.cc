// Rows 28, 30, 31 and 33: single calls of one client, and container creates of eight.
#include "api/objects.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "containerd/services/version/v1/version.grpc.pb.h"
#include "in_flight.h"
#include "journeys.h"

namespace corten::bench {

namespace {

const Figure kVersion{"28", "Version round trip", "ms", AtMost(0.5)};
const Figure kCreate{"30", "Containers.Create", "ms", AtMost(0.40)};
const Figure kUpdate{"30", "Containers.Update", "ms", AtMost(0.40)};
const Figure kDelete{"30", "Containers.Delete", "ms", AtMost(0.45)};
const Figure kGet{"30", "Containers.Get", "ms", AtMost(0.40)};
const Figure kCreate8{"31", "Containers.Create, 8 clients", "/s", AtLeast(8)};
const Figure kPrepare{"33", "Snapshots.Prepare", "ms", AtMost(0.35)};
const Figure kRemove{"33", "Snapshots.Remove", "ms", AtMost(0.35)};
constexpr int kClients = 8;

void Version(Run& run, Target& target) {
  const auto stub =
      containerd::services::version::v1::Version::NewStub(target.connection()->channel());
  grpc::ClientContext context;
  containerd::services::version::v1::VersionResponse response;
  const auto begin = Now();
  Must(client::FromGrpc(stub->Version(&context, google::protobuf::Empty(), &response)), "version");
  run.report().Add(kVersion, target.name(), Millis(begin));
}

template <typename Call>
void Time(Run& run, Target& target, const Figure& figure, const Call& call) {
  const auto begin = Now();
  Must(call(), figure.what);
  run.report().Add(figure, target.name(), Millis(begin));
}

void OneContainer(Run& run, Target& target) {
  metadata::Container container = target.MakeContainer(run.Unique("meta"), {"/bin/true"}, {});
  const model::Scope scope = PlainScope();
  Time(run, target, kCreate, [&] { return target.containers().Create(scope, container); });
  container.labels["k"] = "v";
  Time(run, target, kUpdate,
       [&] { return target.containers().Update(scope, container, {"labels"}); });
  Time(run, target, kGet, [&] { return target.containers().Get(scope.ns, container.id); });
  Time(run, target, kDelete, [&] { return target.containers().Delete(scope, container.id); });
}

void OneSnapshot(Run& run, Target& target) {
  const auto snapshots = target.Snapshots(PlainScope());
  const std::string key = run.Unique("snap");
  Time(run, target, kPrepare, [&] { return snapshots->Prepare(key, target.chain_id(), kRoot); });
  Time(run, target, kRemove, [&] { return snapshots->Remove(key); });
}

void CreateAtOnce(Run& run, Target& target, int count) {
  namespace wire_api = containerd::services::containers::v1;
  std::vector<wire_api::CreateContainerRequest> requests;
  for (int i = 0; i < count; ++i) {
    api::ToProto(target.MakeContainer(run.Unique("many"), {"/bin/true"}, {}),
                 requests.emplace_back().mutable_container());
  }
  const std::vector<Target> clients = Clients(target.daemon(), kClients);
  const auto begin = Now();
  CallAll<wire_api::Containers, wire_api::CreateContainerResponse>(
      clients, requests, &wire_api::Containers::Stub::AsyncCreate, "create container");
  run.report().Add(kCreate8, target.name(), count / (Millis(begin) / 1000));
  AtOnce(kClients, count, [&](int i) {
    Must(target.containers().Delete(
             PlainScope(), model::ContainerId(requests[static_cast<size_t>(i)].container().id())),
         "delete container");
  });
}

}  // namespace

void MeasureCalls(Run& run) {
  std::vector<Target*> targets = run.Shared();
  const bool all = run.Wants("calls");
  if (all || run.Wants("28"))
    run.Alternate(run.N(400, 4), targets, [&](Target* target) { Version(run, *target); });
  if (all || run.Wants("30"))
    run.Alternate(run.N(200, 2), targets, [&](Target* target) { OneContainer(run, *target); });
  if (all || run.Wants("33"))
    run.Alternate(run.N(150, 2), targets, [&](Target* target) { OneSnapshot(run, *target); });
  if (all || run.Wants("31"))
    run.Alternate(run.N(5, 1), targets,
                  [&](Target* target) { CreateAtOnce(run, *target, run.N(2000, 16)); });
}

}  // namespace corten::bench
