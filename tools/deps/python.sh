#!/usr/bin/env bash
# The Python that the package is built and tested with: a virtual environment in build/python with the pinned packages of
# python.txt beside this script. Installs nothing twice.
set -euo pipefail
cd "$(dirname "$0")/../.."

list=tools/deps/python.txt
done_mark=build/python/installed.txt
cmp -s "$list" "$done_mark" && exit 0
[ -x build/python/bin/python ] || python3 -m venv build/python
build/python/bin/pip install --quiet --disable-pip-version-check -r "$list"
cp "$list" "$done_mark"
