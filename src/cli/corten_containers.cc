// corten ps, stop, kill, rm, logs, inspect.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/json_depth.h"
#include "cli/corten_verbs.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "client/tasks.h"

namespace corten::cli {

namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

Result<int> Ps(Session& session, const Values& values) {
  const std::vector<metadata::Container> containers =
      TRY(session.containers().List(session.ns(), {}));
  const std::vector<client::TaskState> states =
      TRY(client::RemoteTasks(session.connection(), session.scope())->List());
  std::map<std::string, client::TaskState> by_id;
  for (const client::TaskState& state : states) by_id[state.container.str()] = state;
  Table table({1, 3, false});
  table.Row({"NAME", "IMAGE", "STATUS", "PID", "CREATED"}, /*trailing=*/false);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const metadata::Container& container : containers) {
    const auto found = by_id.find(container.id.str());
    const std::string status = found == by_id.end() || found->second.status == "STOPPED"
                                   ? "exited"
                                   : Lower(found->second.status);
    const bool alive = status == "running" || status == "paused" || status == "created";
    if (!alive && !values.Bool("all")) continue;
    const std::string pid = alive ? StrCat(found->second.pid) : "-";
    if (values.Bool("quiet")) {
      PrintLine(container.id.str());
    } else if (values.Text("output") == "json") {
      list.push_back({{"name", container.id.str()},
                      {"image", container.image},
                      {"status", status},
                      {"pid", alive ? found->second.pid : 0},
                      {"created", FormatRfc3339(container.created_at)}});
    } else {
      table.Row(
          {container.id.str(), container.image, status, pid,
           StrCat(HumanAge(std::max<int64_t>(0, Now().seconds - container.created_at.seconds)),
                  " ago")},
          /*trailing=*/false);
    }
  }
  if (values.Bool("quiet")) return 0;
  if (values.Text("output") == "json") {
    PrintLine(list.dump(2));
  } else {
    table.Print();
  }
  return 0;
}

// Ends the task and waits; kDeadlineExceeded when it is still there after `wait_ns`.
Status SignalAndWait(client::Tasks& tasks, const model::ContainerId& id, uint32_t signal,
                     std::chrono::nanoseconds wait) {
  const Status sent = tasks.Kill(id, {}, signal, /*all=*/signal == SIGKILL);
  if (!sent.ok() && !sent.error().Is(Code::kNotFound)) return sent.error().Clone();
  const auto end = std::chrono::steady_clock::now() + wait;
  while (true) {
    const Result<client::TaskState> state = tasks.Get(id);
    if (!state.ok())
      return state.error().Is(Code::kNotFound) ? Ok() : Status(state.error().Clone());
    if (state->status == "STOPPED") return Ok();
    if (std::chrono::steady_clock::now() >= end)
      return DeadlineExceededError("container ", id.str(), ": still running");
    (void)poll(nullptr, 0, 20);
  }
}

Status StopOne(client::Tasks& tasks, const model::ContainerId& id, uint32_t signal,
               std::chrono::nanoseconds grace) {
  Status stopped = SignalAndWait(tasks, id, signal, grace);
  if (!stopped.ok() && stopped.error().Is(Code::kDeadlineExceeded))
    stopped = SignalAndWait(tasks, id, SIGKILL, std::chrono::seconds(10));
  TRY(std::move(stopped));
  const Result<client::TaskExit> deleted = tasks.Delete(id, {});
  if (!deleted.ok() && !deleted.error().Is(Code::kNotFound)) return deleted.error().Clone();
  return Ok();
}

