// Terminals: receiving the master end from an OCI runtime, sizes, raw mode.
//
// A runtime that creates a process with a terminal connects to the console socket and sends one
// descriptor, the master end, in an SCM_RIGHTS message whose payload is the terminal's name.
// Source: runc's terminals documentation (detached mode). Threads: plain functions and owners.
#pragma once

#include <termios.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace corten::os {

struct WindowSize {
  uint16_t columns = 0;
  uint16_t rows = 0;
  bool operator==(const WindowSize&) const = default;
};
Status SetWindowSize(FdRef terminal, WindowSize size);
Result<WindowSize> GetWindowSize(FdRef terminal);

// A listening socket `pty.sock` in a directory of its own; both vanish with the owner.
class ConsoleSocket {
 public:
  // In a fresh directory `pty*` below `parent` ("": $XDG_RUNTIME_DIR, then /tmp).
  static Result<ConsoleSocket> Create(const std::string& parent = "");
  ConsoleSocket(ConsoleSocket&& other) noexcept;
  ConsoleSocket& operator=(ConsoleSocket&& other) noexcept;
  ~ConsoleSocket();
  const std::string& path() const { return path_; }
  FdRef listener() const {
    return listener_;
  }  // non-blocking; readable when the runtime has connected
  // Accepts the connection that is waiting.
  // kUnavailable: nobody has connected yet. The result is non-blocking.
  Result<Fd> Accept() const;

 private:
  ConsoleSocket(std::string path, Fd listener)
      : path_(std::move(path)), listener_(std::move(listener)) {}
  void Remove();
  std::string path_;
  Fd listener_;
};

// Takes the master end that came over an accepted connection; non-blocking, checked to be a
// terminal. kUnavailable: no message yet. kInvalidArgument: a message without exactly one terminal
// in it.
Result<Fd> ReceiveTerminal(FdRef connection);

// Sends `terminal` as a runtime does. For tests and for runtimes of our own.
Status SendTerminal(FdRef connection, FdRef terminal, const std::string& name);

// Puts a terminal into raw mode for as long as it lives. The descriptor must outlive it.
class RawMode {
 public:
  static Result<RawMode> Enter(FdRef terminal);
  RawMode(RawMode&& other) noexcept : fd_(other.fd_), saved_(other.saved_) { other.fd_ = -1; }
  RawMode& operator=(RawMode&&) = delete;
  ~RawMode();

 private:
  RawMode(int fd, const termios& saved) : fd_(fd), saved_(saved) {}
  int fd_;
  termios saved_;
};

}  // namespace corten::os
