"""The programs that come with the package: cistern-server and cistern."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
from typing import NoReturn


def path_of(program: str) -> str:
    """Where `program` is: beside this package, or on the PATH."""
    beside = pathlib.Path(__file__).parent / "bin" / program
    if beside.exists():
        return str(beside)
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is neither in {beside.parent} nor on the PATH")
    return found


def run(program: str) -> NoReturn:
    """Becomes `program`, with this process's arguments."""
    path = path_of(program)
    os.execv(path, [program, *sys.argv[1:]])


def cistern() -> NoReturn:
    run("cistern")


def cistern_server() -> NoReturn:
    run("cistern-server")
