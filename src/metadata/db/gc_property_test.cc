// The collector against a model: random objects with random references, and a naive closure that
// says who lives.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "metadata/db/test_fixture.h"

namespace corten::metadata {
namespace {

enum class Kind { kContent, kSnapshot, kImage, kContainer, kLease };
using Id = std::pair<Kind, int>;

struct Object {
  std::set<Id> references;  // gc.ref labels; a container's snapshot
  std::set<Id> structure;   // parent, target
  std::set<Id> members;     // of a lease
  std::set<Id> back_references;
  bool root = false;
  bool flat = false;
};
using World = std::map<Id, Object>;

class RandomWorld {
 public:
  explicit RandomWorld(uint32_t seed) : random_(seed) {
    Fill(Kind::kContent, 9);
    Fill(Kind::kSnapshot, 7);
    Fill(Kind::kImage, 4);
    Fill(Kind::kContainer, 2);
    Fill(Kind::kLease, 3);
    for (auto& [id, object] : world_) Connect(id, object);
  }
  const World& world() const { return world_; }
  std::mt19937& random() { return random_; }

 private:
  int Below(int limit) { return static_cast<int>(random_() % static_cast<uint32_t>(limit)); }
  void Fill(Kind kind, int most) {
    const int count = Below(most + 1);
    for (int i = 0; i < count; ++i) world_[{kind, i}];
  }
  // Something of these kinds, that may not exist.
  Id Any(std::initializer_list<Kind> kinds) {
    return {*(kinds.begin() + Below(static_cast<int>(kinds.size()))), Below(9)};
  }

  void Connect(const Id& id, Object& object) {
    const auto references = [&](int most) {
      for (int i = Below(most + 1); i > 0; --i)
        object.references.insert(
            Any({Kind::kContent, Kind::kContent, Kind::kSnapshot, Kind::kImage}));
    };
    switch (id.first) {
      case Kind::kContent:
        object.root = Below(8) == 0;
        references(2);
        if (Below(4) == 0)
          object.back_references.insert(
              Any({Kind::kContainer, Kind::kImage, Kind::kSnapshot, Kind::kContent}));
        break;
      case Kind::kSnapshot:
        object.root = Below(8) == 0;
        if (id.second > 0 && Below(2) == 0)
          object.structure.insert({Kind::kSnapshot, Below(id.second)});
        references(1);
        if (Below(4) == 0)
          object.back_references.insert(Any({Kind::kContainer, Kind::kImage, Kind::kContent}));
        break;
      case Kind::kImage:
        object.root = Below(2) == 0;  // else it has expired
        object.structure.insert({Kind::kContent, Below(9)});
        references(1);
        if (!object.root && Below(2) == 0)
          object.back_references.insert(Any({Kind::kContainer, Kind::kContent}));
        break;
      case Kind::kContainer:
        object.root = true;
        if (Below(2) == 0) object.references.insert({Kind::kSnapshot, Below(9)});
        break;
      case Kind::kLease:
        object.root = Below(3) != 0;  // else it has expired
        object.flat = Below(2) == 0;
        for (int i = Below(4); i > 0; --i)
          object.members.insert(Any({Kind::kContent, Kind::kSnapshot, Kind::kImage}));
        break;
    }
  }

