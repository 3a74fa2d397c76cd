#include "shim/process_io.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/dir.h"
#include "os/fifo.h"
#include "wire/unix_socket.h"

namespace corten::shim {

namespace {

constexpr std::chrono::seconds kConsoleDeadline(30);
constexpr std::chrono::seconds kLogProgramGrace(2);
constexpr std::string_view kConsoleSocketName = "/ptyXXXXXX/pty.sock";  // below its directory

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// URL decoding; a percent sign without two digits stays as it is.
std::string Decode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

Result<Fd> OpenNull() {
  Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return ErrnoError(errno, "open /dev/null");
  return null;
}

// A pipe whose inner end the process may reopen through /proc/self/fd, so it must own it.
Result<Pipe> OwnedPipe(const ProcessIo::Owner& owner) {
  Pipe pipe = TRY(MakePipe());
  if ((owner.uid != 0 || owner.gid != 0) && fchown(pipe.write.get(), owner.uid, owner.gid) != 0) {
    return ErrnoError(errno, "chown stdio pipe");
  }
  return pipe;
}

Result<Fd> OpenLogFile(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash != 0) TRY(MakeDirs(path.substr(0, slash), 0755));
  Fd file(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return ErrnoError(errno, "open ", path);
  return file;
}

}  // namespace

Place ParsePlace(const std::string& text) {
  Place place;
  if (text.empty()) return place;
  const size_t mark = text.find("://");
  if (mark == std::string::npos) {
    place.kind = PlaceKind::kPath;
    place.path = text;
    return place;
  }
  const std::string_view scheme = std::string_view(text).substr(0, mark);
  std::string_view rest = std::string_view(text).substr(mark + 3);
  place.kind = scheme == "fifo"        ? PlaceKind::kPath
               : scheme == "file"      ? PlaceKind::kFile
               : scheme == "binary"    ? PlaceKind::kBinary
               : scheme == "binary-v2" ? PlaceKind::kBinaryV2
                                       : PlaceKind::kUnknown;
  rest = rest.substr(0, rest.find('#'));
  const size_t question = rest.find('?');
  place.path = Decode(rest.substr(0, question), /*plus_is_space=*/false);
  if (question == std::string_view::npos) return place;
  rest.remove_prefix(question + 1);
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    place.query.emplace_back(
        Decode(pair.substr(0, equals), true),
        equals == std::string_view::npos ? "" : Decode(pair.substr(equals + 1), true));
  }
  return place;
}

void ProcessIo::Open(Loop& loop, Reaper& reaper, const StdioPlaces& places, const Owner& owner,
                     Opened done) {
  const Place place = ParsePlace(places.out);
  std::unique_ptr<ProcessIo> io(new ProcessIo(loop, places.terminal));
  Status opened = io->OpenPlaces(places, place, owner);
  if (!opened.ok()) return done(std::move(opened).TakeError());
  if (place.kind != PlaceKind::kBinary && place.kind != PlaceKind::kBinaryV2)
    return done(std::move(io));

  LogProgramOptions options;
  options.path = place.path;
  options.arguments = place.query;
  options.ns = owner.ns;
  options.container = owner.container;
  options.needs_byte = place.kind == PlaceKind::kBinaryV2;
  Fd out = std::move(io->outputs_[0].source);
  Fd err = std::move(io->outputs_[1].source);
  // std::function wants a copyable capture.
  const auto held = std::make_shared<std::unique_ptr<ProcessIo>>(std::move(io));
  LogProgram::Start(loop, reaper, options, std::move(out), std::move(err),
                    [held, done = std::move(done)](Result<std::unique_ptr<LogProgram>> program) {
                      if (!program.ok()) return done(std::move(program).TakeError());
                      (*held)->log_program_ = std::move(*program);
                      done(std::move(*held));
                    });
}

