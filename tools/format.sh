#!/usr/bin/env bash
# Formats every C++ file of the tree; with --check it only says which are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[ "${1:-}" = --check ] && mode=(--dry-run -Werror)
git ls-files -z '*.h' '*.cc' '*.cu' '*.cuh' | xargs -0 -r clang-format "${mode[@]}"
