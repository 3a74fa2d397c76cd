// Random calls against a database and against plain maps, with reopening in between: both must
// answer the same.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "bolt/check.h"
#include "bolt/db.h"
#include "metadata/db/test_fixture.h"

namespace corten::metadata {
namespace {

struct ModelImage {
  model::Labels labels;
  std::string digest;
};
struct ModelContainer {
  model::Labels labels;
  std::string image;
  std::map<std::string, std::string> extensions;
};
struct ModelNamespace {
  std::map<std::string, ModelImage> images;
  std::map<std::string, ModelContainer> containers;
  std::map<std::string, std::set<std::pair<std::string, std::string>>> leases;  // members: type, id
  std::map<std::string, model::Labels> blobs;                                   // by text
};

class ModelRun {
 public:
  explicit ModelRun(uint32_t seed) : random_(seed) {}

  void Run(int steps) {
    for (step_ = 0; step_ < steps && !::testing::Test::HasFatalFailure(); ++step_) Step();
    Compare();
  }

 private:
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  std::string Name(const char* prefix) { return StrCat(prefix, Below(6)); }
  model::Labels SomeLabels() {
    model::Labels labels;
    for (uint32_t i = Below(3); i > 0; --i)
      labels[StrCat("k", Below(4))] = Below(4) == 0 ? "" : StrCat("v", Below(100));
    return labels;
  }
  static model::Labels Stored(model::Labels labels) {
    std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
    return labels;
  }
  void Expect(const char* what, Code expected, const Error* error) {
    const Code code = error == nullptr ? Code::kOk : error->code();
    ASSERT_EQ(code, expected) << what << " at step " << step_ << ": "
                              << (error == nullptr ? "ok" : error->text());
  }
  template <typename T>
  void Expect(const char* what, Code expected, const Result<T>& result) {
    Expect(what, expected, result.ok() ? nullptr : &result.error());
  }

  void Step() {
    ns_ = Name("ns");
    switch (Below(12)) {
      case 0:
        CreateImage();
        break;
      case 1:
        UpdateImage();
        break;
      case 2:
        DeleteImage();
        break;
      case 3:
        CreateContainer();
        break;
      case 4:
        UpdateContainer();
        break;
      case 5:
        DeleteContainer();
        break;
      case 6:
        CreateLease();
        break;
      case 7:
        ChangeLease();
        break;
      case 8:
        PutBlob();
        break;
      case 9:
        DeleteBlob();
        break;
      case 10:
        DeleteNamespace();
        break;
      default:
        if (Below(10) == 0) {
          f_.Open();
          Compare();
        }
    }
  }

  ModelNamespace& Made() { return world_[ns_]; }
  template <typename M>
  bool Knows(M ModelNamespace::* member, const std::string& name) {
    return world_.contains(ns_) && (world_[ns_].*member).contains(name);
  }

  void CreateImage() {
    const std::string name = Name("i");
    Image image = MakeImage(name, DigestNumber(Below(5)));
    image.labels = SomeLabels();
    const bool exists = Knows(&ModelNamespace::images, name);
    Expect("create image", exists ? Code::kAlreadyExists : Code::kOk,
           f_.db().images().Create(In(ns_), image, {}));
    if (!exists) Made().images[name] = {Stored(image.labels), image.target.digest.str()};
  }
  void UpdateImage() {
    const std::string name = Name("i");
    Image image = MakeImage(name, DigestNumber(Below(5)));
    image.labels = SomeLabels();
    const bool exists = Knows(&ModelNamespace::images, name);
    const uint32_t how = Below(3);
    const FieldPaths paths = how == 0   ? FieldPaths{}
                             : how == 1 ? FieldPaths{"labels.k1"}
                                        : FieldPaths{"target"};
    Expect("update image", exists ? Code::kOk : Code::kNotFound,
           f_.db().images().Update(In(ns_), image, paths, {}));
    if (!exists) return;
    ModelImage& known = Made().images[name];
    if (how == 0) known.labels = Stored(image.labels);
    if (how == 1) known.labels["k1"] = image.labels.contains("k1") ? image.labels["k1"] : "";
    if (how != 1) known.digest = image.target.digest.str();
    known.labels = Stored(known.labels);
  }
  void DeleteImage() {
    const std::string name = Name("i");
    const bool exists = Knows(&ModelNamespace::images, name);
    Expect("delete image", exists ? Code::kOk : Code::kNotFound,
           f_.db().images().Delete(In(ns_), name, {}));
    if (exists) Made().images.erase(name);
  }

