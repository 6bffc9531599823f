#!/usr/bin/env bash
# From a bare Debian 12 to a served agent workload: installs what is missing, builds, starts a node, replays an agent
# session against it from another process with every row checked, prints the report, stops the node.
#   tools/quickstart.sh [replay flags ...]      for example: tools/quickstart.sh --calls 20 --flat
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*" >&2; }

step "packages"
tools/deps/install.sh debian12.txt

step "build (release)"
[ -f build/release/build.ninja ] || cmake --preset release -DENABLE_TESTS=OFF >build-configure.log 2>&1 || {
  cat build-configure.log >&2; exit 1; }
rm -f build-configure.log
cmake --build build/release --target cistern-server cistern cistern-bench
bin=build/release

step "start a node"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/cistern-quickstart-XXXXXX")
server=
stop() {
  if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap stop EXIT
address="unix:$scratch/node.sock"
$bin/cacheserver/cistern-server --unix_socket="$scratch/node.sock" --disk_path="$scratch/disk" --pool_bytes=2GiB \
  >"$scratch/node.log" 2>&1 &
server=$!
for _ in $(seq 300); do
  $bin/tools/cistern/cistern --address "$address" status >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { echo "the node stopped at once:" >&2; cat "$scratch/node.log" >&2; exit 1; }
  sleep 0.1
done

step "replay an agent session over this source tree"
$bin/tools/bench/cistern-bench replay --workload repo --address "$address" "$@"

step "what the node says (cistern status)"
$bin/tools/cistern/cistern --address "$address" status
