"""Cistern's client: share what inference workers compute while they read a prompt.

    client = cistern.connect("unix:/run/cistern/node.sock")
    model = cistern.Model.preset("deepseek-v3")
    cache = cistern.PagedCache(layers, block_table)        # torch, numpy, anything with DLPack

    plan = client.plan(model, tokens, reuse="content")
    result = await client.fetch(plan, cache)               # or .wait(), layer by layer: .wait_layer(i)
    ...                                                    # compute what result.delivered does not cover
    client.publish(model, tokens, cache, fetched=result)

Memory is described, never copied: arrays stay the caller's and are written to and read from in place, without the GIL.
Every call has a deadline in seconds; whatever it raises (cistern.errors), the worker computes.
Clients may be used by many threads at once, whatever comes from them by one at a time.
"""

from __future__ import annotations

import asyncio
import atexit as _atexit
import json as _json
import threading as _threading
import weakref as _weakref
from collections.abc import Mapping as _Mapping
from concurrent.futures import Future as _Future
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from . import _arguments, _native, errors
from ._arguments import Bytes as _Bytes, Count as _Count, Number as _Number, Range as _Range, Secret as _Secret
from ._native import BlobView, FetchResult, Model, PagedCache, Plan, Resume, Span, State
from .errors import *  # noqa: F401,F403

__version__ = _native.__version__
__all__ = [
    "BlobView",
    "Blobs",
    "Client",
    "Fetch",
    "FetchResult",
    "Model",
    "Node",
    "PagedCache",
    "Plan",
    "Publishing",
    "Resume",
    "Span",
    "State",
    "connect",
    "errors",
    *errors.__all__,
]

Name = Union[str, bytes]
Tokens = Any  # a sequence of ints, or a one-dimensional integer array
Arrays = Sequence[Any]  # one array for each layer


def _terms(
    name: str = "python",
    salt: bytes = b"",
    connect_timeout: float = 5.0,
    call_deadline: float = 5.0,
    publish_deadline: float = 30.0,
    want_mapping: bool = True,
    arithmetic: str = "fp32_table",
    prefill_tokens_per_second: float = 0.0,
    max_staging_bytes: int = 256 << 20,
    fetch_threads: int = 1,
) -> Any:
    try:
        return _native.Terms(
            name, salt, connect_timeout, call_deadline, publish_deadline, want_mapping, arithmetic,
            prefill_tokens_per_second, max_staging_bytes, fetch_threads)
    except TypeError as error:
        raise _arguments.named(error, {
            "name": (name, str), "salt": (salt, _Secret), "connect_timeout": (connect_timeout, _Number),
            "call_deadline": (call_deadline, _Number), "publish_deadline": (publish_deadline, _Number),
            "want_mapping": (want_mapping, bool), "arithmetic": (arithmetic, str),
            "prefill_tokens_per_second": (prefill_tokens_per_second, _Number),
            "max_staging_bytes": (max_staging_bytes, _Bytes), "fetch_threads": (fetch_threads, _Count)}) from None


def _interruptible(call: Callable[..., Any], *args: Any) -> Any:
    """`call` on a thread of its own where this is the thread that handles signals; a native call would keep them waiting."""
    if _threading.current_thread() is not _threading.main_thread():
        return call(*args)
    answer: "_Future[Any]" = _Future()

    def run() -> None:
        try:
            answer.set_result(call(*args))
        except BaseException as error:
            answer.set_exception(error)

    _threading.Thread(target=run, name="cistern connect").start()
    return answer.result()


def connect(address: str, **options: Any) -> "Client":
    """A client of the node at "unix:PATH" (same host: its memory is mapped) or "HOST:PORT".

    Options: name (for `cistern status`), salt (bytes; the tenant's), connect_timeout, call_deadline and publish_deadline
    (seconds), want_mapping, arithmetic ("fp32_table", "bf16_table", "bf16_per_op": how this worker turns k_r),
    prefill_tokens_per_second (what computing costs; 0: fetch whatever is stored), max_staging_bytes, fetch_threads.

    A node that is just starting, and does not listen yet, is waited for. Raises Unavailable when none answers within
    connect_timeout. The main thread handles signals meanwhile: Ctrl-C ends the wait. The attempt that is left ends by itself
    within connect_timeout; the interpreter not before it, unless one presses Ctrl-C again.
    """
    if not isinstance(address, str):
        raise TypeError(f"address is a {type(address).__name__}, not a str")
    return Client(_interruptible(_native.connect, address, _terms(**options)), name=address)