  std::mt19937 random_;
  World world_;
};

// Who lives: rules applied until nothing changes.
std::set<Id> Live(const World& world) {
  std::set<Id> full;
  std::set<Id> flat;
  for (const auto& [id, object] : world) {
    if (object.root) full.insert(id);
  }
  for (size_t before = SIZE_MAX; before != full.size() + flat.size();) {
    before = full.size() + flat.size();
    for (const auto& [id, object] : world) {
      if (full.contains(id)) {
        full.insert(object.references.begin(), object.references.end());
        full.insert(object.structure.begin(), object.structure.end());
        (object.flat ? flat : full).insert(object.members.begin(), object.members.end());
      } else if (flat.contains(id)) {
        flat.insert(object.structure.begin(), object.structure.end());
      }
      for (const Id& target : object.back_references) {
        if (world.contains(target) && (full.contains(target) || flat.contains(target)))
          full.insert(id);
      }
    }
  }
  full.insert(flat.begin(), flat.end());
  std::set<Id> live;
  for (const auto& [id, object] : world) {
    if (full.contains(id)) live.insert(id);
  }
  return live;
}

std::string BlobText(int number) { return StrCat("blob ", number); }
std::string Name(const Id& id) {
  switch (id.first) {
    case Kind::kContent:
      return DigestOf(BlobText(id.second)).str();
    case Kind::kSnapshot:
      return StrCat("s", id.second);
    case Kind::kImage:
      return StrCat("i", id.second);
    case Kind::kContainer:
      return StrCat("c", id.second);
    case Kind::kLease:
      return StrCat("l", id.second);
  }
  return {};
}
std::string Word(Kind kind) {
  switch (kind) {
    case Kind::kContent:
      return "content";
    case Kind::kSnapshot:
      return "snapshot.overlayfs";
    case Kind::kImage:
      return "image";
    default:
      return "container";
  }
}

model::Labels LabelsOf(const Id& id, const Object& object) {
  model::Labels labels;
  int number = 0;
  for (const Id& to : object.references)
    labels[StrCat("containerd.io/gc.ref.", Word(to.first), "/", ++number)] = Name(to);
  for (const Id& to : object.back_references)
    labels[StrCat("containerd.io/gc.bref.", Word(to.first), "/", ++number)] = Name(to);
  if (object.root && (id.first == Kind::kContent || id.first == Kind::kSnapshot))
    labels["containerd.io/gc.root"] = "yes";
  if (!object.root && (id.first == Kind::kImage || id.first == Kind::kLease))
    labels["containerd.io/gc.expire"] = "2001-01-01T00:00:00Z";
  if (object.flat) labels["containerd.io/gc.flat"] = "yes";
  return labels;
}

void Build(DatabaseFixture& f, const World& world) {
  for (const auto& [id, object] : world) {
    const model::Labels labels = LabelsOf(id, object);
    switch (id.first) {
      case Kind::kContent:
        f.Put(BlobText(id.second), labels);
        break;
      case Kind::kSnapshot:
        f.PutSnapshot(Name(id), object.structure.empty() ? "" : Name(*object.structure.begin()),
                      labels);
        break;
      case Kind::kImage: {
        Image image =
            MakeImage(Name(id), model::Digest::Parse(Name(*object.structure.begin())).value());
        image.labels = labels;
        ASSERT_OK(f.db().images().Create(kScope, image, {}));
        break;
      }
      case Kind::kContainer: {
        Container container = MakeContainer(Name(id));
        if (!object.references.empty()) {
          container.snapshotter = "overlayfs";
          container.snapshot_key = Name(*object.references.begin());
        }
        ASSERT_OK(f.db().containers().Create(kScope, container));
        break;
      }
      case Kind::kLease: {
        f.MakeLease(Name(id), labels);
        for (const Id& to : object.members) {
          const std::string type = to.first == Kind::kContent ? "content"
                                   : to.first == Kind::kImage ? "images"
                                                              : "snapshots/overlayfs";
          ASSERT_OK(
              f.db().leases().AddResource(kDefault, model::LeaseId(Name(id)), {Name(to), type}));
        }
        break;
      }
    }
  }
}

std::set<Id> Present(DatabaseFixture& f, const World& world) {
  std::set<Id> present;
  for (const auto& [id, object] : world) {
    bool there = false;
    switch (id.first) {
      case Kind::kContent:
        there = f.Has(DigestOf(BlobText(id.second)));
        break;
      case Kind::kSnapshot:
        there = f.HasSnapshot(Name(id));
        break;
      case Kind::kImage:
        there = f.HasImage(Name(id));
        break;
      case Kind::kContainer:
        there = f.db().containers().Get(kDefault, model::ContainerId(Name(id))).ok();
        break;
      case Kind::kLease:
        there = !f.db().leases().List(kDefault, {StrCat("id==", Name(id))})->empty();
        break;
    }
    if (there) present.insert(id);
  }
  return present;
}

std::string Describe(const std::set<Id>& ids) {
  std::string out;
  for (const Id& id : ids) out += StrCat(Word(id.first), " ", id.second, ", ");
  return out;
}

TEST(GcProperty, TheCollectorKeepsExactlyWhatTheModelKeeps) {
  for (uint32_t seed = 1; seed <= 120; ++seed) {
    RandomWorld random(seed);
    DatabaseFixture f;
    Build(f, random.world());
    GcOptions options;
    options.batch_rows = 1 + random.random()() % 5;
    f.Collect(options);
    const std::set<Id> live = Live(random.world());
    const std::set<Id> present = Present(f, random.world());
    ASSERT_EQ(present, live) << "seed " << seed << "\nkept: " << Describe(present)
                             << "\nmodel: " << Describe(live);
    size_t blobs = 0;
    size_t snapshots = 0;
    for (const Id& id : live) {
      blobs += id.first == Kind::kContent ? 1 : 0;
      snapshots += id.first == Kind::kSnapshot ? 1 : 0;
    }
    ASSERT_EQ(f.BackendBlobs(), blobs) << "seed " << seed;
    ASSERT_EQ(f.BackendSnapshots(), snapshots) << "seed " << seed;
  }
}

}  // namespace
}  // namespace corten::metadata
