#!/bin/bash
# The switch test on a stage of its own. Usage: tests/upgrade/switch.sh [--self]
#   --self   containerd takes over from containerd: proves the test, not Corten
# CORTEN_KEEP=DIR keeps root and log there. README.md says what is switched.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/../peers"
middle=$(python3 -c 'import stage, sys; print(stage.containerd() if sys.argv[1:] == ["--self"] else stage.cortend())' "$@")
exec python3 -c 'import stage, sys; sys.exit(stage.isolated([sys.executable, *sys.argv[1:]]))' "$here/switch.py" "$middle"
