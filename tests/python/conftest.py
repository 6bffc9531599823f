"""Nodes, clients and a worker's cache whose rows can be checked."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy as np
import pytest

import cistern

LAYERS = 3
BLOCK_TOKENS = 16


class Worker:
    """A paged cache with blocks in a wild order, and a prefill that writes the same bytes for the same token."""

    def __init__(self, model: cistern.Model, tokens: int) -> None:
        self.model = model
        blocks = -(-tokens // BLOCK_TOKENS)
        self.memory = np.zeros((model.num_layers, blocks, BLOCK_TOKENS, model.row_bytes // 2), np.uint16)
        self.table = np.arange(blocks, dtype=np.int32)[::-1].copy()
        self.cache = cistern.PagedCache(self.memory, self.table)

    def rows(self, layer: int) -> np.ndarray:
        """[tokens, row]: a copy, in the sequence's order."""
        ordered = self.memory[layer][self.table]
        return ordered.reshape(-1, ordered.shape[-1])

    def prefill(self, tokens: np.ndarray, begin: int = 0, end: int = -1) -> None:
        for i in range(begin, len(tokens) if end < 0 else end):
            for layer in range(self.model.num_layers):
                self.memory[layer, self.table[i // BLOCK_TOKENS], i % BLOCK_TOKENS] = (tokens[i] * 31 + layer) % 65521

    def holds(self, tokens: np.ndarray, begin: int, end: int) -> bool:
        return all(
            np.array_equal(self.rows(layer)[begin:end], np.repeat(
                ((tokens[begin:end].astype(np.int64) * 31 + layer) % 65521).astype(np.uint16)[:, None],
                self.model.row_bytes // 2, axis=1))
            for layer in range(self.model.num_layers))


def some_tokens(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 100000, count, dtype=np.uint32)


def publish(client, model, tokens, **options):
    worker = Worker(model, len(tokens))
    worker.prefill(tokens)
    return client.publish(model, tokens, worker.cache, **options)


@pytest.fixture
def model() -> cistern.Model:
    return cistern.Model.preset("deepseek-v2-lite", layers=LAYERS)


@pytest.fixture
def node():
    with cistern.Node(pool_bytes="64MiB") as node:
        yield node


@pytest.fixture
def client(node):
    with node.connect() as client:
        yield client


@pytest.fixture
def lie():
    """lie(address, model, tokens): another worker shares another text under the keys of `tokens`. Returns how many segments."""
    def call(address, model, tokens):
        program = shutil.which("lying_worker", path=os.environ["CISTERN_PROGRAMS"])
        ran = subprocess.run([program, address, model.to_json()], input=" ".join(str(int(t)) for t in tokens),
                             capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return int(ran.stdout)
    return call


@pytest.fixture
def server():
    """A cistern-server process: its unix address."""
    program = shutil.which("cistern-server", path=os.environ["CISTERN_PROGRAMS"])
    with tempfile.TemporaryDirectory(prefix="cistern-") as directory:
        socket = pathlib.Path(directory) / "node.sock"
        process = subprocess.Popen(
            [program, f"--unix_socket={socket}", "--ucx_address=", "--pool_bytes=64MiB",
             "--log_level=error"])
        try:
            deadline = time.monotonic() + 30
            while not socket.exists():
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.01)
            yield f"unix:{socket}", process
        finally:
            process.kill()
            process.wait()
