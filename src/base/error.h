// Errors are values: Error, Result<T>, TRY, CHECK.
//
// An Error carries a code (gRPC's sixteen, one to one), the errno that caused it (0: none) and the
// text that a client will read: subject, colon, cause, e.g. `container "x": not found`. Text holds
// no host paths beyond what the caller passed in and no C++ names.
//
// Library rooms return errors and do not log them. Whoever ends an error's journey logs it once.
// Threads: values, no shared state.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/strcat.h"

namespace corten {

// Numbers are gRPC's status codes and travel on the wire unchanged.
enum class Code : uint8_t {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The words that containerd's clients expect at the end of a status text, e.g. "not found". "" for
// kOk.
std::string_view CodeMarker(Code code);

// One pointer wide; never empty (a moved-from Error may only be destroyed or assigned).
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string text, int err = 0);

  // `what: <strerror>`; the code follows from errno: ENOENT kNotFound, EEXIST kAlreadyExists,
  // EACCES and EPERM kPermissionDenied, ENOSPC and EDQUOT and EMFILE and ENOMEM kResourceExhausted,
  // EINVAL kInvalidArgument, ETIMEDOUT kDeadlineExceeded, otherwise kUnknown.
  static Error FromErrno(int err, std::string_view what);

  Code code() const { return rep_->code; }
  int sys_errno() const { return rep_->err; }  // 0: not caused by a system call
  const std::string& text() const { return rep_->text; }
  bool Is(Code code) const { return rep_->code == code; }

  // The same error with `context: ` in front of its text. Once per layer, naming what the caller
  // knows.
  Error Context(std::string_view context) &&;
  // The same error under another code, e.g. where a facade's contract asks for it.
  Error WithCode(Code code) &&;
  Error Clone() const { return Error(rep_->code, rep_->text, rep_->err); }

  // Text for the wire: text(), ended by the code's marker if it does not end in it already.
  std::string WireText() const;

 private:
  struct Rep {
    Code code;
    int err;
    std::string text;
  };
  std::unique_ptr<Rep> rep_;
};

// Shorthands; the arguments are concatenated: NotFound("container ", Quoted(id)).
#define CORTEN_ERROR_KIND(Name)                        \
  template <typename... A>                             \
  [[nodiscard]] Error Name##Error(const A&... parts) { \
    return Error(Code::k##Name, StrCat(parts...));     \
  }
CORTEN_ERROR_KIND(Canceled)
CORTEN_ERROR_KIND(Unknown)
CORTEN_ERROR_KIND(InvalidArgument)
CORTEN_ERROR_KIND(DeadlineExceeded)
CORTEN_ERROR_KIND(NotFound)
CORTEN_ERROR_KIND(AlreadyExists)
CORTEN_ERROR_KIND(PermissionDenied)
CORTEN_ERROR_KIND(ResourceExhausted)
CORTEN_ERROR_KIND(FailedPrecondition)
CORTEN_ERROR_KIND(Aborted)
CORTEN_ERROR_KIND(OutOfRange)
CORTEN_ERROR_KIND(Unimplemented)
CORTEN_ERROR_KIND(Internal)
CORTEN_ERROR_KIND(Unavailable)
CORTEN_ERROR_KIND(DataLoss)
#undef CORTEN_ERROR_KIND

// Error::FromErrno(errno, StrCat(parts...)); errno is read before anything else runs.
template <typename... A>
[[nodiscard]] Error ErrnoError(int err, const A&... parts) {
  return Error::FromErrno(err, StrCat(parts...));
}

namespace detail {
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);
}

// Ends the process with file, line and text when `cond` is false: a broken invariant of ours, never
// bad input.
#define CHECK(cond) \
  ((cond) ? static_cast<void>(0) : ::corten::detail::CheckFailed(__FILE__, __LINE__, #cond))

// Either a T or an Error.
template <typename T>
class [[nodiscard]] Result {
  static_assert(!std::is_reference_v<T>, "return a pointer instead");

 public:
  using value_type = T;
  Result(T value) : ok_(true) {
    new (&value_) T(std::move(value));
  }  // NOLINT(google-explicit-constructor)
  Result(Error error) : ok_(false) {
    new (&error_) Error(std::move(error));
  }  // NOLINT(google-explicit-constructor)
  template <typename U>
    requires(std::is_convertible_v<U &&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error> &&
             !std::is_same_v<std::remove_cvref_t<U>, Result>)
  Result(U&& value) : ok_(true) {  // NOLINT(google-explicit-constructor)
    new (&value_) T(std::forward<U>(value));
  }
  Result(Result&& other) noexcept : ok_(other.ok_) { MoveFrom(std::move(other)); }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      Destroy();
      ok_ = other.ok_;
      MoveFrom(std::move(other));
    }
    return *this;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() { Destroy(); }

  bool ok() const { return ok_; }
  // REQUIRES: ok().
  T& value() & {
    CHECK(ok_);
    return value_;
  }
  const T& value() const& {
    CHECK(ok_);
    return value_;
  }
  T&& value() && {
    CHECK(ok_);
    return std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() {
    CHECK(ok_);
    return &value_;
  }
  const T* operator->() const {
    CHECK(ok_);
    return &value_;
  }
  // REQUIRES: !ok().
  const Error& error() const {
    CHECK(!ok_);
    return error_;
  }
  Error TakeError() && {
    CHECK(!ok_);
    return std::move(error_);
  }

  // Adds context to the error, if there is one.
  Result Context(std::string_view context) && {
    if (ok_) return std::move(*this);
    return std::move(error_).Context(context);
  }

 private:
  void MoveFrom(Result&& other) {
    if (ok_) {
      new (&value_) T(std::move(other.value_));
    } else {
      new (&error_) Error(std::move(other.error_));
    }
  }
  void Destroy() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~Error();
    }
  }
  bool ok_;
  union {
    T value_;
    Error error_;
  };
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return !error_.has_value(); }
  void value() const { CHECK(ok()); }
  const Error& error() const {
    CHECK(!ok());
    return *error_;
  }
  Error TakeError() && {
    CHECK(!ok());
    return std::move(*error_);
  }
  Result Context(std::string_view context) && {
    if (ok()) return {};
    return std::move(*error_).Context(context);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status Ok() { return {}; }

// Yields the value of `expr` (a Result), or returns its error from the enclosing function.
// Stands only as a whole initialiser, assignment or statement (docs: STYLE, errors).
#define TRY(expr) \
  CORTEN_TRY_NUMBERED(expr, __COUNTER__)  // numbered: a TRY may stand in a lambda inside a TRY
#define CORTEN_TRY_NUMBERED(expr, n) CORTEN_TRY_NAMED(expr, corten_try_result_, n)
#define CORTEN_TRY_NAMED(expr, name, n)      \
  __extension__({                            \
    auto name##n = (expr);                   \
    if (!name##n.ok()) [[unlikely]]          \
      return std::move(name##n).TakeError(); \
    std::move(name##n).value();              \
  })

}  // namespace corten