class Node:
    """A node inside this process, for one machine, tests and notebooks.

    Settings as in a cistern-server's configuration file: Node(pool_bytes="1GiB", disk_path="/var/tmp/cache").
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("pool_bytes", "256MiB")
        self._native = _native.Node(_json.dumps(settings))

    def connect(self, **options: Any) -> "Client":
        """A client of this node; options as for `connect`."""
        return Client(self._native.connect(_terms(**options)), self, "a node in this process")

    def stop(self) -> None:
        """Its clients answer Unavailable from then on."""
        self._native.stop()

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# What is under way when the interpreter ends is given up first: threads of the library must not call into it then.
_under_way: "_weakref.WeakSet[Fetch]" = _weakref.WeakSet()


@_atexit.register
def _give_up() -> None:
    for fetch in list(_under_way):
        fetch.close()
    _native.end_other_threads()


def _checked(cache: Any) -> PagedCache:
    if not isinstance(cache, PagedCache):
        raise errors.InvalidArgument(f"cache is a {type(cache).__name__}, not a cistern.PagedCache: PagedCache(layers, block_table)")
    return cache


def _count(tokens: Any) -> int:
    try:
        return len(tokens)
    except TypeError:
        raise errors.InvalidArgument(f"tokens is a {type(tokens).__name__}, not a sequence or an array of integers") from None


def _by_name(blobs: Any) -> Dict[Name, Any]:
    if not isinstance(blobs, _Mapping):
        raise errors.InvalidArgument(f"blobs is a {type(blobs).__name__}, not a mapping {{name: array}}")
    return dict(blobs)


def _sharing(model: Any, fetched: Any, range: Any) -> Dict[str, Any]:  # what publish and publishing are given
    return {"model": (model, Model), "fetched": (fetched, (FetchResult, type(None))), "range": (range, _Range)}


class Fetch:
    """A fetch under way. Waited for with `wait`, `await`, or layer by layer; leaving its `with` cancels it.

    Once it is closed or collected, or an `await` of it was cancelled, nothing is written to the cache any more. on_layer must
    not wait for its own fetch: FailedPrecondition.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        _under_way.add(self)

    def wait(self) -> FetchResult:
        """Until all is there, or known to be missing."""
        return self._native.wait()

    def wait_layer(self, layer: int) -> None:
        """Until the rows of `layer` are in place, or it is known which are not (`missing`)."""
        self._native.wait_layer(layer)

    @property
    def missing(self) -> List[Tuple[int, int]]:
        """[(begin, end)] of tokens that are known not to come: compute them. It only grows."""
        return self._native.missing

    def cancel(self) -> None:
        self._native.cancel()

    def close(self) -> None:
        self._native.close()

    async def _wait_in_thread(self, wait: Any, *args: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, wait, *args)
        except asyncio.CancelledError:
            self.close()
            raise

    def __await__(self) -> Any:
        return self._wait_in_thread(self.wait).__await__()

    async def layers(self, count: int) -> Any:
        """`async for layer in fetch.layers(model.num_layers)`: each layer as it comes."""
        for layer in range(count):
            await self._wait_in_thread(self.wait_layer, layer)
            yield layer

    def __enter__(self) -> "Fetch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Publishing:
    """A publish that goes along with the computation. Leaving its `with` finishes it, or, after an exception, gives it up.

    `report` is there after that.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self.report: Optional[Dict[str, int]] = None

    def layer_done(self, layer: int) -> None:
        """The cache has its rows of every layer up to this one; they stay as they are until `finish`."""
        self._native.layer_done(layer)

    def finish(self) -> Dict[str, int]:
        """Waits for the node."""
        self.report = self._native.finish()
        return self.report

    def close(self) -> None:
        """Gives up what is not complete."""
        self._native.close()

    def __enter__(self) -> "Publishing":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None and self.report is None:
                self.finish()
        finally:
            self.close()


class Blobs:
    """Bytes by name (str or bytes): what an engine lays out itself, such as the KV pages of a model without MLA.

    The first bytes under a name stay; names follow from all that the bytes depend on.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def find(self, names: Iterable[Name], deadline: float = 5.0) -> List[int]:
        """The size of each in bytes; 0: it is not stored."""
        try:
            return _native.blobs_find(self._client, names, deadline)
        except TypeError as error:
            raise _arguments.named(error, {"deadline": (deadline, _Number)}) from None

    def put(self, blobs: Mapping[Name, Any], deadline: float = 30.0) -> Dict[Name, str]:
        """Stores arrays or buffers. Of each: "stored", "had" or "dropped" (no room)."""
        try:
            return _native.blobs_put(self._client, _by_name(blobs), deadline)
        except TypeError as error:
            raise _arguments.named(error, {"deadline": (deadline, _Number)}) from None

    def get(self, blobs: Mapping[Name, Any], deadline: float = 30.0) -> Dict[Name, bool]:
        """Fills arrays or buffers. Of each: whether it was stored. InvalidArgument: one has another size than its blob."""
        try:
            return _native.blobs_get(self._client, _by_name(blobs), deadline)
        except TypeError as error:
            raise _arguments.named(error, {"deadline": (deadline, _Number)}) from None

    def view(self, names: Iterable[Name], deadline: float = 30.0) -> List[Optional[BlobView]]:
        """Reads in place; None: not stored. FailedPrecondition: the node's memory is not mapped here."""
        try:
            return _native.blobs_view(self._client, names, deadline)
        except TypeError as error:
            raise _arguments.named(error, {"deadline": (deadline, _Number)}) from None

    def pin(self, names: Iterable[Name], pinned: bool = True, deadline: float = 5.0) -> int:
        """Keeps blobs from eviction, or no longer. Answers how many of the names are stored. PermissionDenied: from other
        hosts only where the node has --admin_over_network."""
        try:
            return _native.blobs_pin(self._client, names, pinned, deadline)
        except TypeError as error:
            raise _arguments.named(error, {"pinned": (pinned, bool), "deadline": (deadline, _Number)}) from None