Status ProcessIo::OpenPlaces(const StdioPlaces& places, const Place& out_place,
                             const Owner& owner) {
  TRY(OpenInput(places.in, owner));
  switch (out_place.kind) {
    case PlaceKind::kUnknown:
      return UnimplementedError("stdio ", Quoted(places.out.substr(0, places.out.find("://"))),
                                ": unknown scheme");
    case PlaceKind::kBinary:
    case PlaceKind::kBinaryV2:
      TRY(OpenLogPipes(owner));
      break;
    case PlaceKind::kFile:
      TRY(OpenOutput(0, out_place.path, /*make=*/true, owner));
      if (!terminal_) TRY(OpenOutput(1, out_place.path, /*make=*/true, owner));
      break;
    case PlaceKind::kNull:
    case PlaceKind::kPath:
      TRY(OpenOutput(0, out_place.path, /*make=*/false, owner));
      if (!terminal_) TRY(OpenOutput(1, ParsePlace(places.err).path, /*make=*/false, owner));
      break;
  }
  if (terminal_) {
    const bool fits = owner.bundle.size() + kConsoleSocketName.size() <= wire::kMaxSocketPath;
    console_ = TRY(os::ConsoleSocket::Create(fits ? owner.bundle : ""));
  }
  return Ok();
}

Status ProcessIo::OpenInput(const std::string& path, const Owner& owner) {
  if (path.empty()) {
    if (!terminal_) in_child_ = TRY(OpenNull());
    return Ok();
  }
  in_place_ = Fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat info = {};
  if (!in_place_.valid() || fstat(in_place_.get(), &info) != 0)
    return ErrnoError(errno, "open ", path);
  if (!terminal_ && !S_ISFIFO(info.st_mode)) {
    os::InputEnd end = TRY(os::OpenInput(path));
    in_place_.Reset();
    in_child_ = std::move(end.read);  // a file needs no copying
    return SetNonblocking(in_child_, false);
  }
  if (terminal_) return Ok();
  Pipe pipe = TRY(OwnedPipe(owner));
  in_child_ = std::move(pipe.read);
  in_sink_ = std::move(pipe.write);
  return SetNonblocking(in_sink_, true);
}

Status ProcessIo::OpenOutput(int number, const std::string& path, bool make, const Owner& owner) {
  Output& output = outputs_[number];
  if (path.empty()) {
    output.child_end = TRY(OpenNull());
    if (terminal_)
      output.sink =
          std::move(output.child_end);  // a terminal is read in any case, or its user would block
    return Ok();
  }
  if (make) {
    output.sink = TRY(OpenLogFile(path));
  } else {
    os::OutputEnd end = TRY(os::OpenOutput(path));
    output.sink = std::move(end.write);
    output.keep = std::move(end.keep);
    output.splice = end.kind == os::EndKind::kFifo;
  }
  if (terminal_) return Ok();
  Pipe pipe = TRY(OwnedPipe(owner));
  output.child_end = std::move(pipe.write);
  output.source = std::move(pipe.read);
  return SetNonblocking(output.source, true);
}

Status ProcessIo::OpenLogPipes(const Owner& owner) {
  for (Output& output : outputs_) {
    Pipe pipe = TRY(OwnedPipe(owner));
    output.source = std::move(pipe.read);  // for the logging program
    output.child_end = std::move(pipe.write);
  }
  if (!terminal_) return Ok();
  // The terminal is copied into the program's first pipe; the second ends at once.
  outputs_[0].sink = std::move(outputs_[0].child_end);
  outputs_[1].child_end.Reset();
  return SetNonblocking(outputs_[0].sink, true);
}

ProcessIo::~ProcessIo() {
  loop_.Cancel(timer_);
  if (console_.has_value()) loop_.Remove(console_->listener());
  if (connection_.valid()) loop_.Remove(connection_);
}

StdioDescriptors ProcessIo::ChildDescriptors() const {
  if (terminal_) return {};
  return {{in_child_, 0}, {outputs_[0].child_end, 1}, {outputs_[1].child_end, 2}};
}

std::string ProcessIo::console_path() const { return console_.has_value() ? console_->path() : ""; }

void ProcessIo::CloseChildEnds() {
  in_child_.Reset();
  for (Output& output : outputs_) output.child_end.Reset();
}

void ProcessIo::Begin(std::function<void(Status)> done) {
  if (!terminal_) {
    StartCopying();
    return done(Ok());
  }
  begun_ = std::move(done);
  timer_ = loop_.After(kConsoleDeadline, [this] {
    timer_ = 0;
    if (const auto call = std::exchange(begun_, nullptr)) {
      call(DeadlineExceededError("console socket: no terminal after ", kConsoleDeadline.count(),
                                 " s"));
    }
  });
  (void)loop_.Add(console_->listener(), EPOLLIN, [this](uint32_t) { OnConsole(); });
  OnConsole();  // usually it is there already
}