  void CreateContainer() {
    Container container = MakeContainer(Name("c"));
    container.labels = SomeLabels();
    container.extensions["e"] = {"t", StrCat(step_)};
    const std::string& id = container.id.str();
    const bool exists = Knows(&ModelNamespace::containers, id);
    Expect("create container", exists ? Code::kAlreadyExists : Code::kOk,
           f_.db().containers().Create(In(ns_), container));
    if (!exists)
      Made().containers[id] = {Stored(container.labels), container.image, {{"e", StrCat(step_)}}};
  }
  void UpdateContainer() {
    Container container = MakeContainer(Name("c"));
    container.labels = SomeLabels();
    container.image = StrCat("image", Below(9));
    container.extensions["x"] = {"t", StrCat(step_)};
    const std::string& id = container.id.str();
    const bool exists = Knows(&ModelNamespace::containers, id);
    const bool all = Below(2) == 0;
    Expect(
        "update container", exists ? Code::kOk : Code::kNotFound,
        f_.db().containers().Update(In(ns_), container, all ? FieldPaths{} : FieldPaths{"image"}));
    if (!exists) return;
    ModelContainer& known = Made().containers[id];
    known.image = container.image;
    if (!all) return;
    known.labels = Stored(container.labels);
    known.extensions["x"] = StrCat(step_);
  }
  void DeleteContainer() {
    const std::string id = Name("c");
    const bool exists = Knows(&ModelNamespace::containers, id);
    Expect("delete container", exists ? Code::kOk : Code::kNotFound,
           f_.db().containers().Delete(In(ns_), model::ContainerId(id)));
    if (exists) Made().containers.erase(id);
  }

  void CreateLease() {
    const std::string id = Name("l");
    const bool exists = Knows(&ModelNamespace::leases, id);
    Expect("create lease", exists ? Code::kAlreadyExists : Code::kOk,
           f_.db().leases().Create(model::Namespace(ns_), {model::LeaseId(id), {}, {}}));
    if (!exists) Made().leases[id];
  }
  void ChangeLease() {
    const std::string id = Name("l");
    const bool exists = Knows(&ModelNamespace::leases, id);
    const Code expected = exists ? Code::kOk : Code::kNotFound;
    const LeaseResource resource = {Name("r"), Below(2) == 0 ? "images" : "snapshots/native"};
    const model::Namespace ns(ns_);
    switch (Below(4)) {
      case 0:
        Expect("delete lease", expected, f_.db().leases().Delete(ns, model::LeaseId(id), false));
        if (exists) Made().leases.erase(id);
        break;
      case 1:
        Expect("delete resource", expected,
               f_.db().leases().DeleteResource(ns, model::LeaseId(id), resource));
        if (exists) Made().leases[id].erase({resource.type, resource.id});
        break;
      default:
        Expect("add resource", expected,
               f_.db().leases().AddResource(ns, model::LeaseId(id), resource));
        if (exists) Made().leases[id].insert({resource.type, resource.id});
    }
  }

