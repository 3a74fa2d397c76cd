// When garbage is collected (metadata.md 9, "Scheduler"): the rule as a plain state machine, and
// the thread that obeys it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/error.h"

namespace corten::metadata {

// Names and defaults are those of plugin io.containerd.gc.v1.scheduler.
struct GcSchedule {
  double pause_threshold = 0.02;  // share of time that may be spent paused; clamped to 0..0.5
  int deletion_threshold = 0;     // deletions that start a run at once; 0: any deletion plans one
  int mutation_threshold = 100;   // mutations that make a tick run; 0: never
  std::chrono::nanoseconds schedule_delay{0};  // between trigger and run
  std::chrono::nanoseconds startup_delay{
      std::chrono::milliseconds(100)};  // 0: no first run by itself
};

// What a run reports to the rule.
struct GcOutcome {
  std::chrono::nanoseconds pause{0};  // the locked part only
  std::optional<Time> next_expiry;    // when something kept by a date expires
  bool left_behind = false;           // a backend failed: garbage is left for another run
};

// The rule. One thread. Time is what the caller says: nanoseconds of any steady clock.
class GcPolicy {
 public:
  using Nanos = std::chrono::nanoseconds;
  GcPolicy(const GcSchedule& schedule, Nanos now);

  void OnMutation(bool deletion, Nanos now);
  void OnTrigger(Nanos now);  // somebody waits for a run
  // Something will expire `in` from now: a run is due then even if nothing else happens. The
  // earliest counts.
  void OnExpiry(Nanos in, Nanos now);
  // When to look again; nullopt: not until the next On call.
  std::optional<Nanos> NextTick() const;
  // At or after NextTick: whether to run now. If not, a later tick is planned.
  bool Tick(Nanos now);
  void OnFinished(bool ok, Nanos pause, Nanos now);
  // After OnFinished of a run that succeeded. What it left behind is tried again after a second,
  // then after twice as long each time, at most kLongestRetry apart, until a run leaves nothing.
  void OnLeftBehind(bool left, Nanos now);
  static constexpr Nanos kLongestRetry = std::chrono::minutes(10);
  // The pause planned between two runs.
  Nanos interval() const { return interval_; }

 private:
  void PlanAt(Nanos at);
  bool IsUrgent() const;
  const GcSchedule schedule_;
  double pause_threshold_ = 0;
  Nanos interval_{0};
  std::optional<Nanos> next_;  // planned tick
  std::optional<Nanos> expiry_;
  bool running_ =
      false;  // between a Tick that said yes and OnFinished: things are counted, not planned
  bool triggered_ = false;
  bool first_ = true;
  uint64_t deletions_ = 0;  // since the last run
  uint64_t mutations_ = 0;
  uint64_t runs_ = 0;
  Nanos pauses_{0};  // of all runs
  Nanos retry_{0};   // before the next try at what was left behind; 0: nothing was
};

// Runs a collector by that rule in a thread of its own.
// Threads: all methods, any. Life: Stop (or the destructor) waits for a run in progress.
class GcScheduler {
 public:
  using Collect = std::function<Result<GcOutcome>()>;
  struct Options {
    GcSchedule schedule;
    WallClock clock = &Now;                                  // for expiry dates
    std::function<std::chrono::nanoseconds()> steady_clock;  // empty: std::chrono::steady_clock
    std::function<void(const Result<GcOutcome>&)>
        on_run;  // after each run, e.g. metrics and the log; may be empty
  };
  GcScheduler(Collect collect, Options options);
  virtual ~GcScheduler();  // an owner may add strings to cut
  GcScheduler(const GcScheduler&) = delete;
  GcScheduler& operator=(const GcScheduler&) = delete;

  void OnMutation(bool deletion);
  void OnExpiry(Time when);  // a row was written that something keeps until then
  // Asks for a run and waits for one that started after this call. Errors: kUnknown "gc failed"
  // with the cause; kUnavailable once stopped.
  Status CollectAndWait();
  void Stop();
  // For clocks that tests tick: look at the clock again.
  void Wake();

  struct Stats {
    uint64_t runs = 0;
    uint64_t failures = 0;
    std::chrono::nanoseconds last_duration{0};
    std::chrono::nanoseconds last_pause{0};
    std::chrono::nanoseconds total_pause{0};
  };
  Stats stats() const;

 private:
  void Run();
  std::chrono::nanoseconds SteadyNow() const;

  const Collect collect_;
  const Options options_;
  mutable std::mutex mutex_;  // guards everything below; never held while collect_ or on_run run
  std::condition_variable changed_;
  GcPolicy policy_;
  Stats stats_;
  uint64_t started_ = 0;  // runs begun and ended, for waiters
  uint64_t finished_ = 0;
  uint64_t failed_through_ = 0;  // number of the last run that failed
  std::string failure_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all is there
};

}  // namespace corten::metadata
