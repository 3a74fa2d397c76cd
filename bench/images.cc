// Rows 2, 31 and 32: ten thousand images are created by eight clients, listed, and then the daemon
// is started anew on that root.
#include "api/objects.h"
#include "base/hash.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "in_flight.h"
#include "journeys.h"

namespace corten::bench {

namespace {

const Figure kCreate{"31", "Images.Create, 8 clients", "/s", AtLeast(8)};
const Figure kListImages{"32", "Images.List", "ms", AtMost(0.15)};
const Figure kListContainers{"32", "Containers.List", "ms", AtMost(0.15)};
const Figure kStart{"2", "cold start, many images", "ms", AtMost(0.05)};
constexpr int kClients = 8;
constexpr int kBatches = 5;

metadata::Image MakeImage(int i) {
  metadata::Image image;
  image.name = StrCat("registry.example/team/application-", i, ":v1");
  image.target.media_type = "application/vnd.oci.image.manifest.v1+json";
  image.target.digest = Must(model::Digest::Parse(Sha256Digest(image.name)), "digest");
  image.target.size = 1000;
  image.labels = {{"example.org/owner", "bench"}, {"example.org/number", StrCat(i)}};
  return image;
}

struct Loaded {
  Candidate candidate;
  std::string root;
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<Target> target;
};

std::string Counted(const Figure& figure, int count) { return StrCat(figure.what, ", ", count); }

void CreateImages(Run& run, Loaded& loaded, int first, int count) {
  namespace wire_api = containerd::services::images::v1;
  std::vector<wire_api::CreateImageRequest> requests;
  for (int i = 0; i < count; ++i)
    api::ToProto(MakeImage(first + i), requests.emplace_back().mutable_image());
  const std::vector<Target> clients = Clients(*loaded.daemon, kClients);
  const auto begin = Now();
  CallAll<wire_api::Images, wire_api::CreateImageResponse>(
      clients, requests, &wire_api::Images::Stub::AsyncCreate, "create image");
  run.report().Add(kCreate, loaded.candidate.name, count / (Millis(begin) / 1000));
}

void List(Run& run, Loaded& loaded, int images, int containers) {
  auto begin = Now();
  const auto all = Must(loaded.target->images().List(PlainScope().ns, {}), "list images");
  const double images_ms = Millis(begin);
  if (all.size() < static_cast<size_t>(images)) Fail(StrCat("only ", all.size(), " images listed"));
  Figure figure = kListImages;
  figure.what = Counted(figure, images);
  run.report().Add(figure, loaded.candidate.name, images_ms);
  begin = Now();
  const auto rows = Must(loaded.target->containers().List(PlainScope().ns, {}), "list containers");
  const double containers_ms = Millis(begin);
  if (rows.size() != static_cast<size_t>(containers))
    Fail(StrCat(rows.size(), " containers listed instead of ", containers));
  figure = kListContainers;
  figure.what = Counted(figure, containers);
  run.report().Add(figure, loaded.candidate.name, containers_ms);
}

}  // namespace

void MeasureImages(Run& run) {
  const int images = run.N(10000, 40);
  const int containers = run.N(400, 4);
  std::vector<Loaded> all;
  for (const Candidate& candidate : run.options().candidates) {
    Loaded loaded{candidate, run.FreshRoot(candidate), {}, {}};
    loaded.daemon = run.Start(candidate, DaemonConfig::kSame, loaded.root);
    loaded.target = std::make_unique<Target>(*loaded.daemon);
    run.Import(*loaded.target);
    all.push_back(std::move(loaded));
  }
  const int per_batch = images / kBatches;
  for (int batch = 0; batch < kBatches; ++batch) {
    for (Loaded& loaded : all) CreateImages(run, loaded, batch * per_batch, per_batch);
  }
  for (Loaded& loaded : all) {
    AtOnce(kClients, containers, [&](int i) {
      Must(loaded.target->containers().Create(
               PlainScope(), loaded.target->MakeContainer(StrCat("listed-", i), {"/bin/true"}, {})),
           "create container");
    });
  }
  run.Alternate(run.N(20, 1), all, [&](Loaded& loaded) { List(run, loaded, images, containers); });
  for (Loaded& loaded : all) {
    loaded.target.reset();
    loaded.daemon->Stop();
  }
  run.Alternate(run.N(10, 1), all, [&](Loaded& loaded) {
    const std::unique_ptr<Daemon> daemon =
        run.Start(loaded.candidate, DaemonConfig::kSame, loaded.root);
    run.report().Add(kStart, loaded.candidate.name, daemon->start_ms());
  });
}

}  // namespace corten::bench
