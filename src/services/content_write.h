// The bidirectional Write call of the content service: one ingest, one lock on its ref, one
// response per request.
#pragma once

#include <grpcpp/grpcpp.h>

#include "containerd/services/content/v1/content.pb.h"
#include "metadata/scoped_stores.h"
#include "services/rpc.h"

namespace corten::services {

// Serves one call; the reactor deletes itself when the call is done. A call that ends before COMMIT
// leaves the ingest for resuming and releases its lock. Rules: WIRE notes, content service, Write
// (golden: tests/golden/content_write).
grpc::ServerBidiReactor<containerd::services::content::v1::WriteContentRequest,
                        containerd::services::content::v1::WriteContentResponse>*
StartContentWrite(grpc::CallbackServerContext* context, Executors executors,
                  metadata::ScopedStores* stores);

}  // namespace corten::services
