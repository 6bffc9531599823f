#!/usr/bin/env bash
# clang-tidy over everything but the tests. It reads a build directory that was built as unity builds
# (default build/asan): each header is then parsed once for many files, a third of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/asan}
[ -f "$build/compile_commands.json" ] || { echo "tidy.sh: no $build/compile_commands.json; run tools/check.sh --asan first" >&2; exit 2; }
jq -r '.[].file' "$build/compile_commands.json" | grep -v -e "^$PWD/tests/" -e "/$build/tests/" -e '\.capnp\.c++$' |
  xargs -r -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build" 2> >(grep -v 'warnings\? generated' >&2)
