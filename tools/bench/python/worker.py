"""The Python side of `cistern-bench python`: SOCKET [PACKAGE].

Asked on a unix socket, one JSON object a line; bench_worker.h says what each work is, cpp_worker.cc does the same in C++.
"""

import ctypes
import json
import re
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

if len(sys.argv) > 2 and sys.argv[2]:
    sys.path.insert(0, sys.argv[2])

import numpy as np  # noqa: E402

import cistern  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

BLOCK_TOKENS = 64


class Wrong(Exception):
    """An answer or bytes are not what was stored."""


def draw_tokens(seed: int, count: int) -> np.ndarray:
    """splitmix64, as DrawTokens of the C++ side."""
    x = (np.arange(count, dtype=np.uint64) | np.uint64(seed << 32)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) % np.uint64(1_000_000)).astype(np.uint32)


def filled(byte_count: int) -> np.ndarray:
    """16-bit values that are finite as bf16."""
    return (np.arange(byte_count // 2, dtype=np.uint64) * np.uint64(31) % np.uint64(16000)).astype(np.uint16)


def as_tensor(array: np.ndarray) -> Any:
    """The same memory as a tensor of bf16, where there is torch."""
    return array if torch is None else torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def address_of(array: Any) -> int:
    return array.ctypes.data if torch is None else array.data_ptr()


def resident(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(field + r":\s+(\d+) kB", status.read()).group(1)) << 10


class Rows:
    """A worker's cache and one to fetch into; blocks in reverse order."""

    def __init__(self, terms: Dict[str, Any]) -> None:
        self.model = cistern.Model.from_json(terms["model"])
        self.tokens = terms["tokens"]
        blocks = -(-self.tokens // BLOCK_TOKENS)
        shape = (self.model.num_layers, blocks, BLOCK_TOKENS, self.model.row_bytes // 2)
        self.table = np.arange(blocks, dtype=np.int32)[::-1].copy()
        self.computed = filled(2 * int(np.prod(shape))).reshape(shape)
        self.fetched = np.zeros(shape, np.uint16)
        self.tensor = as_tensor(self.computed)
        self.source = cistern.PagedCache(self.tensor, self.table)
        self.target = cistern.PagedCache(as_tensor(self.fetched), self.table)

    def in_place(self) -> bool:
        return getattr(self.source, "layer_pointers", None) == [address_of(layer) for layer in self.tensor]

    def same(self) -> bool:
        mine, theirs = (array[:, self.table].reshape(len(array), -1, array.shape[-1])[:, :self.tokens]
                        for array in (self.computed, self.fetched))
        return np.array_equal(mine, theirs)


class Worker:
    def __init__(self, terms: Dict[str, Any]) -> None:
        self.client = cistern.connect(terms["address"], salt=b"python")
        self.flip = terms["flip_a_byte"]
        self.read_once = ctypes.CDLL(terms["pass_library"]).cistern_bench_read_once
        self.read_once.argtypes, self.read_once.restype = [ctypes.c_void_p, ctypes.c_uint64], ctypes.c_uint64
        self.seed = 0
        self.lookup, self.small, self.large = Rows(terms["lookup"]), Rows(terms["small"]), Rows(terms["large"])
        self.keys = terms["keys"]
        chunk = self.lookup.tokens // self.keys
        self.parts = np.arange(1, self.keys, dtype=np.uint32) * np.uint32(chunk)
        self.names = [f"python page {i}" for i in range(self.keys)]
        self.blob = filled(terms["blob_bytes"])
        self.view_names = [f"python view {i}" for i in range(terms["views"])]
        self.view_bytes = filled(terms["view_bytes"])
        self.next_name = self.next_view = 0
        for name in self.names:
            self.put_one(name, self.blob)
        for name in self.view_names:
            self.put_one(name, self.view_bytes)
        self.lookup_tokens, self.small_tokens = self.draw(self.lookup), self.draw(self.small)
        self.publish_whole(self.lookup, self.lookup_tokens, self.parts)
        self.publish_whole(self.small, self.small_tokens)

    def about(self) -> Dict[str, Any]:
        arrays = "numpy.uint16" if torch is None else str(self.large.tensor.dtype)
        return {"python": sys.version.split()[0], "arrays": arrays, "in_place": self.large.in_place()}

    # ---- What both the set-up and the measured work do

    def draw(self, rows: Rows) -> np.ndarray:
        self.seed += 1
        return draw_tokens(self.seed, rows.tokens)

    def put_one(self, name: str, array: np.ndarray) -> None:
        if self.client.blobs.put({name: array})[name] != "stored":
            raise RuntimeError("the node did not store a blob")

    def publish_whole(self, rows: Rows, tokens: np.ndarray, parts: Optional[np.ndarray] = None) -> None:
        report = self.client.publish(rows.model, tokens, rows.source, parts=parts)
        if report["bytes"] != len(tokens) * rows.model.num_layers * rows.model.row_bytes:
            raise RuntimeError("the node did not take all rows")

    def plan_whole(self, rows: Rows, tokens: Any, parts: Any = None) -> cistern.Plan:
        return self.client.plan(rows.model, tokens, parts=parts, min_span_tokens=1, compute_last_token=False, deadline=5.0)

    def check(self, right: bool, what: str) -> None:
        if not right:
            raise Wrong(f"{what} is not what was stored")

    def check_rows(self, rows: Rows) -> None:
        if self.flip:
            rows.fetched[0, rows.table[0], 0, 0] ^= 1
        self.check(rows.same(), "what was fetched")

    @staticmethod
    def time(given: List[Any], call: Callable[[Any], Any]) -> Tuple[List[float], List[Any]]:
        """One call right after the other; what they answer is looked at afterwards."""
        now, took, answers = time.perf_counter_ns, [], []
        for one in given:
            start = now()
            answer = call(one)
            took.append((now() - start) / 1000)
            answers.append(answer)
        return took, answers

    # ---- The works

    def find(self, calls: int) -> List[float]:
        find, names, expected = self.client.blobs.find, self.names, [self.blob.nbytes] * self.keys
        took, answers = self.time([names] * calls, find)
        self.check(answers == [expected] * calls, "what find says")
        return took

    def measure_plan(self, calls: int, tokens: Any, parts: Any) -> List[float]:
        took, plans = self.time([tokens] * calls, lambda one: self.plan_whole(self.lookup, one, parts))
        self.check(all(plan.exact_tokens == self.lookup.tokens for plan in plans), "what a plan found")
        return took  # the plans give their leases back when all are made

    def plan(self, calls: int) -> List[float]:
        return self.measure_plan(calls, self.lookup_tokens, self.parts)

    def plan_list(self, calls: int) -> List[float]:
        return self.measure_plan(calls, self.lookup_tokens.tolist(), self.parts.tolist())

    def fetch(self, calls: int) -> List[float]:
        rows = self.small
        rows.fetched[:] = 0
        plans = [self.plan_whole(rows, self.small_tokens) for _ in range(calls)]
        took, results = self.time(plans, lambda plan: self.client.fetch(plan, rows.target).wait())
        if any(result.missing for result in results):
            raise RuntimeError("planned rows did not come")
        self.check_rows(rows)
        return took

    def get(self, calls: int) -> List[float]:
        name, get = self.names[0], self.client.blobs.get
        into = [np.zeros_like(self.blob) for _ in range(calls)]
        took, answers = self.time(into, lambda one: get({name: one}))
        into[0][0] ^= self.flip
        self.check(answers == [{name: True}] * calls and all(np.array_equal(one, self.blob) for one in into), "a blob")
        return took

    def put(self, calls: int) -> List[float]:
        names = [f"python put {i}" for i in range(self.next_name, self.next_name + calls)]
        self.next_name += calls
        return self.time(names, lambda name: self.put_one(name, self.blob))[0]

    def measure_rows(self, rows: Rows, calls: int) -> Tuple[List[float], int]:
        tokens = [self.draw(rows) for _ in range(calls)]
        with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")  # the highest so far is what there is now
        before = resident("VmRSS")
        took, _ = self.time(tokens, lambda one: self.publish_whole(rows, one))
        extra = max(resident("VmHWM") - before, 0)
        rows.fetched[:] = 0
        self.client.fetch(self.plan_whole(rows, tokens[-1]), rows.target).wait()
        self.check_rows(rows)
        return took, extra

    def publish(self, calls: int) -> Tuple[List[float], int]:
        return self.measure_rows(self.small, calls)

    def publish_rows(self, calls: int) -> Tuple[List[float], int]:
        return self.measure_rows(self.large, calls)

    def read_view(self, name: str) -> int:
        view = self.client.blobs.view([name])[0]
        total = 0
        for piece in view.arrays:
            total += self.read_once(piece.ctypes.data, piece.nbytes)
        if not view.still_there():
            raise RuntimeError("a lease ended")
        return total & (1 << 64) - 1

    def view(self, calls: int) -> List[float]:
        names = [self.view_names[(self.next_view + i) % len(self.view_names)] for i in range(calls)]
        self.next_view += calls
        took, sums = self.time(names, self.read_view)
        expected = self.read_once(self.view_bytes.ctypes.data, self.view_bytes.nbytes) + self.flip
        self.check(sums == [expected] * calls, "a blob in place")
        return took


WORKS = ("find", "plan", "plan_list", "fetch", "get", "put", "publish", "view", "publish_rows")


def answer(request: Dict[str, Any], worker: List[Worker]) -> Dict[str, Any]:
    if request["do"] == "set_up":
        worker.append(Worker(request))
        return worker[0].about()
    if request["do"] not in WORKS:
        raise ValueError(f"the Python side cannot do {request['do']!r}")
    took = getattr(worker[0], request["do"])(request["calls"])
    if isinstance(took, tuple):
        return {"us": took[0], "extra_bytes": took[1]}
    return {"us": took}


def main() -> None:
    bench = socket.socket(socket.AF_UNIX)
    bench.connect(sys.argv[1])
    worker: List[Worker] = []
    with bench, bench.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            try:
                said = answer(json.loads(line), worker)
            except Exception as error:  # whatever it is: the bench tells it
                said = {"error": f"{type(error).__name__}: {error}", "wrong": isinstance(error, Wrong)}
            lines.write(json.dumps(said) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