// Runs `work` for each argument; all are tried, the first error is the answer.
template <typename Work>
Result<int> ForEach(const Values& values, std::string_view what, Work work) {
  if (values.args.empty()) return InvalidArgumentError("name at least one ", what);
  std::optional<Error> first;
  for (const std::string& name : values.args) {
    Status done = work(name);
    if (done.ok()) {
      PrintLine(name);
    } else if (!first.has_value()) {
      first = std::move(done).TakeError();
    } else {
      Warn(done.error().WireText());
    }
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Result<int> Stop(Session& session, const Values& values) {
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  const uint32_t signal = TRY(ParseSignal(values.Text("signal")));
  return ForEach(values, "container", [&](const std::string& name) -> Status {
    const model::ContainerId id(name);
    const metadata::Container container = TRY(session.containers().Get(session.ns(), id));
    return StopOne(*tasks, container.id, signal, std::chrono::nanoseconds(values.Nanos("time")));
  });
}

Result<int> Kill(Session& session, const Values& values) {
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  const uint32_t signal = TRY(ParseSignal(values.Text("signal")));
  return ForEach(values, "container", [&](const std::string& name) {
    return tasks->Kill(model::ContainerId(name), {}, signal, /*all=*/false);
  });
}

Status RemoveOne(Session& session, client::Tasks& tasks, const model::ContainerId& id, bool force) {
  const metadata::Container container = TRY(session.containers().Get(session.ns(), id));
  const Result<client::TaskState> state = tasks.Get(id);
  if (state.ok() && state->status != "STOPPED" && !force) {
    return FailedPreconditionError("container ", id.str(), " is ", Lower(state->status),
                                   ": stop it first (corten stop ", id.str(), "), or use --force");
  }
  if (state.ok()) TRY(StopOne(tasks, id, SIGKILL, std::chrono::seconds(10)));
  if (!container.snapshot_key.empty()) {
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session.stores().Snapshots(session.scope(), container.snapshotter));
    const Status removed = snapshots->Remove(container.snapshot_key);
    if (!removed.ok() && !removed.error().Is(Code::kNotFound)) return removed.error().Clone();
  }
  TRY(session.containers().Delete(session.scope(), id));
  const auto log = container.labels.find(kLogLabel);
  if (log != container.labels.end()) (void)unlink(log->second.c_str());  // gone already is fine
  return Ok();
}

Result<int> Rm(Session& session, const Values& values) {
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  return ForEach(values, "container", [&](const std::string& name) {
    return RemoveOne(session, *tasks, model::ContainerId(name), values.Bool("force"));
  });
}

// Where the last `lines` lines of the file begin; 0 when it has no more than these.
Result<off_t> TailStart(const Fd& file, int64_t lines, const std::string& path) {
  off_t end = lseek(file.get(), 0, SEEK_END);
  if (end < 0) return ErrnoError(errno, "seek ", path);
  if (lines == 0) return end;
  char buffer[16384];
  bool last = true;  // a newline at the very end closes the last line
  while (end > 0) {
    const size_t size = std::min<size_t>(sizeof(buffer), static_cast<size_t>(end));
    const off_t begin = end - static_cast<off_t>(size);
    const ssize_t n = pread(file.get(), buffer, size, begin);
    if (n < 0) return ErrnoError(errno, "read ", path);
    for (ssize_t at = n; at-- > 0; last = false) {
      if (buffer[at] != '\n' || last) continue;
      if (lines <= 1) return begin + at + 1;
      --lines;
    }
    if (n < static_cast<ssize_t>(size)) return 0;  // cut short meanwhile: all of it
    end = begin;
  }
  return 0;
}

Result<int> Logs(Session& session, const Values& values) {
  const metadata::Container container =
      TRY(session.containers().Get(session.ns(), model::ContainerId(values.Arg(0))));
  const auto label = container.labels.find(kLogLabel);
  if (label == container.labels.end()) {
    return FailedPreconditionError("container ", container.id.str(),
                                   ": no log is kept; only `corten run --detach` keeps one");
  }
  const Fd file(open(label->second.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoError(errno, "open ", label->second);
  if (const int64_t lines = values.Int("tail"); lines >= 0) {
    const off_t start = TRY(TailStart(file, lines, label->second));
    if (lseek(file.get(), start, SEEK_SET) < 0) return ErrnoError(errno, "seek ", label->second);
  }
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  char buffer[16384];
  bool ended = !values.Bool("follow");
  while (true) {
    const size_t n = TRY(ReadSome(file, buffer, sizeof(buffer), label->second));
    if (n > 0) {
      Print(std::string_view(buffer, n));
      continue;
    }
    (void)fflush(stdout);
    if (ended) return 0;
    const Result<client::TaskState> state = tasks->Get(container.id);
    ended = !state.ok() || state->status == "STOPPED";  // one more look after the end
    if (!ended) (void)poll(nullptr, 0, 100);
  }
}

Result<int> Inspect(Session& session, const Values& values) {
  if (values.args.empty()) return InvalidArgumentError("name a container or an image");
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const std::string& name : values.args) {
    const Result<metadata::Container> container =
        session.containers().Get(session.ns(), model::ContainerId(name));
    if (container.ok()) {
      nlohmann::ordered_json entry = {{"kind", "container"},
                                      {"name", name},
                                      {"image", container->image},
                                      {"runtime", container->runtime.name},
                                      {"snapshotter", container->snapshotter},
                                      {"labels", container->labels},
                                      {"created", FormatRfc3339(container->created_at)}};
      if (container->spec.has_value() && !NestedTooDeep(container->spec->value))
        entry["spec"] = nlohmann::ordered_json::parse(container->spec->value, nullptr, false);
      out.push_back(std::move(entry));
      continue;
    }
    const Result<metadata::Image> found = FindImage(session, name);
    if (!found.ok() && found.error().Is(Code::kNotFound))
      return NotFoundError("container or image ", Quoted(name));
    if (!found.ok()) return found.error().Clone();
    const metadata::Image& image = *found;
    out.push_back({{"kind", "image"},
                   {"name", image.name},
                   {"type", image.target.media_type},
                   {"digest", image.target.digest.str()},
                   {"labels", image.labels},
                   {"created", FormatRfc3339(image.created_at)}});
  }
  PrintLine(out.dump(2));
  return 0;
}

}  // namespace

Command PsVerb() {
  return {{"ps"},
          "list containers",
          "",
          "",
          {BoolFlag({"all", "a"}, "also those that have ended"),
           BoolFlag({"quiet", "q"}, "names only"), OutputFlag()},
          {},
          Connected(&Ps)};
}
Command StopVerb() {
  return {{"stop"},
          "stop containers: a signal, then SIGKILL",
          "CONTAINER...",
          "",
          {TextFlag({"signal", "s"}, "first signal", "TERM"),
           DurationFlag({"time", "t"}, "how long to wait before SIGKILL", "10s")},
          {},
          Connected(&Stop)};
}
Command KillVerb() {
  return {{"kill"},
          "send a signal to containers",
          "CONTAINER...",
          "",
          {TextFlag({"signal", "s"}, "signal", "KILL")},
          {},
          Connected(&Kill)};
}
Command RmVerb() {
  return {{"rm"},
          "remove containers",
          "CONTAINER...",
          "",
          {BoolFlag({"force", "f"}, "stop them first if they run")},
          {},
          Connected(&Rm)};
}
Command LogsVerb() {
  return {{"logs"},
          "print the output of a detached container",
          "CONTAINER",
          "",
          {BoolFlag({"follow", "f"}, "go on until it ends"),
           IntFlag({"tail", "n"}, "begin with the last N lines (-1: with the first)", "-1")},
          {},
          Connected(&Logs)};
}
Command InspectVerb() {
  return {
      {"inspect"},        "print everything known of containers and images", "NAME...", "", {}, {},
      Connected(&Inspect)};
}

}  // namespace corten::cli
