#!/usr/bin/env python3
"""Every include arrow goes down. Run by CTest; prints each arrow that does not."""
import pathlib
import re
import sys

ALLOWED = {  # folder -> folders it may include
    "base":        set(),
    "kernels":     {"base"},
    "storage":     {"base"},
    "transport":   {"base"},
    "client_lib":  {"base", "kernels", "transport"},
    "cacheserver": {"base", "kernels", "storage", "transport"},
    "tools":       {"base", "kernels", "transport", "client_lib", "cistern", "cacheserver"},
    "tests":       {"base", "kernels", "storage", "transport", "client_lib", "cistern", "cacheserver", "tools"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^"/<>]+)/', re.M)
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}


def main() -> int:
    root, bad, seen = pathlib.Path(sys.argv[1]), 0, 0
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            seen += 1
            for target in INCLUDE.findall(path.read_text(errors="replace")):
                owner = "client_lib" if target == "cistern" else target  # <cistern/...> is client_lib's promise
                if owner in ALLOWED and owner != folder and target not in allowed:
                    print(f"{path.relative_to(root)}: {folder} must not include {target}")
                    bad += 1
    if seen == 0:
        print(f"{root}: no source files found; is this the repository?")
        return 1
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