class Client:
    """A session with a node, reconnected in the background when it dies. Made by `connect` or `Node.connect`."""

    def __init__(self, native: Any, node: Optional[Node] = None, name: str = "") -> None:
        self._native = native
        self._name = name
        self._node = node  # a node of this process lives as long as its clients
        self.blobs = Blobs(native)

    def plan(
        self,
        model: Model,
        tokens: Tokens,
        *,
        parts: Optional[Tokens] = None,
        reuse: str = "exact",
        recompute_head: int = 0,
        sink_tokens: int = 32,
        min_span_tokens: int = 16,
        partial_segments: bool = True,
        compute_last_token: bool = True,
        deadline: float = 0.5,
    ) -> Plan:
        """What can be reused of a prompt.

        parts: offsets where messages, tool results or documents begin, if known. reuse: "exact" (rows that were computed
        behind the very same tokens), "content" (also the same text from elsewhere, moved: an approximation in deeper
        layers) or "none". recompute_head: tokens at the head of each content span that are computed afresh. deadline: in
        seconds; a node that does not answer in time is no error: the plan computes everything, and its `timed_out` tells
        it from that of a cache which has nothing.
        """
        try:
            return self._native.plan(
                model, tokens, parts, reuse, recompute_head, sink_tokens, min_span_tokens, partial_segments,
                compute_last_token, deadline)
        except TypeError as error:
            raise _arguments.named(error, {
                "model": (model, Model), "reuse": (reuse, str), "recompute_head": (recompute_head, _Count),
                "sink_tokens": (sink_tokens, _Count), "min_span_tokens": (min_span_tokens, _Count),
                "partial_segments": (partial_segments, bool), "compute_last_token": (compute_last_token, bool),
                "deadline": (deadline, _Number)}) from None

    def fetch(
        self,
        plan: Plan,
        cache: PagedCache,
        *,
        on_layer: Optional[Callable[[int], None]] = None,
        pre_rope: Optional[Arrays] = None,
        pre_rope_everywhere: bool = False,
        state: Optional[State] = None,
        decay: Optional[Arrays] = None,
        deadline: float = 30.0,
    ) -> Fetch:
        """Brings the planned rows into `cache`; uses the plan up, unless it raises: a refused plan can be fetched again.

        on_layer(layer): once per layer, in order, from a thread of the library's or of whoever waits. pre_rope: one array
        [tokens, rotary dim] for each layer, where k_r before RoPE goes as well: beside computed tokens, so that chunks can be
        shared whole, or everywhere, for a worker that turns it by its own operation (Span.pre_rope says where). state, decay: of a hybrid model, where the
        state of plan.resume goes, and what folding needs.
        """
        try:
            return Fetch(_native.Fetch(plan, _checked(cache), on_layer, pre_rope, pre_rope_everywhere, state, decay, deadline))
        except TypeError as error:
            raise _arguments.named(error, {
                "plan": (plan, Plan), "state": (state, (State, type(None))), "pre_rope_everywhere": (pre_rope_everywhere, bool), "deadline": (deadline, _Number)}) from None

    def publish(
        self,
        model: Model,
        tokens: Tokens,
        cache: PagedCache,
        *,
        fetched: Optional[FetchResult] = None,
        range: Optional[Tuple[int, int]] = None,
        pre_rope: Optional[Arrays] = None,
        parts: Optional[Tokens] = None,
    ) -> Dict[str, int]:
        """Shares rows that were computed; what was fetched, and what the node has, is not sent again. Arrays are only read.

        fetched: what brought the other rows. Without it all rows count as computed from the first token on: after a content
        fetch, whose rows are an approximation, that would be shared as exact.

        range: of tokens; all by default. pre_rope: k_r before RoPE, one array [tokens, rotary dim] for each layer: such rows
        serve every position bit for bit. parts: as given to `plan`.
        """
        range = (0, _count(tokens)) if range is None else range
        try:
            return _native.publish(
                self._native, model, tokens, fetched or FetchResult(), _checked(cache), range, pre_rope, parts)
        except TypeError as error:
            raise _arguments.named(error, _sharing(model, fetched, range)) from None

    def publishing(
        self,
        model: Model,
        tokens: Tokens,
        cache: PagedCache,
        *,
        fetched: Optional[FetchResult] = None,
        range: Optional[Tuple[int, int]] = None,
        pre_rope: Optional[Arrays] = None,
        parts: Optional[Tokens] = None,
    ) -> Publishing:
        """The same, layer by layer while they are computed: `with client.publishing(...) as p: ... p.layer_done(i)`."""
        range = (0, _count(tokens)) if range is None else range
        try:
            return Publishing(_native.Publishing(
                self._native, model, tokens, fetched or FetchResult(), _checked(cache), range, pre_rope, parts))
        except TypeError as error:
            raise _arguments.named(error, _sharing(model, fetched, range)) from None

    def publish_states(
        self,
        model: Model,
        tokens: Tokens,
        points: Mapping[int, State],
        *,
        fetched: Optional[FetchResult] = None,
        log: Optional[Sequence[Arrays]] = None,
        log_range: Tuple[int, int] = (0, 0),
        conv_rows: Optional[Arrays] = None,
        max_chain_tokens: int = 0,
        tails_at_every_token: bool = False,
        parts: Optional[Tokens] = None,
    ) -> Dict[str, int]:
        """Shares states of a hybrid model: {position: State}, at plan.wanted_states and at the end of the call.

        log: what the state layers were fed with, tokens log_range of the sequence: for each input (model.input_bytes) one
        array [tokens, ...] for each state layer. Where a log leads to a point and is smaller, it is stored instead.
        """
        if not isinstance(points, _Mapping):
            raise errors.InvalidArgument(f"points is a {type(points).__name__}, not a mapping {{position: cistern.State}}")
        try:
            return _native.publish_states(
                self._native, model, tokens, fetched or FetchResult(), dict(points), log, conv_rows, log_range,
                max_chain_tokens, tails_at_every_token, parts)
        except TypeError as error:
            raise _arguments.named(error, {
                **_sharing(model, fetched, (0, 0)), "log_range": (log_range, _Range),
                "max_chain_tokens": (max_chain_tokens, _Count), "tails_at_every_token": (tails_at_every_token, bool)}) from None

    def stats(self) -> Dict[str, int]:
        """Counts since the client was made."""
        return self._native.stats()

    def close(self) -> None:
        """What came from it goes on until it is dropped."""
        self._native.close()

    def __repr__(self) -> str:
        return f"<cistern.Client of {self._name}{', closed' if self._native.closed else ''}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
