// The contract suites of the stores in stores.h, as tests that every implementation passes: the
// database, and a client of a daemon that has one.
//
// A test file includes this header and instantiates the suite:
//   INSTANTIATE_TEST_SUITE_P(Db, StoresContract, ::testing::Values(StoresCase{...}),
//   StoresCaseName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <ostream>
#include <string>

#include "metadata/stores.h"

namespace corten::metadata {

// Empty stores and whatever must live as long as they do.
class StoresHarness {
 public:
  virtual ~StoresHarness() = default;
  virtual NamespaceStore& namespaces() = 0;
  virtual ContainerStore& containers() = 0;
  virtual ImageStore& images() = 0;
  virtual LeaseStore& leases() = 0;
  virtual SandboxStore& sandboxes() = 0;
};

struct StoresCase {
  std::string name;  // letters and digits
  std::function<std::unique_ptr<StoresHarness>()> make;
};

inline void PrintTo(const StoresCase& stores_case, std::ostream* out) { *out << stores_case.name; }
inline std::string StoresCaseName(const ::testing::TestParamInfo<StoresCase>& info) {
  return info.param.name;
}

class StoresContract : public ::testing::TestWithParam<StoresCase> {
 protected:
  void SetUp() override {
    stores_ = GetParam().make();
    ASSERT_NE(stores_, nullptr);
  }

  StoresHarness& stores() { return *stores_; }
  const model::Namespace ns_{"contract"};
  const model::Scope scope_{ns_, model::LeaseId()};

  template <typename T>
  static Code CodeOf(const Result<T>& result) {
    return result.ok() ? Code::kOk : result.error().code();
  }
  static Container SomeContainer(const std::string& id) {
    Container container;
    container.id = model::ContainerId(id);
    container.image = "image";
    container.runtime.name = "io.containerd.runc.v2";
    container.spec = model::Any{"types.containerd.io/opencontainers/runtime-spec/1/Spec", "{}"};
    container.labels = {{"a", "1"}, {"b", "2"}};
    return container;
  }
  static Image SomeImage(const std::string& name) {
    Image image;
    image.name = name;
    image.target.digest = model::Digest::Parse("sha256:" + std::string(64, '1')).value();
    image.target.size = 10;
    image.target.media_type = std::string(model::media_type::kOciManifest);
    image.labels = {{"a", "1"}};
    return image;
  }
  static Sandbox SomeSandbox(const std::string& id) {
    Sandbox sandbox;
    sandbox.id = model::SandboxId(id);
    sandbox.runtime.name = "io.containerd.runc.v2";
    sandbox.sandboxer = "podsandbox";
    sandbox.spec = model::Any{"t", "v"};
    return sandbox;
  }

