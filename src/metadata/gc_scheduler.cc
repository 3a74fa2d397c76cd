#include "metadata/gc_scheduler.h"

#include <algorithm>

namespace corten::metadata {

namespace {

using std::chrono::nanoseconds;
constexpr nanoseconds kShortestPause =
    std::chrono::milliseconds(5);  // what a run counts as at least
constexpr nanoseconds kUnlimitedInterval =
    std::chrono::seconds(1);  // between runs without a pause threshold
constexpr nanoseconds kRetryDelay =
    std::chrono::seconds(1);  // added to the interval after a failure
constexpr nanoseconds kExpirySlack =
    std::chrono::milliseconds(1);  // a date is over once it lies in the past
constexpr nanoseconds kLongestWait =
    std::chrono::hours(24 * 365);  // dates further away count as this
constexpr double kMaxPauseThreshold = 0.5;

}  // namespace

GcPolicy::GcPolicy(const GcSchedule& schedule, Nanos now)
    : schedule_(schedule),
      pause_threshold_(std::clamp(schedule.pause_threshold, 0.0, kMaxPauseThreshold)),
      interval_(kUnlimitedInterval) {
  if (schedule_.startup_delay > Nanos::zero()) PlanAt(now + schedule_.startup_delay);
}

void GcPolicy::PlanAt(Nanos at) {
  if (!next_ || at < *next_) next_ = at;
}

bool GcPolicy::IsUrgent() const {
  const auto limit = static_cast<uint64_t>(std::max(schedule_.deletion_threshold, 0));
  return triggered_ || (limit > 0 && deletions_ >= limit);
}

void GcPolicy::OnMutation(bool deletion, Nanos now) {
  ++mutations_;
  if (deletion) ++deletions_;
  if (running_) return;
  const bool enough_mutations = schedule_.mutation_threshold > 0 &&
                                mutations_ >= static_cast<uint64_t>(schedule_.mutation_threshold);
  const bool due = (deletion && schedule_.deletion_threshold <= 0) || enough_mutations;
  if (IsUrgent() || (!next_ && due)) PlanAt(now + schedule_.schedule_delay);
}

void GcPolicy::OnTrigger(Nanos now) {
  triggered_ = true;
  if (!running_) PlanAt(now + schedule_.schedule_delay);
}

void GcPolicy::OnExpiry(Nanos in, Nanos now) {
  const Nanos at = now + std::clamp(in, Nanos::zero(), kLongestWait) + kExpirySlack;
  if (!expiry_ || at < *expiry_) expiry_ = at;
}

std::optional<GcPolicy::Nanos> GcPolicy::NextTick() const {
  if (running_) return std::nullopt;
  if (!next_ || (expiry_ && *expiry_ < *next_)) return expiry_;
  return next_;
}

bool GcPolicy::Tick(Nanos now) {
  if (running_) return false;
  bool run = expiry_ && *expiry_ <= now;
  if (next_ && *next_ <= now) {
    next_.reset();
    const bool enough_mutations = schedule_.mutation_threshold > 0 &&
                                  mutations_ >= static_cast<uint64_t>(schedule_.mutation_threshold);
    run = run || triggered_ || first_ || deletions_ > 0 || enough_mutations;
  }
  if (!run) return false;
  if (expiry_ && *expiry_ <= now) expiry_.reset();
  running_ = true;
  first_ = false;
  triggered_ = false;
  deletions_ = 0;
  mutations_ = 0;
  next_.reset();
  return true;
}

void GcPolicy::OnFinished(bool ok, Nanos pause, Nanos now) {
  running_ = false;
  if (!ok) {
    triggered_ = true;  // the retry must not be skipped
    PlanAt(now + interval_ + kRetryDelay);
    return;
  }
  ++runs_;
  pauses_ += pause;
  const double average =
      static_cast<double>(std::max(pauses_ / static_cast<int64_t>(runs_), kShortestPause).count());
  interval_ = kUnlimitedInterval;
  if (pause_threshold_ > 0)
    interval_ = Nanos(static_cast<int64_t>(average / pause_threshold_ - average));
  PlanAt(now + (IsUrgent() ? schedule_.schedule_delay : interval_));
}

void GcPolicy::OnLeftBehind(bool left, Nanos now) {
  if (!left) {
    retry_ = Nanos::zero();
    return;
  }
  retry_ = std::clamp<Nanos>(2 * retry_, kRetryDelay, kLongestRetry);
  OnExpiry(retry_, now);
}

GcScheduler::GcScheduler(Collect collect, Options options)
    : collect_(std::move(collect)),
      options_(std::move(options)),
      policy_(options_.schedule, SteadyNow()),
      thread_([this] { Run(); }) {}

GcScheduler::~GcScheduler() { Stop(); }

std::chrono::nanoseconds GcScheduler::SteadyNow() const {
  if (options_.steady_clock) return options_.steady_clock();
  return std::chrono::steady_clock::now().time_since_epoch();
}

void GcScheduler::OnMutation(bool deletion) {
  {
    const std::lock_guard lock(mutex_);
    const std::optional<nanoseconds> before = policy_.NextTick();
    policy_.OnMutation(deletion, SteadyNow());
    if (policy_.NextTick() == before) return;
  }
  changed_.notify_all();
}

void GcScheduler::OnExpiry(Time when) {
  const Time now = options_.clock();
  const int64_t seconds =
      std::clamp<int64_t>(when.seconds - now.seconds, 0, int64_t{365} * 24 * 3600);
  {
    const std::lock_guard lock(mutex_);
    policy_.OnExpiry(std::chrono::seconds(seconds) + nanoseconds(when.nanos - now.nanos),
                     SteadyNow());
  }
  changed_.notify_all();
}

Status GcScheduler::CollectAndWait() {
  std::unique_lock lock(mutex_);
  if (stopping_) return UnavailableError("gc failed: shutting down");
  const uint64_t wanted = started_ + 1;
  policy_.OnTrigger(SteadyNow());
  changed_.notify_all();
  changed_.wait(lock, [&] { return finished_ >= wanted || stopping_; });
  if (finished_ < wanted) return UnavailableError("gc failed: shutting down");
  if (failed_through_ >= wanted) return UnknownError("gc failed: ", failure_);
  return Ok();
}

void GcScheduler::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void GcScheduler::Wake() { changed_.notify_all(); }

GcScheduler::Stats GcScheduler::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void GcScheduler::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const nanoseconds now = SteadyNow();
    const std::optional<nanoseconds> tick = policy_.NextTick();
    if (!tick || *tick > now) {
      if (tick && !options_.steady_clock) {
        changed_.wait_for(lock, *tick - now);
      } else {
        changed_.wait(lock);
      }
      continue;
    }
    if (!policy_.Tick(now)) continue;
    const uint64_t number = ++started_;
    lock.unlock();
    const Result<GcOutcome> outcome = collect_();
    if (options_.on_run) options_.on_run(outcome);
    const Time wall = options_.clock();
    lock.lock();
    const nanoseconds end = SteadyNow();
    stats_.last_duration = end - now;
    if (outcome.ok()) {
      ++stats_.runs;
      stats_.last_pause = outcome->pause;
      stats_.total_pause += outcome->pause;
      if (outcome->next_expiry) {
        const int64_t seconds = std::clamp<int64_t>(outcome->next_expiry->seconds - wall.seconds, 0,
                                                    int64_t{365} * 24 * 3600);
        policy_.OnExpiry(
            std::chrono::seconds(seconds) + nanoseconds(outcome->next_expiry->nanos - wall.nanos),
            end);
      }
    } else {
      ++stats_.failures;
      failed_through_ = number;
      failure_ = outcome.error().text();
    }
    policy_.OnFinished(outcome.ok(), outcome.ok() ? outcome->pause : nanoseconds(0), end);
    if (outcome.ok()) policy_.OnLeftBehind(outcome->left_behind, end);
    finished_ = number;
    changed_.notify_all();
  }
}

}  // namespace corten::metadata
