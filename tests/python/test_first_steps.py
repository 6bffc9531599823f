"""The example that the documentation names runs, and prints what it says it prints."""

import pathlib
import re
import subprocess
import sys

EXAMPLE = pathlib.Path(__file__).parents[2] / "tools" / "examples" / "first_steps.py"


def test_it_prints_what_its_comments_say():
    ran = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    promised = re.findall(r"^# > (.*)$", EXAMPLE.read_text(), re.M)
    assert len(promised) >= 5
    assert ran.stdout.splitlines() == promised
