#include "cli/event_json.h"

#include <google/protobuf/message.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/message_json.h"
#include "containerd/events/container.pb.h"
#include "containerd/events/content.pb.h"
#include "containerd/events/namespace.pb.h"
#include "containerd/events/sandbox.pb.h"
#include "containerd/events/snapshot.pb.h"
#include "containerd/events/task.pb.h"
#include "containerd/services/images/v1/image_events.pb.h"

namespace corten::cli {

namespace {

namespace pb = google::protobuf;
namespace events = containerd::events;

template <typename Event>
void Know(std::map<std::string, const pb::Message*, std::less<>>* types) {
  (*types)[std::string(Event::descriptor()->full_name())] = &Event::default_instance();
}

const pb::Message* KnownEvent(std::string_view type) {
  std::map<std::string, const pb::Message*, std::less<>> types;
  Know<events::ContainerCreate>(&types);
  Know<events::ContainerUpdate>(&types);
  Know<events::ContainerDelete>(&types);
  Know<events::ContentCreate>(&types);
  Know<events::ContentDelete>(&types);
  Know<containerd::services::images::v1::ImageCreate>(&types);
  Know<containerd::services::images::v1::ImageUpdate>(&types);
  Know<containerd::services::images::v1::ImageDelete>(&types);
  Know<events::NamespaceCreate>(&types);
  Know<events::NamespaceUpdate>(&types);
  Know<events::NamespaceDelete>(&types);
  Know<events::SandboxCreate>(&types);
  Know<events::SandboxStart>(&types);
  Know<events::SandboxExit>(&types);
  Know<events::SnapshotPrepare>(&types);
  Know<events::SnapshotCommit>(&types);
  Know<events::SnapshotRemove>(&types);
  Know<events::TaskCreate>(&types);
  Know<events::TaskStart>(&types);
  Know<events::TaskDelete>(&types);
  Know<events::TaskExit>(&types);
  Know<events::TaskOOM>(&types);
  Know<events::TaskExecAdded>(&types);
  Know<events::TaskExecStarted>(&types);
  Know<events::TaskPaused>(&types);
  Know<events::TaskResumed>(&types);
  Know<events::TaskCheckpointed>(&types);
  const auto found = types.find(type);
  return found == types.end() ? nullptr : found->second;
}

}  // namespace

Result<std::string> EventJson(const model::Any& event) {
  const std::string_view url = event.type_url;
  const std::string_view type = url.substr(url.rfind('/') + 1);
  const pb::Message* known = KnownEvent(type);
  if (known == nullptr) return NotFoundError("type with url ", event.type_url);
  const std::unique_ptr<pb::Message> message(known->New());
  if (!message->ParseFromString(event.value))
    return InvalidArgumentError("malformed ", event.type_url);
  std::string out;
  for (const char c : MessageTree(*message).dump()) {
    if (c == '<' || c == '>' || c == '&') {  // as the original writes texts: safe inside HTML too
      out += StrCat("\\u00", Hex(std::string_view(&c, 1)));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::string GoTime(Time time) {
  std::string text = FormatRfc3339(time);
  text.pop_back();  // Z
  text[text.find('T')] = ' ';
  return StrCat(text, " +0000 UTC");
}

}  // namespace corten::cli
