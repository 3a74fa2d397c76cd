#include "daemon/rpc_meter.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/status.h>

#include "base/strcat.h"

namespace corten::daemon {

namespace {

using grpc::experimental::InterceptionHookPoints;

constexpr std::array<std::string_view, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};
constexpr size_t kCanceled = 1;
constexpr size_t kUnknown = 2;

std::string_view TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

void Add(std::atomic<uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

struct RpcMeter::Method {
  std::string path;
  std::string service;
  std::string name;
  std::string_view type;
  std::atomic<uint64_t> started{0};
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> sent{0};
  std::array<std::atomic<uint64_t>, kCodes.size()> handled = {};
  Histogram took;
};

// One call; made when it starts, destroyed by gRPC when it is over.
class MeteredCall final : public grpc::experimental::Interceptor {
 public:
  explicit MeteredCall(RpcMeter::Method* row) : row_(row) { Add(row_->started); }
  ~MeteredCall() override {
    if (!ended_) End(kCanceled);  // the client went before there was an answer
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr)
      Add(row_->received);
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE))
      Add(row_->sent);
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS) && !ended_) {
      const auto code = static_cast<size_t>(methods->GetSendStatus().error_code());
      End(code < kCodes.size() ? code : kUnknown);
    }
    methods->Proceed();
  }

 private:
  void End(size_t code) {
    ended_ = true;
    Add(row_->handled[code]);
    row_->took.Observe(std::chrono::steady_clock::now() - begin_);
  }
  RpcMeter::Method* const row_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool ended_ = false;
};

namespace {

class MeterFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit MeterFactory(const std::unordered_map<std::string_view, RpcMeter::Method*>* rows)
      : rows_(rows) {}
  // nullptr: a call of a service that nobody registered is not counted.
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const auto row = rows_->find(info->method() == nullptr ? "" : info->method());
    return row == rows_->end() ? nullptr : new MeteredCall(row->second);
  }

 private:
  const std::unordered_map<std::string_view, RpcMeter::Method*>* const rows_;
};

}  // namespace

RpcMeter::RpcMeter() = default;
RpcMeter::~RpcMeter() = default;

void RpcMeter::AddService(const std::string& full_name) {
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(full_name);
  if (service == nullptr) return;
  for (int i = 0; i < service->method_count(); ++i) {
    auto row = std::make_unique<Method>();
    row->service = full_name;
    row->name = service->method(i)->name();
    row->type = TypeOf(*service->method(i));
    row->path = StrCat("/", full_name, "/", row->name);
    by_path_[row->path] = row.get();
    rows_.push_back(std::move(row));
  }
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMeter::Factory() {
  return std::make_unique<MeterFactory>(&by_path_);
}

void RpcMeter::Write(bool with_histogram, Exposition* out) const {
  const auto labels = [](const Method& row) {
    return MetricLabels{
        {"grpc_method", row.name}, {"grpc_service", row.service}, {"grpc_type", row.type}};
  };
  out->Family("grpc_server_handled_total", MetricKind::kCounter,
              "Calls that have been answered, by code of the answer.");
  for (const auto& row : rows_) {
    for (size_t code = 0; code < kCodes.size(); ++code) {
      MetricLabels all = labels(*row);
      all.insert(all.begin(), {"grpc_code", kCodes[code]});
      out->Sample(all, row->handled[code].load(std::memory_order_relaxed));
    }
  }
  if (with_histogram) {
    out->Family("grpc_server_handling_seconds", MetricKind::kHistogram,
                "Time from the start of a call to its answer.");
    for (const auto& row : rows_) out->Sample(labels(*row), row->took);
  }
  const auto family = [&](std::string_view name, std::string_view help,
                          const std::atomic<uint64_t> Method::* counter) {
    out->Family(name, MetricKind::kCounter, help);
    for (const auto& row : rows_)
      out->Sample(labels(*row), ((*row).*counter).load(std::memory_order_relaxed));
  };
  family("grpc_server_msg_received_total", "Messages received in calls.", &Method::received);
  family("grpc_server_msg_sent_total", "Messages sent in calls.", &Method::sent);
  family("grpc_server_started_total", "Calls that have begun.", &Method::started);
}

}  // namespace corten::daemon
