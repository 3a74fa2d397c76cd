// Asks a running daemon for each rpc of the facts and prints docs/API.md: which are served, which
// answer UNIMPLEMENTED. Usage: api_probe ADDRESS FACTS_DIR [LATER_FILE] Every call carries an empty
// message and the namespace "api-probe"; a served rpc answers something other than UNIMPLEMENTED
// (mostly an error about the empty message), or has not ended when the deadline comes.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/dir.h"

namespace corten {
namespace {

struct Rpc {
  std::string package;
  std::string service;  // full name
  std::string method;
};

// Lines `service NAME` and `  rpc NAME: ...` of the facts files.
std::vector<Rpc> ReadFacts(const std::string& directory) {
  std::vector<Rpc> out;
  const Dir dir = Dir::Open(directory).value();
  std::vector<std::string> names = dir.List().value();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    std::ifstream file(dir.Path(name));
    std::string package;
    std::string service;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("package ")) package = line.substr(8);
      if (line.starts_with("service ")) service = StrCat(package, ".", line.substr(8));
      if (line.starts_with("  rpc "))
        out.push_back({package, service, line.substr(6, line.find(':') - 6)});
    }
  }
  return out;
}

// Whether somebody is there: an rpc that is not built answers UNIMPLEMENTED with no text, a service
// that is not registered with "unknown service"; other texts come from code that looked at the
// message.
bool IsServed(const std::shared_ptr<grpc::Channel>& channel, const Rpc& rpc) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.AddMetadata("containerd-namespace", "api-probe");
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, StrCat("/", rpc.service, "/", rpc.method), &queue);
  void* tag = nullptr;
  bool ok = false;
  const auto wait = [&] { return queue.Next(&tag, &ok) && ok; };
  call->StartCall(nullptr);
  if (wait()) {
    const grpc::Slice nothing;
    call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
    (void)wait();
    grpc::ByteBuffer answer;
    do {
      call->Read(&answer, nullptr);
    } while (wait());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  (void)queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (status.error_code() != grpc::StatusCode::UNIMPLEMENTED) return true;
  return !status.error_message().empty() && !status.error_message().starts_with("unknown service");
}

// Packages that other sockets serve (shims, plugins): not the daemon's.
bool IsDaemons(const std::string& package) {
  return package.starts_with("containerd.services.")
             ? package != "containerd.services.events.ttrpc.v1"
             : package == "grpc.health.v1" || package == "runtime.v1";
}

std::map<std::string, std::string> ReadLater(const char* path) {
  std::map<std::string, std::string> later;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t space = line.find(' ');
    if (!line.empty() && line[0] != '#' && space != std::string::npos)
      later[line.substr(0, space)] = line.substr(space + 1);
  }
  return later;
}

int Main(const std::string& address, const std::string& facts, const char* later_path) {
  const std::map<std::string, std::string> later =
      later_path != nullptr ? ReadLater(later_path) : std::map<std::string, std::string>();
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  const auto channel = grpc::CreateCustomChannel(StrCat("unix:", address),
                                                 grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    (void)fprintf(stderr, "api_probe: nobody listens at %s\n", address.c_str());
    return 2;
  }
  int served = 0;
  int missing = 0;
  int unexplained = 0;
  std::string rows;
  for (const Rpc& rpc : ReadFacts(facts)) {
    if (!IsDaemons(rpc.package)) continue;
    const bool implemented = IsServed(channel, rpc);
    std::string note = implemented ? "served" : "UNIMPLEMENTED";
    if (!implemented) {
      // An entry for the rpc, or for its whole service.
      auto found = later.find(StrCat(rpc.service, "/", rpc.method));
      if (found == later.end()) found = later.find(rpc.service);
      if (found == later.end()) ++unexplained;
      note += StrCat(": ", found == later.end() ? "no plan is written down" : found->second);
    }
    ++(implemented ? served : missing);
    rows += StrCat("| ", rpc.service, " | ", rpc.method, " | ", note, " |\n");
  }
  (void)printf(
      "# What the daemon serves\n\nMade by asking a running cortend (`tests/api/write.sh`); one "
      "line for each rpc. %d served, %d not.\n\n"
      "| service | rpc | state |\n| --- | --- | --- |\n%s",
      served, missing, rows.c_str());
  if (unexplained > 0)
    (void)fprintf(stderr,
                  "api_probe: %d rpcs are not served and not listed in tests/api/later.txt\n",
                  unexplained);
  return unexplained == 0 ? 0 : 1;
}

}  // namespace
}  // namespace corten

int main(int argc, char** argv) {
  if (argc < 3) {
    (void)fprintf(stderr, "usage: api_probe ADDRESS FACTS_DIR [LATER_FILE]\n");
    return 2;
  }
  return corten::Main(argv[1], argv[2], argc > 3 ? argv[3] : nullptr);
}
