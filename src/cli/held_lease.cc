#include "cli/held_lease.h"

#include "base/clock.h"

namespace corten::cli {

Result<std::unique_ptr<HeldLease>> HeldLease::Take(Session& session, LeaseWishes wishes) {
  metadata::Lease lease;
  lease.id = std::move(wishes.id);
  lease.labels = std::move(wishes.labels);
  if (wishes.life_nanos > 0) {
    const Time until = AddNanos(Now(), wishes.life_nanos);
    lease.labels["containerd.io/gc.expire"] = FormatRfc3339({until.seconds, 0});
  }
  const metadata::Lease made = TRY(session.leases().Create(session.ns(), std::move(lease)));
  return std::unique_ptr<HeldLease>(new HeldLease(session, made.id));
}

HeldLease::~HeldLease() {
  if (!kept_) (void)session_.leases().Delete(session_.ns(), id_, /*synchronous=*/false);
}

}  // namespace corten::cli
