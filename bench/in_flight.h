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

// Makes the call of each of `requests` once, in their order; `method` is the asynchronous function
// of the Service's stub. A call that fails ends the program, with `what`.
template <typename Service, typename Response, typename Request, typename Method>
void CallAll(const std::vector<Target>& targets, const std::vector<Request>& requests,
             Method method, const std::string& what) {
  struct Client {
    client::ConnectionPtr connection;
    std::unique_ptr<typename Service::Stub> stub;
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
    Response response;
    grpc::Status status;
  };
  grpc::CompletionQueue queue;
  std::vector<Client> clients(targets.size());
  size_t started = 0;
  const auto start = [&](size_t c) {
    Client& client = clients[c];
    client.context = std::make_unique<grpc::ClientContext>();
    client.connection->Prepare(client.context.get(), PlainScope());
    client.reader = (client.stub.get()->*method)(client.context.get(), requests[started++], &queue);
    client.reader->Finish(&client.response, &client.status, &client);
  };
  for (size_t c = 0; c < clients.size() && started < requests.size(); ++c) {
    clients[c].connection = targets[c].connection();
    clients[c].stub = Service::NewStub(clients[c].connection->channel());
    start(c);
  }
  for (size_t done = 0; done < requests.size(); ++done) {
    void* tag = nullptr;
    bool ok = false;
    CHECK(queue.Next(&tag, &ok));
    auto* client = static_cast<Client*>(tag);
    Must(client::FromGrpc(client->status), what);
    if (started < requests.size()) start(static_cast<size_t>(client - clients.data()));
  }
}

}  // namespace corten::bench
