#include "cli/stdio.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/fifo.h"

namespace corten::cli {

namespace {

// Moves what is there; false at the end of the source.
bool Pump(const Fd& from, int to) {
  char buffer[32768];
  const ssize_t n = read(from.get(), buffer, sizeof(buffer));
  if (n > 0) {
    (void)WriteAll(FdRef(to), std::string_view(buffer, static_cast<size_t>(n)),
                   "output");  // a closed output ends nothing
    return true;
  }
  return n < 0 && (errno == EAGAIN || errno == EINTR);
}

bool IsFifo(const std::string& path) {
  struct stat st = {};
  return !path.empty() && lstat(path.c_str(), &st) == 0 && S_ISFIFO(st.st_mode);
}

// A fresh directory with a decimal name, as containerd's clients make them.
Result<Dir> FreshDir(const std::string& parent) {
  TRY(MakeDirs(parent, 0711));
  while (true) {
    uint32_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
      return ErrnoError(errno, "draw a name");
    const std::string path = StrCat(parent, "/", number);
    if (mkdir(path.c_str(), 0700) == 0) return Dir::Open(path);
    if (errno != EEXIST) return ErrnoError(errno, "create directory ", path);
  }
}

}  // namespace

Result<std::unique_ptr<Stdio>> Stdio::Create(const StdioOptions& options) {
  Dir dir = TRY(FreshDir(options.parent));
  client::TaskIo io;
  io.terminal = options.terminal;
  if (options.input) io.in = dir.Path(StrCat(options.id, "-stdin"));
  io.out = dir.Path(StrCat(options.id, "-stdout"));
  if (!options.terminal) io.err = dir.Path(StrCat(options.id, "-stderr"));
  std::unique_ptr<Stdio> stdio(new Stdio(std::move(dir), std::move(io), options.input));
  for (const std::string* path : {&stdio->io_.in, &stdio->io_.out, &stdio->io_.err}) {
    if (!path->empty()) TRY(os::MakeFifo(*path, 0700));
  }
  TRY(stdio->Open());
  return stdio;
}

std::unique_ptr<Stdio> Stdio::Attach(const client::TaskIo& io) {
  client::TaskIo real;
  real.terminal = io.terminal;
  if (IsFifo(io.in)) real.in = io.in;
  if (IsFifo(io.out)) real.out = io.out;
  if (IsFifo(io.err)) real.err = io.err;
  const bool input = !real.in.empty();
  return std::unique_ptr<Stdio>(new Stdio(Dir(), std::move(real), input));
}

Stdio::~Stdio() {
  if (thread_.joinable()) {
    stop_.write.Reset();
    thread_.join();
  }
  raw_.reset();
  if (!dir_.valid()) return;
  (void)dir_.RemoveChildren();  // leftovers harm nobody
  (void)rmdir(dir_.path().c_str());
}

Status Stdio::Open() {
  if (!io_.out.empty() && !out_.valid()) {
    out_ = Fd(open(io_.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!out_.valid()) return ErrnoError(errno, "open ", io_.out);
  }
  if (!io_.err.empty() && !err_.valid()) {
    err_ = Fd(open(io_.err.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!err_.valid()) return ErrnoError(errno, "open ", io_.err);
  }
  if (has_input_ && !in_.valid()) {
    // Read-write, since a FIFO without reader refuses writers that do not wait.
    in_ = Fd(open(io_.in.c_str(), O_RDWR | O_CLOEXEC));
    if (!in_.valid()) return ErrnoError(errno, "open ", io_.in);
  }
  return Ok();
}

Status Stdio::Start(std::function<void()> on_input_end) {
  on_input_end_ = std::move(on_input_end);
  stop_ = TRY(MakePipe());
  go_ = TRY(MakePipe());
  TRY(Open());
  if (io_.terminal && isatty(0) == 1) {
    os::RawMode raw = TRY(os::RawMode::Enter(FdRef(0)));
    raw_.emplace(std::move(raw));
  }
  thread_ = std::thread(&Stdio::Copy, this);
  return Ok();
}

void Stdio::Copy() {
  bool stopping = false;
  bool may_read = false;
  const auto never = std::chrono::steady_clock::time_point::max();
  auto end = never;
  while (out_.valid() || err_.valid()) {
    pollfd polls[5] = {{out_.get(), POLLIN, 0},
                       {err_.get(), POLLIN, 0},
                       {may_read && in_.valid() && !stopping ? 0 : -1, POLLIN, 0},
                       {stopping ? -1 : stop_.read.get(), POLLIN, 0},
                       {may_read || stopping ? -1 : go_.read.get(), POLLIN, 0}};
    int timeout = -1;
    if (stopping) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                            end - std::chrono::steady_clock::now())
                            .count();
      if (left <= 0) return;
      timeout = static_cast<int>(left);
    }
    if (poll(polls, 5, timeout) < 0 && errno != EINTR) return;
    if (polls[0].revents != 0 && !Pump(out_, 1)) out_.Reset();
    if (polls[1].revents != 0 && !Pump(err_, 2)) err_.Reset();
    if (polls[2].revents != 0) {
      const Fd input(fcntl(0, F_DUPFD_CLOEXEC, 3));
      if (!input.valid() || !Pump(input, in_.get())) {
        in_.Reset();
        if (on_input_end_) on_input_end_();
      }
    }
    if (polls[4].revents != 0) may_read = true;
    if (!stopping && polls[3].revents != 0) {
      stopping = true;
      end = std::chrono::steady_clock::now() + kDrain;
      in_.Reset();
      // A FIFO that nobody has ever written to gives no sign of its end: only a read does.
      if (out_.valid() && !Pump(out_, 1)) out_.Reset();
      if (err_.valid() && !Pump(err_, 2)) err_.Reset();
    }
  }
}

void Stdio::Finish() {
  stop_.write.Reset();
  if (thread_.joinable()) thread_.join();
  raw_.reset();
}

void RemoveFifos(const client::TaskIo& io) {
  for (const std::string* path : {&io.in, &io.out, &io.err}) {
    if (!IsFifo(*path)) continue;
    (void)unlink(path->c_str());
    (void)rmdir(path->substr(0, path->rfind('/')).c_str());
  }
}

}  // namespace corten::cli
