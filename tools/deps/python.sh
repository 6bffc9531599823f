#!/usr/bin/env bash
# The Python that the package is built and tested with: a virtual environment in build/python with the pinned packages of
# python.txt beside this script. Installs nothing twice.
#   tools/deps/python.sh               to build the package and run its tests
#   tools/deps/python.sh --fidelity    with torch and transformers as well: tests against real model code (1.2 GB)
set -euo pipefail
cd "$(dirname "$0")/../.."

lists=(tools/deps/python.txt)
case "${1:-}" in
  "") ;;
  --fidelity) lists+=(tools/deps/python-fidelity.txt) ;;
  *) echo "python.sh: unknown flag '$1'; there is --fidelity" >&2; exit 2 ;;
esac

[ -x build/python/bin/python ] || python3 -m venv build/python
for list in "${lists[@]}"; do
  done_mark="build/python/$(basename "$list")"
  cmp -s "$list" "$done_mark" && continue
  build/python/bin/pip install --quiet --disable-pip-version-check -r "$list"
  cp "$list" "$done_mark"
done
