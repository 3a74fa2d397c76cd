// A lease for the time of one verb: what is made under it is safe from the collector until
// something refers to it. Given back at the end; if that fails it ends by itself. One thread.
#pragma once

#include <memory>

#include "cli/session.h"

namespace corten::cli {

struct LeaseWishes {
  model::LeaseId id;                                     // empty: made up
  int64_t life_nanos = int64_t{24} * 3600 * 1000000000;  // 0: for ever
  model::Labels labels;
};

class HeldLease {
 public:
  // kAlreadyExists: the wished id.
  static Result<std::unique_ptr<HeldLease>> Take(Session& session, LeaseWishes wishes = {});
  ~HeldLease();
  HeldLease(const HeldLease&) = delete;
  HeldLease& operator=(const HeldLease&) = delete;
  model::Scope scope() const { return {session_.ns(), id_}; }
  // The lease stays when this goes.
  void Keep() { kept_ = true; }

 private:
  HeldLease(Session& session, model::LeaseId id) : session_(session), id_(std::move(id)) {}
  Session& session_;
  const model::LeaseId id_;
  bool kept_ = false;
};

}  // namespace corten::cli
