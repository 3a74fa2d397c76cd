// The daemon's transfer service: it does the journey, we watch it and answer its questions.
//
// Source and destination are messages of containerd.types.transfer. Threads: RunTransfer blocks its
// caller; the sink is called from a thread of its own, one message at a time, and not after the
// return. Source: transfer service of containerd 2.3.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/stream.h"
#include "model/descriptor.h"

namespace corten::client {

struct TransferProgress {
  std::string event;  // "downloading", "complete" ...
  std::string name;   // empty: a line about the whole
  std::vector<std::string> parents;
  int64_t progress = 0;          // bytes
  int64_t total = 0;             // bytes; 0: unknown
  model::Descriptor descriptor;  // may be empty
};
using TransferSink = std::function<void(const TransferProgress&)>;

// Returns when the daemon is done. An empty sink: no progress is asked for. Errors of the daemon.
Status RunTransfer(const ConnectionPtr& connection, const model::Scope& scope,
                   const google::protobuf::Message& source,
                   const google::protobuf::Message& destination, const TransferSink& sink);

struct TransferSecret {
  std::string username;  // empty: `secret` is a refresh token
  std::string secret;    // empty: none
};

// Answers the daemon's questions for credentials with one secret, whatever the host, as long as it
// lives.
class SecretAnswers {
 public:
  static Result<std::unique_ptr<SecretAnswers>> Open(const ConnectionPtr& connection,
                                                     const model::Scope& scope,
                                                     TransferSecret secret);
  ~SecretAnswers();
  const std::string& stream() const { return stream_->id(); }

 private:
  SecretAnswers(std::unique_ptr<Stream> stream, TransferSecret secret);
  void Answer();
  const std::unique_ptr<Stream> stream_;
  const TransferSecret secret_;
  std::thread thread_;
};

}  // namespace corten::client
