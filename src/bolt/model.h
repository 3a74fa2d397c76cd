// The judge of the engine: a tree of std::maps that takes the same random steps as a database. Test
// code.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "bolt/tx.h"

namespace corten::bolt {

struct ModelBucket {
  uint64_t sequence = 0;
  std::map<std::string, std::string> values;
  std::map<std::string, ModelBucket> buckets;
};

// `bucket` holds exactly what `model` holds: forwards, backwards, by key, and nothing else. Errors:
// kInternal with the path of the first difference, or the engine's own.
Status Compare(const Bucket& bucket, const ModelBucket& model, const std::string& path = "/");

struct ModelOptions {
  size_t max_keys = 400;   // new keys of a bucket come from this many
  size_t max_value = 300;  // bytes; now and then 20 times as long
  size_t max_steps = 60;   // of one function
  size_t max_depth = 4;
};

// Random steps from a seed, taken by a transaction and a model alike.
class ModelSteps {
 public:
  explicit ModelSteps(uint64_t seed, ModelOptions options = {})
      : random_(seed), options_(options) {}

  // A function's worth of steps. Errors: the engine's; kInternal where its answer is not the
  // model's.
  Status Take(Tx& tx, ModelBucket* model);
  uint64_t Below(uint64_t limit) {
    return std::uniform_int_distribution<uint64_t>(0, limit - 1)(random_);
  }

 private:
  std::string Key();
  std::string Value();
  Status Step(Bucket bucket, ModelBucket* model);
  Status StepValue(Bucket& bucket, ModelBucket* model);
  Status StepBucket(Bucket& bucket, ModelBucket* model);
  Status StepSequence(Bucket& bucket, ModelBucket* model);
  Status StepCursor(Bucket& bucket, ModelBucket* model);

  std::mt19937_64 random_;
  ModelOptions options_;
};

}  // namespace corten::bolt
