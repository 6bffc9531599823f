"""The interpreter ends while other threads are inside of calls."""

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
