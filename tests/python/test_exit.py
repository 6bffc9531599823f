"""The interpreter ends while calls are under way."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
import numpy as np
import cistern
node = cistern.Node(pool_bytes="64MiB")
client = node.connect()
model = cistern.Model.preset("deepseek-v2-lite", layers=2)
tokens = np.arange(400, dtype=np.uint32)
cache = cistern.PagedCache(np.zeros((2, 25, 16, 576), np.uint16), range(25))
client.publish(model, tokens, cache)
def work():
    while True:
        {call}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""


@pytest.mark.parametrize("call", [
    "client.blobs.find(['a'])",
    "client.plan(model, tokens)",
    "client.fetch(client.plan(model, tokens), cache).wait()",
    "client.publish(model, tokens, cache)",
])
def test_daemon_threads_do_not_abort_the_process(call):
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stderr) == (3, "")


def test_the_interpreter_ends_while_a_fetch_runs():
    program = """
import numpy as np, cistern
node = cistern.Node(pool_bytes="256MiB")
model = cistern.Model.preset("deepseek-v2-lite", layers=8)
memory = np.ones((8, 512, 16, 576), np.uint16)
cache = cistern.PagedCache(memory, range(512))
client = node.connect(want_mapping=False)
tokens = np.arange(8192, dtype=np.uint32)
client.publish(model, tokens, cache)
fetch = client.fetch(client.plan(model, tokens, deadline=20), cache, on_layer=lambda layer: None)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
