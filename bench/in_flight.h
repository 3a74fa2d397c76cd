// Calls of many clients from one thread: each client has a connection of its own and one call in
// flight. gRPC's blocking calls hand one poller from thread to thread, so that eight threads which
// wait cost the machine more than the daemon that they are to measure; here nobody waits but the
// caller. Threads: one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "target.h"

namespace corten::bench {

// Makes the call of each of `requests` once, in their order: `stubs[c]` are the clients, `method`
// the stub's asynchronous function. A call that fails ends the program, with `what`.
template <typename Response, typename Stub, typename Request, typename Method>
void CallAll(const std::vector<std::unique_ptr<Stub>>& stubs, const std::vector<Request>& requests,
             Method method, const std::string& what) {
  struct Client {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
    Response response;
    grpc::Status status;
  };
  grpc::CompletionQueue queue;
  std::vector<Client> clients(stubs.size());
  size_t started = 0;
  const auto start = [&](size_t c) {
    Client& client = clients[c];
    client.context = std::make_unique<grpc::ClientContext>();
    client.context->AddMetadata("containerd-namespace", kNamespace);
    client.reader = (stubs[c].get()->*method)(client.context.get(), requests[started++], &queue);
    client.reader->Finish(&client.response, &client.status, &client);
  };
  for (size_t c = 0; c < clients.size() && started < requests.size(); ++c) start(c);
  for (size_t done = 0; done < requests.size(); ++done) {
    void* tag = nullptr;
    bool ok = false;
    CHECK(queue.Next(&tag, &ok));
    auto* client = static_cast<Client*>(tag);
    Must(client::FromGrpc(client->status), what);
    if (started < requests.size()) start(static_cast<size_t>(client - clients.data()));
  }
}

// A stub for each of `count` connections to `daemon`.
template <typename Service>
std::vector<std::unique_ptr<typename Service::Stub>> Stubs(Daemon& daemon, int count) {
  std::vector<std::unique_ptr<typename Service::Stub>> stubs;
  for (const Target& client : Clients(daemon, count))
    stubs.push_back(Service::NewStub(client.connection()->channel()));
  return stubs;
}

}  // namespace corten::bench