void ProcessIo::OnConsole() {
  if (!connection_.valid()) {
    Result<Fd> connection = console_->Accept();
    if (!connection.ok()) return;  // not yet; the deadline ends the waiting
    connection_ = std::move(*connection);
    (void)loop_.Add(connection_, EPOLLIN, [this](uint32_t) { OnConsole(); });
  }
  Result<Fd> terminal = os::ReceiveTerminal(connection_);
  if (!terminal.ok() && terminal.error().Is(Code::kUnavailable)) return;
  loop_.Remove(connection_);
  loop_.Remove(console_->listener());
  connection_.Reset();
  console_.reset();
  loop_.Cancel(std::exchange(timer_, 0));
  const auto call = std::exchange(begun_, nullptr);
  if (!terminal.ok()) return call(std::move(terminal).TakeError());
  TerminalArrived(std::move(*terminal));
  call(Ok());
}

void ProcessIo::TerminalArrived(Fd terminal) {
  master_ = std::move(terminal);
  // One description, several numbers: the loop watches each direction on its own.
  if (Result<Fd> copy = master_.Duplicate(); copy.ok()) outputs_[0].source = std::move(*copy);
  outputs_[0].splice = false;
  if (in_place_.valid()) {
    if (Result<Fd> copy = master_.Duplicate(); copy.ok()) in_sink_ = std::move(*copy);
  }
  StartCopying();
}

void ProcessIo::StartCopying() {
  for (Output& output : outputs_) {
    if (!output.source.valid() || !output.sink.valid()) continue;
    const auto method = output.splice ? Copier::Method::kSplice : Copier::Method::kBuffer;
    output.copier =
        std::make_unique<Copier>(loop_, std::move(output.source), std::move(output.sink), method,
                                 Copier::BrokenSink::kDiscard, [this, &output] {
                                   output.keep.Reset();  // now the client sees the end
                                   CheckDrained();
                                 });
    (void)output.copier->Start();
  }
}

void ProcessIo::OpenStdin() {
  if (!in_place_.valid() || !in_sink_.valid()) return;
  const Fd place = std::move(in_place_);
  Result<os::InputEnd> end = os::OpenInput(StrCat("/proc/self/fd/", place.get()));
  if (!end.ok()) return in_sink_.Reset();  // gone meanwhile: the process sees the end of its input
  if (!in_closed_) in_keep_ = std::move(end->keep);
  const auto method = terminal_ ? Copier::Method::kBuffer : Copier::Method::kSplice;
  in_copier_ = std::make_unique<Copier>(loop_, std::move(end->read), std::move(in_sink_), method,
                                        Copier::BrokenSink::kEnd, [this] { in_keep_.Reset(); });
  (void)in_copier_->Start();
}

void ProcessIo::CloseStdin() {
  in_closed_ = true;
  in_keep_.Reset();
}

Status ProcessIo::Resize(os::WindowSize size) {
  if (!master_.valid()) return Ok();
  return os::SetWindowSize(master_, size);
}

void ProcessIo::ProcessEnded() {
  in_copier_.reset();
  in_keep_.Reset();
  in_place_.Reset();
  in_sink_.Reset();
  for (Output& output : outputs_) {
    if (output.copier != nullptr && terminal_) output.copier->SourceEnding();
  }
}

void ProcessIo::CheckDrained() {
  if (!drained_) return;
  for (const Output& output : outputs_) {
    if (output.copier != nullptr && !output.copier->done()) return;
  }
  if (log_program_ != nullptr && !log_program_->ended()) return;
  loop_.Cancel(std::exchange(timer_, 0));
  std::exchange(drained_, nullptr)();
}

void ProcessIo::Drain(std::chrono::milliseconds limit, std::function<void()> done) {
  drained_ = std::move(done);
  if (log_program_ != nullptr) log_program_->OnEnd([this] { CheckDrained(); });
  // A logging program that does not end with its input is stopped by our destructor, after a short
  // grace.
  const auto wait = log_program_ != nullptr
                        ? std::min<std::chrono::milliseconds>(limit, kLogProgramGrace)
                        : limit;
  timer_ = loop_.After(wait, [this] {
    timer_ = 0;
    if (const auto call = std::exchange(drained_, nullptr)) call();
  });
  CheckDrained();
}

}  // namespace corten::shim
