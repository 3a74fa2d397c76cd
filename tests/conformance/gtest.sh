#!/bin/bash
# Runs a GoogleTest program of the build as a conformance suite. Usage: CORTEN_BUILD=DIR tests/conformance/gtest.sh PROGRAM
# Prints `ok NAME` or `not ok NAME: why` for each case (failures on the lines behind it), and `done` if it came to its end.
set -u -o pipefail
"$CORTEN_BUILD/$1" --gtest_color=no 2>&1 | awk '
  /^\[       OK \] / { print "ok " $4; failure = ""; next }
  /^\[  SKIPPED \] / { print "not ok " $4 ": skipped itself"; next }
  /^\[  FAILED  \] .* ms\)$/ { print "not ok " $4 ": failed"; printf "%s", failure; failure = ""; next }
  /^\[ RUN      \] / { failure = ""; next }
  /^\[==========\] .* ran\./ { ended = 1; next }
  { failure = failure "  " $0 "\n" }
  END { if (ended) print "done"; else printf "%s", failure }'
