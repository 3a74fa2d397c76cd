#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace corten {

namespace {

Code CodeOfErrno(int err) {
  switch (err) {
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    case EINVAL:
      return Code::kInvalidArgument;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    default:
      return Code::kUnknown;
  }
}

}  // namespace

std::string_view CodeMarker(Code code) {
  switch (code) {
    case Code::kOk:
      return "";
    case Code::kCanceled:
      return "context canceled";
    case Code::kUnknown:
      return "unknown";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kDeadlineExceeded:
      return "context deadline exceeded";
    case Code::kNotFound:
      return "not found";
    case Code::kAlreadyExists:
      return "already exists";
    case Code::kPermissionDenied:
      return "permission denied";
    case Code::kResourceExhausted:
      return "resource exhausted";
    case Code::kFailedPrecondition:
      return "failed precondition";
    case Code::kAborted:
      return "aborted";
    case Code::kOutOfRange:
      return "out of range";
    case Code::kUnimplemented:
      return "not implemented";
    case Code::kInternal:
      return "internal";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kDataLoss:
      return "data loss";
    case Code::kUnauthenticated:
      return "unauthorized";
  }
  return "unknown";
}

Error::Error(Code code, std::string text, int err)
    : rep_(std::make_unique<Rep>(Rep{code, err, std::move(text)})) {}

Error Error::FromErrno(int err, std::string_view what) {
  char buffer[128];
  // The GNU strerror_r may return a static string instead of filling the buffer.
  const char* cause = strerror_r(err, buffer, sizeof(buffer));
  std::string lower(cause);
  if (!lower.empty() && lower[0] >= 'A' && lower[0] <= 'Z' &&
      !(lower.size() > 1 && lower[1] >= 'A' && lower[1] <= 'Z')) {
    lower[0] = static_cast<char>(lower[0] - 'A' + 'a');  // clients see Go's lower-case errno texts
  }
  return Error(CodeOfErrno(err), StrCat(what, ": ", lower), err);
}

Error Error::Context(std::string_view context) && {
  rep_->text.insert(0, StrCat(context, ": "));
  return std::move(*this);
}

Error Error::WithCode(Code code) && {
  rep_->code = code;
  return std::move(*this);
}

std::string Error::WireText() const {
  const std::string_view marker = CodeMarker(rep_->code);
  const std::string& text = rep_->text;
  if (rep_->code == Code::kUnknown || text.ends_with(marker)) return text;
  if (rep_->code == Code::kFailedPrecondition &&
      (text.ends_with(": conflict") || text.ends_with(": not modified")))
    return text;
  if (text.empty()) return std::string(marker);
  return StrCat(text, ": ", marker);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += StrCat("\\x", Hex(std::string_view(&c, 1)));
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
  return out;
}

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out.push_back(kDigits[(static_cast<unsigned char>(c) >> 4) & 15]);
    out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

bool ParseU64(std::string_view text, uint64_t* value) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), *value);
  return !text.empty() && end.ec == std::errc() && end.ptr == text.data() + text.size();
}

namespace detail {
void CheckFailed(const char* file, int line, const char* what) {
  (void)fprintf(stderr, "corten: broken invariant at %s:%d: %s\n", file, line, what);
  abort();
}
}  // namespace detail

}  // namespace corten
