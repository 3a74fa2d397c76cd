// A failure ends the run: a figure of something that failed is no figure. Threads: any.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"

namespace corten::bench {

[[noreturn]] inline void Fail(const std::string& text) {
  (void)fflush(stdout);
  (void)fprintf(stderr, "corten-bench: %s\n", text.c_str());
  _exit(1);  // other threads may be inside calls: no destructors
}

// Ends the program with `what: <error>` unless the status is good.
inline void Must(const Status& status, const std::string& what) {
  if (!status.ok()) Fail(StrCat(what, ": ", status.error().text()));
}
template <typename T>
T Must(Result<T> result, const std::string& what) {
  if (!result.ok()) Fail(StrCat(what, ": ", result.error().text()));
  return std::move(result).value();
}

}  // namespace corten::bench
