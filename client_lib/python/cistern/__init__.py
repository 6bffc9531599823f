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
import weakref as _weakref
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native, errors
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
    return _native.Terms(
        name, salt, connect_timeout, call_deadline, publish_deadline, want_mapping, arithmetic,
        prefill_tokens_per_second, max_staging_bytes, fetch_threads)


def connect(address: str, **options: Any) -> "Client":
    """A client of the node at "unix:PATH" (same host: its memory is mapped) or "HOST:PORT".

    Options: name (for `cistern status`), salt (bytes; the tenant's), connect_timeout, call_deadline and publish_deadline
    (seconds), want_mapping, arithmetic ("fp32_table", "bf16_table", "bf16_per_op": how this worker turns k_r),
    prefill_tokens_per_second (what computing costs; 0: fetch whatever is stored), max_staging_bytes, fetch_threads.

    Raises Unavailable when no node answers within connect_timeout.
    """
    return Client(_native.connect(address, _terms(**options)))


class Node:
    """A node inside this process, for one machine, tests and notebooks.

    Settings as in a cistern-server's configuration file: Node(pool_bytes="1GiB", disk_path="/var/tmp/cache").
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("pool_bytes", "256MiB")
        self._native = _native.Node(_json.dumps(settings))

    def connect(self, **options: Any) -> "Client":
        """A client of this node; options as for `connect`."""
        return Client(self._native.connect(_terms(**options)), self)

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


def _checked(cache: Any) -> PagedCache:
    if not isinstance(cache, PagedCache):
        raise errors.InvalidArgument(f"cache is a {type(cache).__name__}, not a cistern.PagedCache: PagedCache(layers, block_table)")
    return cache


class Fetch:
    """A fetch under way. Waited for with `wait`, `await`, or layer by layer; leaving its `with` cancels it.

    Once it is closed or collected, or an `await` of it was cancelled, nothing is written to the cache any more. on_layer must
    not wait for its own fetch.
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
        return _native.blobs_find(self._client, names, deadline)

    def put(self, blobs: Mapping[Name, Any], deadline: float = 30.0) -> Dict[Name, str]:
        """Stores arrays or buffers. Of each: "stored", "had" or "dropped" (no room)."""
        return _native.blobs_put(self._client, dict(blobs), deadline)

    def get(self, blobs: Mapping[Name, Any], deadline: float = 30.0) -> Dict[Name, bool]:
        """Fills arrays or buffers. Of each: whether it was stored. InvalidArgument: one has another size than its blob."""
        return _native.blobs_get(self._client, dict(blobs), deadline)

    def view(self, names: Iterable[Name], deadline: float = 30.0) -> List[Optional[BlobView]]:
        """Reads in place; None: not stored. FailedPrecondition: the node's memory is not mapped here."""
        return _native.blobs_view(self._client, names, deadline)

    def pin(self, names: Iterable[Name], pinned: bool = True, deadline: float = 5.0) -> int:
        """Keeps blobs from eviction, or no longer. Answers how many of the names are stored. PermissionDenied: from other
        hosts only where the node has --admin_over_network."""
        return _native.blobs_pin(self._client, names, pinned, deadline)


class Client:
    """A session with a node, reconnected in the background when it dies. Made by `connect` or `Node.connect`."""

    def __init__(self, native: Any, node: Optional[Node] = None) -> None:
        self._native = native
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
        seconds; a node that does not answer in time is no error: the plan computes everything.
        """
        return self._native.plan(
            model, tokens, parts, reuse, recompute_head, sink_tokens, min_span_tokens, partial_segments,
            compute_last_token, deadline)

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
        """Brings the planned rows into `cache`; uses the plan up.

        on_layer(layer): once per layer, in order, from a thread of the library's or of whoever waits. pre_rope: one array
        [tokens, rotary dim] for each layer, where k_r before RoPE goes as well: beside computed tokens, so that chunks can be
        shared whole, or everywhere, for a worker that turns it by its own operation (Span.pre_rope says where). state, decay: of a hybrid model, where the
        state of plan.resume goes, and what folding needs.
        """
        return Fetch(_native.Fetch(plan, _checked(cache), on_layer, pre_rope, pre_rope_everywhere, state, decay, deadline))

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
        """Shares rows that were computed; what was fetched, and what the node has, is not sent again.

        range: of tokens; all by default. pre_rope: k_r before RoPE, one array [tokens, rotary dim] for each layer: such rows
        serve every position bit for bit. parts: as given to `plan`.
        """
        return _native.publish(
            self._native, model, tokens, fetched or FetchResult(), _checked(cache), range or (0, len(tokens)), pre_rope, parts)

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
        return Publishing(_native.Publishing(
            self._native, model, tokens, fetched or FetchResult(), _checked(cache), range or (0, len(tokens)), pre_rope, parts))

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
        return _native.publish_states(
            self._native, model, tokens, fetched or FetchResult(), dict(points), log, conv_rows, log_range,
            max_chain_tokens, tails_at_every_token, parts)

    def stats(self) -> Dict[str, int]:
        """Counts since the client was made."""
        return self._native.stats()

    def close(self) -> None:
        """What came from it goes on until it is dropped."""
        self._native.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
