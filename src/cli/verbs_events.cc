// ctr events: what the daemon tells, as it tells it.
#include "api/values.h"
#include "cli/event_json.h"
#include "cli/event_stream.h"
#include "cli/session.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

// As the original tells how its stream ended.
Error StreamError(const Error& error) {
  static constexpr const char* kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return UnknownError("rpc error: code = ", kNames[static_cast<size_t>(error.code())],
                      " desc = ", error.WireText());
}

Result<int> Events(Session& session, const Values& values) {
  const Status done = FollowEvents(session, values.args, [](const Event& event) -> Status {
    const Result<std::string> json = EventJson(event.payload);
    if (!json.ok()) {
      Warn(StrCat("cannot unmarshal an event from Any: ", json.error().WireText()));
      return Ok();
    }
    PrintLine(StrCat(GoTime(event.at), " ", event.ns, " ", event.topic, " ", *json));
    return FlushOutput();
  });
  if (!done.ok()) return StreamError(done.error());
  return 0;
}

}  // namespace

Command EventsCommand() {
  return {{"events", "event"}, "display containerd events", "[<filter>, ...]", "", {}, {},
          Connected(&Events)};
}

}  // namespace corten::cli
