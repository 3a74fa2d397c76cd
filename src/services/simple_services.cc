// Version and Health: services that know nothing but the process itself.
#include "containerd/services/version/v1/version.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace health = grpc::health::v1;

namespace {

class VersionService final : public containerd::services::version::v1::Version::CallbackService {
 public:
  VersionService(std::string version, std::string revision)
      : version_(std::move(version)), revision_(std::move(revision)) {}

  grpc::ServerUnaryReactor* Version(
      grpc::CallbackServerContext* context, const google::protobuf::Empty*,
      containerd::services::version::v1::VersionResponse* response) override {
    response->set_version(version_);
    response->set_revision(revision_);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const std::string version_;
  const std::string revision_;
};

// Sends the state once and then parks until the client goes.
class WatchReactor final : public grpc::ServerWriteReactor<health::HealthCheckResponse> {
 public:
  explicit WatchReactor(const std::string& service) {
    state_.set_status(service.empty() ? health::HealthCheckResponse::SERVING
                                      : health::HealthCheckResponse::SERVICE_UNKNOWN);
    StartWrite(&state_);
  }
  void OnCancel() override {
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "Stream has ended."));
  }
  void OnDone() override { delete this; }

 private:
  health::HealthCheckResponse state_;
};

class HealthService final : public health::Health::CallbackService {
 public:
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const health::HealthCheckRequest* request,
                                  health::HealthCheckResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!request->service().empty()) {
      reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "unknown service"));
      return reactor;
    }
    response->set_status(health::HealthCheckResponse::SERVING);
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const health::HealthListRequest*,
                                 health::HealthListResponse* response) override {
    (*response->mutable_statuses())[""].set_status(health::HealthCheckResponse::SERVING);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<health::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext*, const health::HealthCheckRequest* request) override {
    return new WatchReactor(request->service());
  }
};

}  // namespace

ServicePtr MakeVersionService(std::string version, std::string revision) {
  return std::make_unique<VersionService>(std::move(version), std::move(revision));
}

ServicePtr MakeHealthService() { return std::make_unique<HealthService>(); }

}  // namespace corten::services
