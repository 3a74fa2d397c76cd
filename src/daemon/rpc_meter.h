// Counts calls of the gRPC server: started, handled by code, messages in and out, and how long they
// took.
//
// Works as an interceptor of the server, so no facade knows of it; installed only when somebody can
// ask (a metrics address is configured), since each call then costs an allocation more.
// Threads: the interceptor on gRPC's, Write on any. Source: go-grpc-prometheus' server metrics, as
// containerd shows them.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/exposition.h"

namespace corten::daemon {

class RpcMeter {
 public:
  RpcMeter();
  ~RpcMeter();
  RpcMeter(const RpcMeter&) = delete;
  RpcMeter& operator=(const RpcMeter&) = delete;

  // Every method of the service becomes a row of zeros. Before the server starts. A service whose
  // messages are not linked in is ignored.
  void AddService(const std::string& full_name);
  // For the server's builder, which owns it; the meter must outlive the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Factory();

  void Write(bool with_histogram, Exposition* out) const;

  struct Method;  // one row

 private:
  friend class MeteredCall;
  std::vector<std::unique_ptr<Method>> rows_;              // in the order of AddService
  std::unordered_map<std::string_view, Method*> by_path_;  // "/package.Service/Method"; into rows_
};

}  // namespace corten::daemon
