// The flags that say how a registry is spoken to, shared by every verb that does. One thread.
#pragma once

#include <vector>

#include "cli/command.h"
#include "cli/session.h"
#include "client/transfer.h"
#include "containerd/types/transfer/registry.pb.h"
#include "image/registry.h"

namespace corten::cli {

std::vector<Flag> RegistryFlags();

// What --user and --refresh say. Without a password in --user it is asked for on the terminal, not
// echoed. kUnknown: nobody to ask.
Result<client::TransferSecret> SecretOf(const Values& values);

// For a client that speaks to the registry itself.
Result<image::RegistryOptions> RegistryOptionsOf(const Values& values);

// For a daemon that speaks to it: its end of a transfer, with the streams on which it may ask back;
// keep as long as the transfer runs.
class RemoteRegistry {
 public:
  static Result<std::unique_ptr<RemoteRegistry>> Open(Session& session, const Values& values,
                                                      const std::string& reference);
  ~RemoteRegistry();
  const containerd::types::transfer::OCIRegistry& message() const { return message_; }

 private:
  RemoteRegistry() = default;
  containerd::types::transfer::OCIRegistry message_;
  std::unique_ptr<client::SecretAnswers> answers_;
  std::unique_ptr<client::Stream> debug_;
  std::thread debug_writer_;
};

}  // namespace corten::cli
