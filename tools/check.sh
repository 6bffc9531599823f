#!/usr/bin/env bash
# Builds and runs every test.
#   tools/check.sh                 the dev preset (Debug)
#   tools/check.sh --asan          AddressSanitizer and UndefinedBehaviorSanitizer instead
#   tools/check.sh --tsan          ThreadSanitizer instead
#   tools/check.sh --asan -- -R store    what follows -- goes to ctest
set -euo pipefail
cd "$(dirname "$0")/.."

preset=dev
while [ $# -gt 0 ]; do
  case "$1" in
    --asan) preset=asan ;;
    --tsan) preset=tsan ;;
    --) shift; break ;;
    -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "check.sh: unknown flag '$1'; --help lists them" >&2; exit 2 ;;
  esac
  shift
done

tools/deps/install.sh debian12.txt
[ "$preset" != dev ] || tools/deps/python.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
ctest --preset "$preset" -j "$(nproc)" "$@"
