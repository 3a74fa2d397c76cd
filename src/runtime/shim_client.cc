#include "runtime/shim_client.h"

#include <strings.h>

#include "wire/unix_socket.h"

namespace corten::runtime {

namespace {

constexpr std::string_view kTaskV2 = "containerd.task.v2.Task";
constexpr std::string_view kTaskV3 = "containerd.task.v3.Task";

}  // namespace

ShimClient::ShimClient(LoopThread& loop, Endpoint endpoint)
    : loop_(loop), endpoint_(std::move(endpoint)), version_(endpoint_.version) {}

ShimClient::~ShimClient() { Close(); }

Result<std::shared_ptr<ShimClient>> ShimClient::Connect(
    LoopThread& loop, Endpoint endpoint, std::chrono::milliseconds timeout,
    std::function<void(ShimClient*)> on_closed) {
  if (strcasecmp(endpoint.protocol.c_str(), "grpc") == 0) {
    return UnimplementedError("shim ", endpoint.address,
                              " speaks grpc, which is not supported: only ttrpc is");
  }
  if (strcasecmp(endpoint.protocol.c_str(), "ttrpc") != 0) {
    return InvalidArgumentError("shim ", endpoint.address, ": unknown protocol ",
                                Quoted(endpoint.protocol));
  }
  Fd socket = TRY(wire::ConnectAddress(endpoint.address, timeout));
  std::shared_ptr<ShimClient> self(new ShimClient(loop, std::move(endpoint)));
  Status created;
  loop.RunSync([&] {
    Result<std::unique_ptr<wire::TtrpcClient>> client =
        wire::TtrpcClient::Create(loop.loop(), std::move(socket));
    if (!client.ok()) {
      created = std::move(client).TakeError();
      return;
    }
    self->client_ = std::move(*client);
    self->caller_ = self->client_->caller();
    // `self` outlives the client it owns; Close takes the handler away first.
    self->client_->OnClosed(
        [raw = self.get(), on_closed = std::move(on_closed)](const Error&) { on_closed(raw); });
  });
  TRY(std::move(created));
  return self;
}

bool ShimClient::Downgrade() {
  int expected = kMaxTaskVersion;
  return version_.compare_exchange_strong(expected, 2);
}

void ShimClient::Call(const model::Namespace& ns, std::string_view method, std::string request,
                      std::chrono::nanoseconds timeout, Reply done) {
  wire::CallOptions options;
  options.timeout = timeout;
  options.metadata.emplace_back(wire::kNamespaceKeyTtrpc, ns.str());
  caller_->CallAsync(version() == 2 ? kTaskV2 : kTaskV3, method, std::move(request),
                     std::move(options), std::move(done));
}

Result<std::string> ShimClient::CallSync(const model::Namespace& ns, std::string_view method,
                                         std::string request, std::chrono::nanoseconds timeout) {
  wire::CallOptions options;
  options.timeout = timeout;
  options.metadata.emplace_back(wire::kNamespaceKeyTtrpc, ns.str());
  return caller_->Call(version() == 2 ? kTaskV2 : kTaskV3, method, std::move(request),
                       std::move(options));
}

void ShimClient::Close() {
  if (released_.exchange(true)) return;
  loop_.RunSync([this] {
    if (client_ == nullptr) return;  // Connect failed half way
    client_->OnClosed([](const Error&) {});
    client_->Close();
    client_.reset();
  });
}

}  // namespace corten::runtime
