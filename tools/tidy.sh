#!/usr/bin/env bash
# clang-tidy over every source file that a build directory compiles (default build/dev).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/dev}
[ -f "$build/compile_commands.json" ] || { echo "tidy.sh: no $build/compile_commands.json; run cmake --preset dev first" >&2; exit 2; }
git ls-files -z '*.cc' ':!tests' | xargs -0 -r -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build" 2> >(grep -v 'warnings generated\|warning generated\|Suppressed\|Use -header-filter' >&2)