 private:
  std::unique_ptr<StoresHarness> stores_;
};

TEST_P(StoresContract, ANamespaceIsMadeLabelledListedAndDeleted) {
  NamespaceStore& namespaces = stores().namespaces();
  ASSERT_TRUE(namespaces.Create(ns_, {{"a", "1"}}).ok());
  EXPECT_EQ(CodeOf(namespaces.Create(ns_, {})), Code::kAlreadyExists);
  EXPECT_EQ(CodeOf(namespaces.Create(model::Namespace("not..good"), {})), Code::kInvalidArgument);
  EXPECT_EQ(namespaces.GetLabels(ns_).value(), (model::Labels{{"a", "1"}}));
  EXPECT_EQ(namespaces.Update(ns_, {{"b", "2"}}, {"labels.b"}).value(),
            (model::Labels{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(namespaces.Update(ns_, {{"c", "3"}}, {}).value(), (model::Labels{{"c", "3"}}));
  const std::vector<model::Namespace> listed = namespaces.List().value();
  EXPECT_EQ(std::count(listed.begin(), listed.end(), ns_), 1);
  ASSERT_TRUE(stores().images().Create(scope_, SomeImage("i"), {}).ok());
  EXPECT_EQ(CodeOf(namespaces.Delete(ns_)), Code::kFailedPrecondition);
  ASSERT_TRUE(stores().images().Delete(scope_, "i", {}).ok());
  ASSERT_TRUE(namespaces.Delete(ns_).ok());
  EXPECT_EQ(CodeOf(namespaces.Delete(ns_)), Code::kNotFound);
}

TEST_P(StoresContract, AContainerIsMadeReadChangedListedAndDeleted) {
  ContainerStore& containers = stores().containers();
  const Container made = containers.Create(scope_, SomeContainer("c1")).value();
  EXPECT_GT(made.created_at, (Time{}));
  EXPECT_EQ(CodeOf(containers.Create(scope_, SomeContainer("c1"))), Code::kAlreadyExists);
  Container bad = SomeContainer("c2");
  bad.spec.reset();
  EXPECT_EQ(CodeOf(containers.Create(scope_, bad)), Code::kInvalidArgument);
  const Container read = containers.Get(ns_, made.id).value();
  EXPECT_EQ(read.labels, made.labels);
  EXPECT_EQ(read.spec, made.spec);
  EXPECT_EQ(read.created_at, made.created_at);
  EXPECT_EQ(CodeOf(containers.Get(ns_, model::ContainerId("none"))), Code::kNotFound);

  Container wanted = SomeContainer("c1");
  wanted.labels = {{"b", "3"}};
  wanted.image = "other";
  EXPECT_EQ(containers.Update(scope_, wanted, {"labels.b"})->labels,
            (model::Labels{{"a", "1"}, {"b", "3"}}));
  EXPECT_EQ(containers.Get(ns_, made.id)->image, "image");
  EXPECT_EQ(containers.Update(scope_, wanted, {})->image, "other");
  EXPECT_EQ(CodeOf(containers.Update(scope_, wanted, {"runtime"})), Code::kInvalidArgument);
  wanted.runtime.name = "other";
  EXPECT_EQ(CodeOf(containers.Update(scope_, wanted, {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(containers.Update(scope_, SomeContainer("none"), {})), Code::kNotFound);

  ASSERT_TRUE(containers.Create(scope_, SomeContainer("c0")).ok());
  const std::vector<Container> all = containers.List(ns_, {}).value();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].id.str(), "c0");
  EXPECT_EQ(containers.List(ns_, {"labels.b==3"})->size(), 1U);
  EXPECT_EQ(CodeOf(containers.List(ns_, {"id="})), Code::kInvalidArgument);
  ASSERT_TRUE(containers.Delete(scope_, made.id).ok());
  EXPECT_EQ(CodeOf(containers.Delete(scope_, made.id)), Code::kNotFound);
}

// Callers that do not wait are told what callers that wait would be told. Waits for the answer,
// which may come from another thread.
template <typename T>
Result<T> Told(const std::function<void(std::function<void(Result<T>)>)>& start) {
  std::promise<Result<T>> told;
  start([&told](Result<T> result) { told.set_value(std::move(result)); });
  return told.get_future().get();
}

TEST_P(StoresContract, WhatIsMadeLaterIsMadeAsAtOnce) {
  ContainerStore& containers = stores().containers();
  ImageStore& images = stores().images();
  const auto container = [&](const Container& wanted) {
    return Told<Container>(
        [&](auto done) { containers.CreateLater(scope_, wanted, std::move(done)); });
  };
  const auto image = [&](const Image& wanted) {
    return Told<Image>([&](auto done) { images.CreateLater(scope_, wanted, {}, std::move(done)); });
  };
  const Container made = container(SomeContainer("c1")).value();
  EXPECT_GT(made.created_at, (Time{}));
  EXPECT_EQ(containers.Get(ns_, made.id)->labels, made.labels);
  EXPECT_EQ(CodeOf(container(SomeContainer("c1"))), Code::kAlreadyExists);
  Container bad = SomeContainer("c2");
  bad.spec.reset();
  EXPECT_EQ(CodeOf(container(bad)), Code::kInvalidArgument);
  const Image saved = image(SomeImage("i1")).value();
  EXPECT_EQ(images.Get(ns_, "i1")->target, saved.target);
  EXPECT_EQ(CodeOf(image(SomeImage("i1"))), Code::kAlreadyExists);
  EXPECT_EQ(CodeOf(image(Image())), Code::kInvalidArgument);
}

TEST_P(StoresContract, AnImageIsMadeReadChangedListedAndDeleted) {
  ImageStore& images = stores().images();
  ASSERT_TRUE(images.Create(scope_, SomeImage("i1"), {}).ok());
  EXPECT_EQ(CodeOf(images.Create(scope_, SomeImage("i1"), {})), Code::kAlreadyExists);
  Image bad = SomeImage("i2");
  bad.target.media_type.clear();
  EXPECT_EQ(CodeOf(images.Create(scope_, bad, {})), Code::kInvalidArgument);
  Image wanted = SomeImage("i1");
  wanted.labels = {{"b", "2"}};
  wanted.target.annotations = {{"k", "v"}};
  EXPECT_EQ(images.Update(scope_, wanted, {"labels.b"}, {})->labels,
            (model::Labels{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(images.Update(scope_, wanted, {}, {})->target, wanted.target);
  EXPECT_EQ(images.Get(ns_, "i1")->target, wanted.target);
  EXPECT_EQ(CodeOf(images.Update(scope_, wanted, {"name"}, {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(images.Get(ns_, "none")), Code::kNotFound);
  EXPECT_EQ(images.List(ns_, {"name==i1"})->size(), 1U);
  EXPECT_EQ(images.List(ns_, {"name==none"})->size(), 0U);
  ASSERT_TRUE(images.Delete(scope_, "i1", {}).ok());
  EXPECT_EQ(CodeOf(images.Delete(scope_, "i1", {})), Code::kNotFound);
}

TEST_P(StoresContract, ALeaseHoldsAndReleases) {
  LeaseStore& leases = stores().leases();
  const model::LeaseId id("l1");
  ASSERT_TRUE(leases.Create(ns_, {id, {}, {{"a", "b"}}}).ok());
  EXPECT_EQ(CodeOf(leases.Create(ns_, {id, {}, {}})), Code::kAlreadyExists);
  EXPECT_FALSE(leases.Create(ns_, {})->id.empty());
  EXPECT_EQ(leases.List(ns_, {"id==l1"})->size(), 1U);
  ASSERT_TRUE(leases.AddResource(ns_, id, {"i", "images"}).ok());
  ASSERT_TRUE(leases.AddResource(ns_, id, {"k", "snapshots/overlayfs"}).ok());
  EXPECT_EQ(leases.ListResources(ns_, id).value(),
            (std::vector<LeaseResource>{{"i", "images"}, {"k", "snapshots/overlayfs"}}));
  EXPECT_EQ(CodeOf(leases.AddResource(ns_, id, {"not a digest", "content"})),
            Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(leases.AddResource(ns_, model::LeaseId("none"), {"i", "images"})),
            Code::kNotFound);
  ASSERT_TRUE(leases.DeleteResource(ns_, id, {"i", "images"}).ok());
  EXPECT_EQ(leases.ListResources(ns_, id)->size(), 1U);
  ASSERT_TRUE(leases.Delete(ns_, id, /*synchronous=*/true).ok());
  EXPECT_EQ(CodeOf(leases.Delete(ns_, id, false)), Code::kNotFound);
}

TEST_P(StoresContract, ASandboxIsMadeReadChangedListedAndDeleted) {
  SandboxStore& sandboxes = stores().sandboxes();
  ASSERT_TRUE(sandboxes.Create(ns_, SomeSandbox("s1")).ok());
  EXPECT_EQ(CodeOf(sandboxes.Create(ns_, SomeSandbox("s1"))), Code::kAlreadyExists);
  EXPECT_EQ(sandboxes.Get(ns_, model::SandboxId("s1"))->sandboxer, "podsandbox");
  Sandbox wanted = SomeSandbox("s1");
  wanted.labels = {{"a", "b"}};
  wanted.extensions = {{"e", {"t", "v"}}};
  EXPECT_EQ(sandboxes.Update(ns_, wanted, {"labels", "extensions"})->labels, wanted.labels);
  EXPECT_EQ(sandboxes.Get(ns_, wanted.id)->extensions, wanted.extensions);
  EXPECT_EQ(CodeOf(sandboxes.Update(ns_, wanted, {"sandboxer"})), Code::kInvalidArgument);
  EXPECT_EQ(sandboxes.List(ns_, {"labels.a==b"})->size(), 1U);
  ASSERT_TRUE(sandboxes.Delete(ns_, wanted.id).ok());
  EXPECT_EQ(CodeOf(sandboxes.Get(ns_, wanted.id)), Code::kNotFound);
}

TEST_P(StoresContract, NamespacesDoNotSeeEachOther) {
  const model::Namespace other("other");
  ASSERT_TRUE(stores().containers().Create(scope_, SomeContainer("c")).ok());
  ASSERT_TRUE(stores().images().Create(scope_, SomeImage("i"), {}).ok());
  EXPECT_EQ(CodeOf(stores().containers().Get(other, model::ContainerId("c"))), Code::kNotFound);
  EXPECT_EQ(CodeOf(stores().images().Get(other, "i")), Code::kNotFound);
  EXPECT_TRUE(stores().containers().List(other, {})->empty());
}

}  // namespace corten::metadata
