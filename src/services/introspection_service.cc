#include <sys/stat.h>
#include <unistd.h>

#include "api/values.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"
#include "model/filter.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::introspection::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

Result<model::Platform> PlatformOf(const std::string& text) { return model::ParsePlatform(text); }

void ToProto(const plugin::Record& record, wire_api::Plugin* out) {
  out->set_type(record.type);
  out->set_id(record.id);
  for (const std::string& type : record.requires_types) out->add_requires_(type);
  for (const std::string& text : record.facts.platforms) {
    const Result<model::Platform> platform = PlatformOf(text);
    if (platform.ok()) ToProto(*platform, out->add_platforms());
  }
  for (const auto& [key, value] : record.facts.exports) (*out->mutable_exports())[key] = value;
  for (const std::string& capability : record.facts.capabilities) out->add_capabilities(capability);
  if (record.facts.probe_capabilities) {
    for (const std::string& capability : record.facts.probe_capabilities())
      out->add_capabilities(capability);
  }
  if (record.error != nullptr) {
    out->mutable_init_err()->set_code(static_cast<int>(record.error->code()));
    out->mutable_init_err()->set_message(record.error->text());
  }
}

class IntrospectionService final : public wire_api::Introspection::CallbackService {
 public:
  IntrospectionService(Executors executors, IntrospectionSource source)
      : executors_(executors), source_(std::move(source)) {}

  grpc::ServerUnaryReactor* Plugins(grpc::CallbackServerContext* context,
                                    const wire_api::PluginsRequest* request,
                                    wire_api::PluginsResponse* response) override {
    return Unary(context, executors_.quick, [this, request, response]() -> Status {
      Result<model::Filter> parsed = model::Filter::Parse(FromProto(request->filters()));
      // Wire: containerd puts the marker in front as well (golden: storage.scenario).
      if (!parsed.ok())
        return InvalidArgumentError("invalid argument: ", parsed.error().WireText());
      const model::Filter& filter = parsed.value();
      for (const plugin::Record& record : source_.plugins()) {
        const bool wanted =
            filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
              if (path == std::vector<std::string>{"type"}) return record.type;
              if (path == std::vector<std::string>{"id"}) return record.id;
              return std::nullopt;
            });
        if (wanted) ToProto(record, response->add_plugins());
      }
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Server(grpc::CallbackServerContext* context,
                                   const google::protobuf::Empty*,
                                   wire_api::ServerResponse* response) override {
    return Unary(context, executors_.quick, [this, response]() -> Status {
      struct stat pid_namespace = {};
      if (stat("/proc/self/ns/pid", &pid_namespace) != 0)
        return ErrnoError(errno, "read pid namespace");
      const std::string uuid = TRY(source_.uuid());
      response->set_uuid(uuid);
      response->set_pid(static_cast<uint64_t>(getpid()));
      response->set_pidns(pid_namespace.st_ino);
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* PluginInfo(grpc::CallbackServerContext* context,
                                       const wire_api::PluginInfoRequest* request,
                                       wire_api::PluginInfoResponse* response) override {
    return Unary(context, executors_.control, [this, request, response]() -> Status {
      for (const plugin::Record& record : source_.plugins()) {
        if (record.type != request->type() || record.id != request->id()) continue;
        ToProto(record, response->mutable_plugin());
        if (!request->has_options()) return Ok();
        const std::string uri = StrCat(record.type, ".", record.id);
        if (record.error != nullptr) return FailedPreconditionError("plugin ", uri, ": not loaded");
        if (!source_.plugin_info)
          return UnimplementedError("plugin ", uri, ": does not provide info");
        const model::Any extra = TRY(source_.plugin_info(uri, FromProto(request->options())));
        ToProto(extra, response->mutable_extra());
        return Ok();
      }
      return NotFoundError("plugin ", request->type(), ".", request->id());
    });
  }

 private:
  const Executors executors_;
  const IntrospectionSource source_;
};

}  // namespace

ServicePtr MakeIntrospectionService(Executors executors, IntrospectionSource source) {
  return std::make_unique<IntrospectionService>(executors, std::move(source));
}

}  // namespace corten::services