  void PutBlob() {
    const std::string text = Name("text");
    const model::Labels labels = SomeLabels();
    const auto writer =
        f_.db().Content(In(ns_))->OpenWriter({StrCat("ref", step_), DigestOf(text), 0});
    const bool exists = Knows(&ModelNamespace::blobs, text);
    Expect("open writer", exists ? Code::kAlreadyExists : Code::kOk, writer);
    if (exists || !writer.ok()) return;
    if ((*writer)->GetStatus()->offset == 0) Expect("write", Code::kOk, (*writer)->Write(text));
    Expect("commit", Code::kOk, (*writer)->Commit({0, {}, labels}));
    Made().blobs[text] = Stored(labels);
  }
  void DeleteBlob() {
    const std::string text = Name("text");
    const bool exists = Knows(&ModelNamespace::blobs, text);
    Expect("delete blob", exists ? Code::kOk : Code::kNotFound,
           f_.db().Content(In(ns_))->Delete(DigestOf(text)));
    if (exists) Made().blobs.erase(text);
  }
  void DeleteNamespace() {
    Code expected = Code::kNotFound;
    if (world_.contains(ns_)) {
      const ModelNamespace& known = world_[ns_];
      expected = known.images.empty() && known.containers.empty() && known.blobs.empty()
                     ? Code::kOk
                     : Code::kFailedPrecondition;
    }
    Expect("delete namespace", expected, f_.db().namespaces().Delete(model::Namespace(ns_)));
    if (expected == Code::kOk) world_.erase(ns_);
  }

  void Compare() {
    const std::vector<model::Namespace> namespaces = f_.db().namespaces().List().value();
    ASSERT_EQ(namespaces.size(), world_.size());
    for (const auto& [name, known] : world_) CompareNamespace(model::Namespace(name), known);
  }
  void CompareNamespace(const model::Namespace& ns, const ModelNamespace& known) {
    const std::vector<Image> images = f_.db().images().List(ns, {}).value();
    ASSERT_EQ(images.size(), known.images.size());
    for (const Image& image : images) {
      EXPECT_EQ(image.labels, known.images.at(image.name).labels);
      EXPECT_EQ(image.target.digest.str(), known.images.at(image.name).digest);
    }
    const std::vector<Container> containers = f_.db().containers().List(ns, {}).value();
    ASSERT_EQ(containers.size(), known.containers.size());
    for (const Container& container : containers) {
      const ModelContainer& expected = known.containers.at(container.id.str());
      EXPECT_EQ(container.labels, expected.labels);
      EXPECT_EQ(container.image, expected.image);
      ASSERT_EQ(container.extensions.size(), expected.extensions.size());
      for (const auto& [key, any] : container.extensions)
        EXPECT_EQ(any.value, expected.extensions.at(key));
    }
    const std::vector<Lease> leases = f_.db().leases().List(ns, {}).value();
    ASSERT_EQ(leases.size(), known.leases.size());
    for (const Lease& lease : leases) {
      const std::vector<LeaseResource> members =
          f_.db().leases().ListResources(ns, lease.id).value();
      std::set<std::pair<std::string, std::string>> seen;
      for (const LeaseResource& member : members) seen.emplace(member.type, member.id);
      EXPECT_EQ(seen, known.leases.at(lease.id.str()));
    }
    const auto content = f_.db().Content({ns, {}});
    size_t blobs = 0;
    EXPECT_TRUE(content
                    ->Walk({},
                           [&](const content::Info&) {
                             ++blobs;
                             return Ok();
                           })
                    .ok());
    EXPECT_EQ(blobs, known.blobs.size());
    for (const auto& [text, labels] : known.blobs) {
      EXPECT_EQ(content->GetInfo(DigestOf(text))->labels, labels);
      EXPECT_EQ(content::ReadBlob(*content, DigestOf(text), 100).value(), text);
    }
  }

  DatabaseFixture f_;
  std::mt19937 random_;
  std::map<std::string, ModelNamespace> world_;
  std::string ns_;
  int step_ = 0;
};

class ModelTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(ModelTest, TheDatabaseAnswersAsPlainMapsDo) { ModelRun(GetParam()).Run(1500); }

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range(1U, 7U));

}  // namespace
}  // namespace corten::metadata
