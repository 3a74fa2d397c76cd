#include "services/rpc.h"

#include "wire/status.h"

namespace corten::services {

namespace {
std::string FirstValue(const grpc::ServerContextBase& context, const char* key) {
  // The map keeps the order of arrival among equal keys.
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end()
             ? std::string()
             : std::string(found->second.data(), found->second.size());
}
}  // namespace

grpc::Status ToGrpc(const Error& error) {
  const wire::RpcStatus status = wire::StatusFromError(error);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code), status.message,
                      wire::EncodeStatus(status));
}

model::Scope ScopeOf(const grpc::ServerContextBase& context) {
  return {model::Namespace(FirstValue(context, "containerd-namespace")),
          model::LeaseId(FirstValue(context, "containerd-lease"))};
}

Result<model::Scope> RequireScope(const grpc::ServerContextBase& context) {
  model::Scope scope = ScopeOf(context);
  if (scope.ns.empty()) return FailedPreconditionError("namespace is required");
  TRY(model::ValidateIdentifier(scope.ns.str(), "identifier").Context("namespace validation"));
  return scope;
}

}  // namespace corten::services
