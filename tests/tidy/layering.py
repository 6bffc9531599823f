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
EXCEPTIONS = {  # folder -> headers that it may include besides, and why. Nothing else in tools/ sees storage, nothing else in client_lib/ the node.
    # `cistern-bench pools` measures the pools themselves beside published allocators: through a node
    # it would measure the store.
    "tools/bench/pools": ("storage/pool/", "storage/arena.h"),
    # `cistern-bench evict` replays traces of hashes against the policies alone: there are no bytes to store.
    "tools/bench/evict": ("storage/policy/",),
    # libcistern.so packs the client together with a node inside the process; nothing includes it.
    "client_lib/c": ("cacheserver/embedded.h",),
    # So does the Python package.
    "client_lib/python/src": ("cacheserver/embedded.h",),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<](([^"/<>]+)/[^">]+)', re.M)
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}


def main() -> int:
    root, bad, seen = pathlib.Path(sys.argv[1]), 0, 0
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            seen += 1
            excepted = EXCEPTIONS.get(path.relative_to(root).parent.as_posix(), ())
            for header, target in INCLUDE.findall(path.read_text(errors="replace")):
                owner = "client_lib" if target == "cistern" else target  # <cistern/...> is client_lib's promise
                if owner in ALLOWED and owner != folder and target not in allowed and not header.startswith(excepted):
                    print(f"{path.relative_to(root)}: {folder} must not include {target}")
                    bad += 1
    if seen == 0:
        print(f"{root}: no source files found; is this the repository?")
        return 1
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
