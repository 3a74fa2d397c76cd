#include "diff/processor.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/spawn.h"
#include "base/strcat.h"

extern char** environ;

namespace corten::diff {

namespace {

constexpr size_t kMaxStages = 8;
constexpr size_t kStderrKept = 16 << 10;  // the last bytes of what a program complains
constexpr size_t kFeedSize = 64 << 10;    // one pipe full

// How a built-in processor treats a media type.
enum class Builtin { kNone, kPlain, kSniff };

Builtin BuiltinFor(std::string_view type) {
  namespace types = model::media_type;
  if (type == types::kDockerLayer || type == types::kDockerLayerGzip ||
      type == types::kDockerLayerZstd || type == types::kDockerForeignLayer ||
      type == types::kDockerForeignLayerGzip ||
      type == "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd") {
    return Builtin::kSniff;
  }
  constexpr std::string_view kOciForeign =
      "application/vnd.oci.image.layer.nondistributable.v1.tar";
  for (const std::string_view base : {types::kOciLayer, kOciForeign}) {
    if (!type.starts_with(base)) continue;
    const std::string_view suffix = type.substr(base.size());
    if (suffix.empty()) return Builtin::kPlain;
    if (suffix == "+gzip" || suffix == "+zstd") return Builtin::kSniff;
  }
  return Builtin::kNone;
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

std::string SerializeAny(const model::Any& any) {
  std::string out;
  const auto field = [&out](char tag, const std::string& value) {
    if (value.empty()) return;
    out.push_back(tag);
    AppendVarint(out, value.size());
    out += value;
  };
  field('\x0a', any.type_url);
  field('\x12', any.value);
  return out;
}

// A program between two sources. Everything is driven from Read, by poll: the program's three or
// four pipes never wait for each other.
class ProgramSource final : public ByteSource {
 public:
  ProgramSource(ByteSource& source, const ProcessorConfig& config)
      : source_(source),
        name_(config.path),
        feed_(std::make_unique_for_overwrite<char[]>(kFeedSize)) {}

  Status Start(const ProcessorConfig& config, std::string_view media_type,
               const model::Any* payload) {
    Pipe in = TRY(MakePipe());
    Pipe out = TRY(MakePipe());
    Pipe err = TRY(MakePipe());
    SpawnOptions options;
    options.args.push_back(config.path);
    options.args.insert(options.args.end(), config.args.begin(), config.args.end());
    options.env.emplace();
    for (char** variable = environ; *variable != nullptr; ++variable)
      options.env->emplace_back(*variable);
    options.env->insert(options.env->end(), config.env.begin(), config.env.end());
    options.env->push_back(StrCat("STREAM_PROCESSOR_MEDIATYPE=", media_type));
    options.fds = {{in.read, 0}, {out.write, 1}, {err.write, 2}};
    Pipe extra;
    if (payload != nullptr) {
      extra = TRY(MakePipe());
      options.fds.emplace_back(extra.read, 3);
      payload_ = SerializeAny(*payload);
    }
    child_ = TRY(Spawn(options).Context(StrCat("stream processor ", config.id)));
    input_ = std::move(in.write);
    output_ = std::move(out.read);
    errors_ = std::move(err.read);
    payload_pipe_ = std::move(extra.write);
    for (const Fd* fd : {&input_, &output_, &errors_, &payload_pipe_}) {
      if (fd->valid()) TRY(SetNonblocking(*fd, true));
    }
    return Ok();
  }

  Result<size_t> Read(std::span<char> buffer) override {
    while (output_.valid() || errors_.valid()) {
      TRY(FillFeed());
      std::array<pollfd, 4> polls = {{{input_.get(), POLLOUT, 0},
                                      {payload_pipe_.get(), POLLOUT, 0},
                                      {errors_.get(), POLLIN, 0},
                                      {output_.get(), POLLIN, 0}}};
      if (poll(polls.data(), polls.size(), -1) < 0) {
        if (errno == EINTR) continue;
        return ErrnoError(errno, "poll");
      }
      if (polls[0].revents != 0) TRY(WriteFeed());
      if (polls[1].revents != 0) TRY(WritePayload());
      if (polls[2].revents != 0) TRY(ReadErrors());
      if (polls[3].revents == 0) continue;
      const ssize_t n = read(output_.get(), buffer.data(), buffer.size());
      if (n > 0) return static_cast<size_t>(n);
      if (n == 0) {
        output_.Reset();
      } else if (errno != EAGAIN && errno != EINTR) {
        return ErrnoError(errno, "read from ", name_);
      }
    }
    return Finish();
  }

 private:
  Status FillFeed() {
    if (!input_.valid() || fed_ < feed_size_ || source_ended_) return Ok();
    fed_ = 0;
    feed_size_ = TRY(source_.Read(std::span<char>(feed_.get(), kFeedSize)));
    if (feed_size_ == 0) {
      source_ended_ = true;
      input_.Reset();
    }
    return Ok();
  }
  // A program may stop reading early: then the rest of the source is dropped, its status decides.
  Status WriteFeed() {
    const ssize_t n = WriteQuietly(input_, {feed_.get() + fed_, feed_size_ - fed_});
    if (n >= 0) {
      fed_ += static_cast<size_t>(n);
    } else if (errno == EPIPE) {
      input_.Reset();
    } else if (errno != EAGAIN && errno != EINTR) {
      return ErrnoError(errno, "write to ", name_);
    }
    return Ok();
  }
  Status WritePayload() {
    const ssize_t n = WriteQuietly(payload_pipe_, payload_);
    if (n >= 0) payload_.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE)
      return ErrnoError(errno, "write to ", name_);
    if (payload_.empty() || (n < 0 && errno == EPIPE)) payload_pipe_.Reset();
    return Ok();
  }
  Status ReadErrors() {
    char buffer[4096];
    const ssize_t n = read(errors_.get(), buffer, sizeof(buffer));
    if (n > 0) stderr_.append(buffer, static_cast<size_t>(n));
    if (stderr_.size() > kStderrKept) stderr_.erase(0, stderr_.size() - kStderrKept);
    if (n == 0) errors_.Reset();
    if (n < 0 && errno != EAGAIN && errno != EINTR) return ErrnoError(errno, "read from ", name_);
    return Ok();
  }
  // Both outputs are closed: the status decides.
  Result<size_t> Finish() {
    if (!done_) {
      input_.Reset();
      payload_pipe_.Reset();
      const ExitStatus status = TRY(child_.Wait());
      done_ = true;
      failed_ = !status.ok();
      if (stderr_.empty() && failed_) stderr_ = StrCat("exit status ", status.code);
    }
    if (failed_) return UnknownError(name_, ": ", stderr_);
    return size_t{0};
  }

  ByteSource& source_;
  const std::string name_;
  std::unique_ptr<char[]> feed_;  // what the program has not taken yet
  size_t feed_size_ = 0;
  size_t fed_ = 0;
  bool source_ended_ = false;
  bool done_ = false;
  bool failed_ = false;
  std::string payload_;
  std::string stderr_;
  Fd input_;
  Fd output_;
  Fd errors_;
  Fd payload_pipe_;
  Child child_;
};

const ProcessorConfig* FindProgram(const std::vector<ProcessorConfig>& processors,
                                   std::string_view type) {
  for (auto config = processors.rbegin(); config != processors.rend(); ++config) {
    if (std::find(config->accepts.begin(), config->accepts.end(), type) != config->accepts.end())
      return &*config;
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<ProcessorChain>> ProcessorChain::Open(
    ByteSource& source, std::string_view media_type, const std::vector<ProcessorConfig>& processors,
    const Payloads& payloads, GzipEngine engine) {
  std::unique_ptr<ProcessorChain> chain(new ProcessorChain());
  std::string type(media_type);
  ByteSource* top = &source;
  while (chain->sources_.size() < kMaxStages) {
    if (const ProcessorConfig* config = FindProgram(processors, type); config != nullptr) {
      const auto payload = payloads.find(config->id);
      auto program = std::make_unique<ProgramSource>(*top, *config);
      TRY(program->Start(*config, type, payload == payloads.end() ? nullptr : &payload->second));
      chain->sources_.push_back(std::move(program));
      type = config->returns;
    } else {
      const Builtin builtin = BuiltinFor(type);
      if (builtin == Builtin::kNone) {
        return UnimplementedError("failed to get stream processor for ", media_type,
                                  ": no processor for media-type");
      }
      Result<std::unique_ptr<ByteSource>> opened = builtin == Builtin::kSniff
                                                       ? OpenSniffed(*top, nullptr, engine)
                                                       : OpenDecompressor(*top, Compression::kNone);
      if (!opened.ok()) return std::move(opened).TakeError();
      chain->sources_.push_back(*std::move(opened));
      type = model::media_type::kOciLayer;
    }
    top = chain->sources_.back().get();
    if (type == model::media_type::kOciLayer) return chain;
  }
  return InvalidArgumentError("stream processors for ", media_type, ": more than ", kMaxStages,
                              " in a row");
}

}  // namespace corten::diff
