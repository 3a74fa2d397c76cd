# shellcheck shell=bash
# The steps of a suite written in shell: sourced by it. Each prints `ok STEP` or `not ok STEP: why`; `finish` ends the suite.
# A suite that asks for task_status defines `ctr`.
passed=0 failed=0

ok() { echo "ok $1"; passed=$((passed + 1)); }
bad() { echo "not ok $1: $2"; failed=$((failed + 1)); }
# is STEP WANTED GOT
is() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "wanted $(printf %q "$2"), got $(printf %q "$3")"; fi; }
# has STEP PART TEXT
has() { case $3 in *"$2"*) ok "$1" ;; *) bad "$1" "no $(printf %q "$2") in $(printf %q "$3")" ;; esac; }
task_status() { ctr task ls | awk -v id="$1" '$1 == id {print $3}'; }
# until_is WANTED COMMAND...: asks for 20 s whether the command prints that.
until_is() {
  local wanted=$1 i
  shift
  for ((i = 0; i < 200; i++)); do
    [ "$("$@")" = "$wanted" ] && return 0
    sleep 0.1
  done
  return 1
}
# The suite's exit code is the last command's.
finish() {
  echo "$passed passed, $failed failed"
  echo done
  [ "$failed" = 0 ]
}
