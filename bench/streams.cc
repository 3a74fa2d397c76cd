// Rows 26 and 27: one client writes a blob by messages of a size, each answered before the next,
// and reads it back by requests of a size.
#include <cstring>

#include "containerd/services/content/v1/content.grpc.pb.h"
#include "journeys.h"

namespace corten::bench {

namespace {

namespace content_api = containerd::services::content::v1;
using Stub = content_api::Content::Stub;

constexpr size_t kMiB = 1 << 20;

struct Size {
  const char* name;
  size_t message;  // bytes
  int blob_mib;
  Goal write;
  Goal read;
};
const Size kSizes[] = {
    {"1 MiB messages", kMiB, 256, AtLeast(2.5), AtLeast(2)},
    {"32 KiB messages", 32 << 10, 64, AtLeast(4), AtLeast(3)},
};

void Prepare(Target& target, grpc::ClientContext& context) {
  target.connection()->Prepare(&context, PlainScope());
}

// Bytes that do not repeat within a blob and differ between blobs.
std::string Noise(size_t bytes, uint64_t seed) {
  std::string out(bytes, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(out.data() + i, &state, 8);
  }
  return out;
}

void Exchange(grpc::ClientReaderWriter<content_api::WriteContentRequest,
                                       content_api::WriteContentResponse>& stream,
              const content_api::WriteContentRequest& request,
              content_api::WriteContentResponse* response) {
  if (stream.Write(request) && stream.Read(response)) return;
  Must(client::FromGrpc(stream.Finish()), "content write");
  Fail("content write: the stream ended early");
}

// Returns the digest.
std::string WriteBlob(Target& target, Stub& stub, const std::string& ref, const std::string& data,
                      size_t message) {
  grpc::ClientContext context;
  Prepare(target, context);
  const auto stream = stub.Write(&context);
  content_api::WriteContentResponse response;
  for (size_t at = 0; at < data.size(); at += message) {
    content_api::WriteContentRequest request;
    request.set_action(content_api::WRITE);
    request.set_ref(ref);
    request.set_total(static_cast<int64_t>(data.size()));
    request.set_offset(static_cast<int64_t>(at));
    request.set_data(data.data() + at, std::min(message, data.size() - at));
    Exchange(*stream, request, &response);
  }
  content_api::WriteContentRequest commit;
  commit.set_action(content_api::COMMIT);
  commit.set_ref(ref);
  commit.set_total(static_cast<int64_t>(data.size()));
  commit.set_offset(static_cast<int64_t>(data.size()));
  (*commit.mutable_labels())["containerd.io/gc.root"] = "bench";
  Exchange(*stream, commit, &response);
  const std::string digest = response.digest();
  (void)stream->WritesDone();
  while (stream->Read(&response)) {  // containerd repeats its last answer
  }
  Must(client::FromGrpc(stream->Finish()), "content write");
  return digest;
}

void ReadBlob(Target& target, Stub& stub, const std::string& digest, size_t size, size_t message) {
  for (size_t at = 0; at < size; at += message) {
    grpc::ClientContext context;
    Prepare(target, context);
    content_api::ReadContentRequest request;
    request.set_digest(digest);
    request.set_offset(static_cast<int64_t>(at));
    request.set_size(static_cast<int64_t>(std::min(message, size - at)));
    const auto stream = stub.Read(&context, request);
    content_api::ReadContentResponse response;
    size_t got = 0;
    while (stream->Read(&response)) got += response.data().size();
    Must(client::FromGrpc(stream->Finish()), "content read");
    if (got != std::min(message, size - at)) Fail("content read: short");
  }
}

void OneBlob(Run& run, Target& target, const Size& size) {
  const int mib = run.N(size.blob_mib, 2);
  const std::string ref = run.Unique("stream");
  const std::string data = Noise(static_cast<size_t>(mib) * kMiB, std::hash<std::string>()(ref));
  const auto stub = content_api::Content::NewStub(target.connection()->channel());
  const auto add = [&](const char* row, const char* verb, double ms, double cpu_ms, Goal goal) {
    run.report().Add({row, StrCat("content ", verb, ", ", size.name), "MB/s", goal}, target.name(),
                     static_cast<double>(data.size()) / 1e6 / (ms / 1000));
    if (!target.daemon().ours()) return;
    run.report().Add(
        {row, StrCat("  server CPU per MB, ", verb, ", ", size.name), "ms", AtMost(0.3)},
        target.name(), cpu_ms / (static_cast<double>(data.size()) / 1e6));
  };
  double cpu = target.daemon().group().UsageMs();
  auto begin = Now();
  const std::string digest = WriteBlob(target, *stub, ref, data, size.message);
  double ms = Millis(begin);
  add("26", "write", ms, target.daemon().group().UsageMs() - cpu, size.write);
  cpu = target.daemon().group().UsageMs();
  begin = Now();
  ReadBlob(target, *stub, digest, data.size(), size.message);
  ms = Millis(begin);
  add("27", "read", ms, target.daemon().group().UsageMs() - cpu, size.read);
}

}  // namespace

void MeasureStreams(Run& run) {
  std::vector<Target*> targets = run.Shared();
  for (const Size& size : kSizes)
    run.Alternate(run.N(4, 1), targets, [&](Target* target) { OneBlob(run, *target, size); });
}

}  // namespace corten::bench
