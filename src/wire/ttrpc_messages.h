// ttrpc calls in terms of generated messages, lite or full.
//
// Thin: parsing and serialising only. A request that does not parse is answered INTERNAL, as Go's
// server does.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "wire/ttrpc_client.h"
#include "wire/ttrpc_server.h"

namespace corten::wire {

template <typename Response>
Result<Response> ParseMessage(const std::string& payload) {
  Response message;
  if (!message.ParseFromString(payload))
    return InternalError("ttrpc: error unmarshalling payload of ", message.GetTypeName());
  return message;
}

// The right to answer one call with a Response; see Reply.
template <typename Response>
class ReplyTo {
 public:
  explicit ReplyTo(Reply reply) : reply_(std::move(reply)) {}
  void Send(const Response& response) { reply_.Send(response.SerializeAsString()); }
  void Fail(const Error& error) { reply_.Fail(error); }
  void Finish(Result<Response> result) {
    if (result.ok()) {
      Send(*result);
    } else {
      Fail(result.error());
    }
  }
  Reply& raw() { return reply_; }

 private:
  Reply reply_;
};

// HandleUnary with messages. `handler`: void(const CallInfo&, const Request&, ReplyTo<Response>).
template <typename Request, typename Response, typename Handler>
void HandleMessage(TtrpcServer& server, std::string_view service, std::string_view method,
                   Handler handler) {
  server.HandleUnary(
      service, method,
      [handler = std::move(handler)](const CallInfo& info, std::string_view payload, Reply reply) {
        Request request;
        if (!request.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
          reply.Fail(
              InternalError("ttrpc: error unmarshalling payload of ", request.GetTypeName()));
          return;
        }
        handler(info, request, ReplyTo<Response>(std::move(reply)));
      });
}

// TtrpcClient::Call with messages. `done`: void(Result<Response>).
template <typename Response, typename Request, typename Done>
TtrpcClient::CallId CallMessage(TtrpcClient& client, std::string_view service,
                                std::string_view method, const Request& request,
                                const CallOptions& options, Done done) {
  return client.Call(service, method, request.SerializeAsString(), options,
                     [done = std::move(done)](Result<std::string> payload) {
                       if (payload.ok()) {
                         done(ParseMessage<Response>(*payload));
                       } else {
                         done(Result<Response>(std::move(payload).TakeError()));
                       }
                     });
}

// TtrpcCaller::Call with messages: waits.
template <typename Response, typename Request>
Result<Response> CallMessage(const TtrpcCaller& caller, std::string_view service,
                             std::string_view method, const Request& request,
                             CallOptions options = {}) {
  const std::string payload =
      TRY(caller.Call(service, method, request.SerializeAsString(), std::move(options)));
  return ParseMessage<Response>(payload);
}

}  // namespace corten::wire
