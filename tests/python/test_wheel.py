"""What pyproject.toml puts into a wheel, taken from the build tree: it works without anything beside it.

Building a wheel takes minutes; what can go wrong in it is which files it has, and that is told by the same install rules.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

tomllib = pytest.importorskip("tomllib")

PACKAGE = pathlib.Path(__file__).parents[2] / "client_lib" / "python"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())
SETTINGS = PROJECT["tool"]["scikit-build"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """The folder that a wheel would be unpacked into."""
    site = tmp_path_factory.mktemp("site")
    for component in SETTINGS["install"]["components"]:
        subprocess.run([os.environ["CISTERN_CMAKE"], "--install", os.environ["CISTERN_BUILD"], "--component", component,
                        "--prefix", str(site)], check=True, capture_output=True)
    for package in SETTINGS["wheel"]["packages"]:
        shutil.copytree(PACKAGE / package, site / package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return site


def run(wheel: pathlib.Path, program: str, *arguments: str) -> subprocess.CompletedProcess:
    """A program of Python's that sees the wheel, and neither the build tree nor programs on the PATH."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CISTERN_", "PYTHON"))}
    environment.update(PYTHONPATH=str(wheel), PYTHONDONTWRITEBYTECODE="1", PATH="/nonexistent")
    return subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True,
                          timeout=120, check=False)


def test_it_has_what_it_needs_and_no_more(wheel):
    files = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    sources = {"cistern/" + path.relative_to(PACKAGE / "cistern").as_posix()
               for path in (PACKAGE / "cistern").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    native = {name for name in files if name.startswith("cistern/_native.") and name.endswith(".so")}
    assert len(native) == 1
    assert files == sources | native | {"cistern/_native.pyi", "cistern/bin/cistern-server", "cistern/bin/cistern"}
    assert "cistern/py.typed" in sources and (PACKAGE / PROJECT["project"]["readme"]).exists()


def test_the_build_tree_has_the_same_sources(wheel):
    built = pathlib.Path(os.environ["CISTERN_BUILD"]) / "client_lib" / "python" / "cistern"
    for source in (PACKAGE / "cistern").glob("*.py"):
        assert (built / source.name).exists(), f"{source.name} is not in CMakeLists.txt"


def test_what_pip_is_to_build_is_there():
    targets = subprocess.run([os.environ["CISTERN_CMAKE"], "--build", os.environ["CISTERN_BUILD"], "--target", "help"],
                             check=True, capture_output=True, text=True).stdout
    names = {line.split(":")[0].strip().removeprefix("... ") for line in targets.splitlines()}
    assert set(SETTINGS["build"]["targets"]) <= names


def test_it_works_alone(wheel):
    ran = run(wheel, """
import cistern
with cistern.Node(pool_bytes="64MiB") as node, node.connect() as client:
    client.blobs.put({"page": b"abc"})
    print(cistern.__version__, cistern.__file__, client.blobs.find(["page"]))
""")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [PROJECT["project"]["version"], str(wheel / "cistern" / "__init__.py"), "[3]"]


@pytest.mark.parametrize("script", PROJECT["project"]["scripts"])
def test_its_programs_start(wheel, script):
    module, function = PROJECT["project"]["scripts"][script].split(":")
    assert "nonexistent" in run(wheel, "import os; print(os.environ['PATH'])").stdout, "only the wheel's own can be found"
    ran = run(wheel, f"import sys; sys.argv[0] = '{script}'; from {module} import {function}; {function}()", "--help")
    assert ran.returncode == 0 and script in ran.stdout, ran.stderr


def test_the_server_is_a_module(wheel):
    ran = run(wheel, "import runpy; runpy.run_module('cistern.server', run_name='__main__', alter_sys=True)", "--help")
    assert ran.returncode == 0 and "--unix_socket" in ran.stdout + ran.stderr, ran.stderr
