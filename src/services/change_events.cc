// Metadata changes as containerd's events, and the reading of event fields for filters.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include "api/values.h"
#include "base/log.h"
#include "containerd/events/container.pb.h"
#include "containerd/events/content.pb.h"
#include "containerd/events/namespace.pb.h"
#include "containerd/events/sandbox.pb.h"
#include "containerd/events/snapshot.pb.h"
#include "containerd/events/task.pb.h"
#include "containerd/services/images/v1/image_events.pb.h"
#include "services/facades.h"

namespace corten::services {

namespace {

using api::ToProto;

using metadata::Change;
namespace wire_events = containerd::events;
namespace image_events = containerd::services::images::v1;

struct Event {
  const char* topic;
  std::unique_ptr<google::protobuf::Message> message;
};

template <typename Message, typename Fill>
Event Make(const char* topic, Fill fill) {
  auto message = std::make_unique<Message>();
  fill(*message);
  return {topic, std::move(message)};
}

Event ContainerEvent(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kContainerCreate:
      return Make<wire_events::ContainerCreate>("/containers/create", [&](auto& message) {
        message.set_id(change.name);
        message.set_image(change.image);
        message.mutable_runtime()->set_name(change.runtime.name);
        if (change.runtime.options.has_value())
          ToProto(*change.runtime.options, message.mutable_runtime()->mutable_options());
      });
    case Change::Kind::kContainerUpdate:
      return Make<wire_events::ContainerUpdate>("/containers/update", [&](auto& message) {
        message.set_id(change.name);
        message.set_image(change.image);
        ToProto(change.labels, message.mutable_labels());
        message.set_snapshot_key(change.snapshot_key);
      });
    default:
      return Make<wire_events::ContainerDelete>(
          "/containers/delete", [&](auto& message) { message.set_id(change.name); });
  }
}

Event NamespaceEvent(const Change& change) {
  const auto fill = [&](auto& message) {
    message.set_name(change.name);
    ToProto(change.labels, message.mutable_labels());
  };
  switch (change.kind) {
    case Change::Kind::kNamespaceCreate:
      return Make<wire_events::NamespaceCreate>("/namespaces/create", fill);
    case Change::Kind::kNamespaceUpdate:
      return Make<wire_events::NamespaceUpdate>("/namespaces/update", fill);
    default:
      return Make<wire_events::NamespaceDelete>(
          "/namespaces/delete", [&](auto& message) { message.set_name(change.name); });
  }
}

Event ImageEvent(const Change& change) {
  const auto fill = [&](auto& message) {
    message.set_name(change.name);
    ToProto(change.labels, message.mutable_labels());
  };
  switch (change.kind) {
    case Change::Kind::kImageCreate:
      return Make<image_events::ImageCreate>("/images/create", fill);
    case Change::Kind::kImageUpdate:
      return Make<image_events::ImageUpdate>("/images/update", fill);
    default:
      return Make<image_events::ImageDelete>("/images/delete",
                                             [&](auto& message) { message.set_name(change.name); });
  }
}

Event SnapshotEvent(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kSnapshotPrepare:
      return Make<wire_events::SnapshotPrepare>("/snapshot/prepare", [&](auto& message) {
        message.set_key(change.name);
        message.set_parent(change.parent);
        message.set_snapshotter(change.snapshotter);
      });
    case Change::Kind::kSnapshotCommit:
      return Make<wire_events::SnapshotCommit>("/snapshot/commit", [&](auto& message) {
        message.set_key(change.snapshot_key);
        message.set_name(change.name);
        message.set_snapshotter(change.snapshotter);
      });
    default:
      return Make<wire_events::SnapshotRemove>("/snapshot/remove", [&](auto& message) {
        message.set_key(change.name);
        message.set_snapshotter(change.snapshotter);
      });
  }
}

Event ToEvent(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kNamespaceCreate:
    case Change::Kind::kNamespaceUpdate:
    case Change::Kind::kNamespaceDelete:
      return NamespaceEvent(change);
    case Change::Kind::kContainerCreate:
    case Change::Kind::kContainerUpdate:
    case Change::Kind::kContainerDelete:
      return ContainerEvent(change);
    case Change::Kind::kImageCreate:
    case Change::Kind::kImageUpdate:
    case Change::Kind::kImageDelete:
      return ImageEvent(change);
    case Change::Kind::kContentCreate:
      return Make<wire_events::ContentCreate>("/content/create", [&](auto& message) {
        message.set_digest(change.digest.str());
        message.set_size(change.size);
      });
    case Change::Kind::kContentDelete:
      return Make<wire_events::ContentDelete>(
          "/content/delete", [&](auto& message) { message.set_digest(change.digest.str()); });
    case Change::Kind::kSnapshotPrepare:
    case Change::Kind::kSnapshotCommit:
    case Change::Kind::kSnapshotRemove:
      break;
  }
  return SnapshotEvent(change);
}

// The string or string-map field that `path` leads to.
std::optional<std::string> ReadField(const google::protobuf::Message& message,
                                     const std::vector<std::string>& path, size_t at) {
  if (at >= path.size()) return std::nullopt;
  const google::protobuf::FieldDescriptor* field =
      message.GetDescriptor()->FindFieldByName(path[at]);
  if (field == nullptr) return std::nullopt;
  const google::protobuf::Reflection* reflection = message.GetReflection();
  if (field->is_map()) {
    std::map<std::string, std::string> entries;
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      const google::protobuf::Message& entry = reflection->GetRepeatedMessage(message, field, i);
      const auto* value = entry.GetDescriptor()->map_value();
      if (value->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING)
        return std::nullopt;
      entries[entry.GetReflection()->GetString(entry, entry.GetDescriptor()->map_key())] =
          entry.GetReflection()->GetString(entry, value);
    }
    std::string key;
    for (size_t i = at + 1; i < path.size(); ++i) key += (i > at + 1 ? "." : "") + path[i];
    const auto found = entries.find(key);
    return found == entries.end() ? std::nullopt : std::optional(found->second);
  }
  if (field->is_repeated()) return std::nullopt;
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
    return ReadField(reflection->GetMessage(message, field), path, at + 1);
  }
  if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING ||
      at + 1 != path.size())
    return std::nullopt;
  return reflection->GetString(message, field);
}

}  // namespace

metadata::ChangeObserver MakeChangePublisher(events::Exchange* exchange) {
  return [exchange](const Change& change) {
    const Event event = ToEvent(change);
    const Status published = exchange->Publish(
        change.ns, event.topic,
        {event.message->GetDescriptor()->full_name(), event.message->SerializeAsString()});
    if (!published.ok())
      log::Warn("failed to publish event",
                {{"topic", event.topic}, {"error", published.error().text()}});
  };
}

events::FieldReader MakeEventFieldReader() {
  return [](const model::Any& event,
            const std::vector<std::string>& path) -> std::optional<std::string> {
    std::string name = event.type_url;
    if (const size_t slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
    // Known messages only: those linked in by the includes above.
    const google::protobuf::Descriptor* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
    if (descriptor == nullptr) return std::nullopt;
    const std::unique_ptr<google::protobuf::Message> message(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(descriptor)->New());
    if (!message->ParseFromString(event.value)) return std::nullopt;
    return ReadField(*message, path, 0);
  };
}

}  // namespace corten::services
