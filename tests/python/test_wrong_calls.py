"""Calls that cannot be right: what is refused, in whose name, and what stays as it was."""

import os
import signal
import threading

import numpy as np
import pytest

import cistern
from conftest import LAYERS, Worker, publish, some_tokens


def test_wrong_caches_are_named(client, model):
    memory = np.zeros((LAYERS, 4, 16, 576), np.uint16)
    with pytest.raises(cistern.InvalidArgument, match="names block 4 of 4"):
        cistern.PagedCache(memory, [0, 4])
    with pytest.raises(cistern.InvalidArgument, match="densely"):
        cistern.PagedCache(memory[..., ::2], [0])
    with pytest.raises(cistern.InvalidArgument, match="same shape"):
        cistern.PagedCache([memory[0], memory[1, :2]], [0])
    tokens = some_tokens(60)
    plan = client.plan(model, tokens, deadline=20)
    with pytest.raises(ValueError, match="2 layers, the model 3"):
        client.fetch(plan, cistern.PagedCache(memory[:2], range(4)))
    client.fetch(plan, cistern.PagedCache(memory, range(4))).wait()
    with pytest.raises(ValueError, match="rows of 512 bytes, the model 1152"):
        client.publish(model, tokens, cistern.PagedCache(np.zeros((LAYERS, 4, 16, 512), np.uint8), range(4)))


def test_a_refused_fetch_leaves_its_plan(client, model):
    tokens = some_tokens(300)
    publish(client, model, tokens)
    plan = client.plan(model, tokens, deadline=20)
    worker = Worker(model, 300)
    short = cistern.PagedCache(worker.memory, worker.table[:3])
    for wrong, options, says in ((short, {}, "block table"), (worker.cache, {"on_layer": 3}, "on_layer is not callable"),
                                 (worker.cache, {"deadline": 0}, "deadline is 0"),
                                 (worker.cache, {"pre_rope": [np.zeros((3, 64), np.uint16)] * LAYERS}, "entries"),
                                 (worker.cache, {"pre_rope": 7}, "pre_rope is a int, not a sequence")):
        with pytest.raises(cistern.InvalidArgument, match=says):
            client.fetch(plan, wrong, **options)
    assert repr(plan) == "<cistern.Plan of 300 tokens: 299 exact, 0 by content, 1 to compute>"
    result = client.fetch(plan, worker.cache).wait()
    assert worker.holds(tokens, 0, 299)
    assert repr(plan) == "<cistern.Plan, used up>"
    assert repr(result) == "<cistern.FetchResult: 299 tokens delivered, 0 missing>"
    with pytest.raises(cistern.FailedPrecondition, match="used this plan up"):
        client.fetch(plan, worker.cache)


@pytest.mark.parametrize("argument", ["pre_rope", "decay", "state"])
def test_a_plan_that_is_closed_while_arrays_are_read(client, model, argument):
    """Reading a sequence runs its code."""
    model = cistern.Model.preset("qwen3-next", layers=1) if argument == "state" else model
    tokens = some_tokens(100)
    worker = Worker(model, 100)
    plan = client.plan(model, tokens, deadline=20)

    def closing(arrays):
        plan.close()
        yield from arrays

    def each(count, size):
        return [np.zeros(size, np.uint8)] * count

    given = {"pre_rope": lambda: closing(each(LAYERS, (100, model.rotary_bytes))),
             "decay": lambda: closing([]),
             "state": lambda: cistern.State(closing(each(model.state_layers, model.temporal_bytes)),
                                            each(model.state_layers, model.conv_bytes))}[argument]()
    with pytest.raises(cistern.FailedPrecondition, match="used this plan up"):
        client.fetch(plan, worker.cache, **{argument: given})


def test_tokens_that_grow_while_arrays_are_read(client, model):
    """k_r before RoPE has a row for each of the tokens that are shared, not of those that were there before."""
    grown = [int(token) for token in some_tokens(400)]
    worker = Worker(model, 400)
    for call in (client.publish, client.publishing):
        tokens = grown[:100]

        def growing():
            tokens.extend(grown[100:])
            yield from [np.zeros((100, model.rotary_bytes // 2), np.uint16)] * LAYERS

        with pytest.raises(cistern.InvalidArgument, match="range"):
            call(model, tokens, worker.cache, range=(0, 400), pre_rope=growing())


@pytest.mark.filterwarnings("ignore:nanobind")
def test_what_was_never_made_is_refused(client, model):
    """T.__new__(T) makes an object without what T is about."""
    tokens = some_tokens(60)
    plan, worker = client.plan(model, tokens, deadline=20), Worker(model, 60)
    none = {cls: cls.__new__(cls) for cls in (cistern.BlobView, cistern.PagedCache, cistern.Plan, cistern.State, cistern.Model)}
    calls = (lambda: memoryview(none[cistern.BlobView]), lambda: len(none[cistern.BlobView]), lambda: bytes(none[cistern.BlobView]),
             lambda: np.frombuffer(none[cistern.BlobView], np.uint8), lambda: none[cistern.BlobView].arrays,
             lambda: client.fetch(none[cistern.Plan], worker.cache), lambda: client.fetch(plan, none[cistern.PagedCache]),
             lambda: client.fetch(plan, worker.cache, state=none[cistern.State]), lambda: client.plan(none[cistern.Model], tokens),
             lambda: client.publish(model, tokens, none[cistern.PagedCache]))
    for call in calls:
        with pytest.raises((TypeError, BufferError, RuntimeError)):
            call()
    client.fetch(plan, worker.cache).wait()


@pytest.mark.parametrize("mapped", [True, False])
def test_on_layer_that_waits_for_its_own_fetch(node, model, mapped):
    with node.connect(want_mapping=mapped) as client:
        tokens = some_tokens(500)
        publish(client, model, tokens)
        worker = Worker(model, 500)
        known, said = threading.Event(), []

        def on_layer(layer):
            known.wait(20)
            for wait in (fetch.wait, lambda: fetch.wait_layer(LAYERS - 1)):
                try:
                    wait()
                except cistern.FailedPrecondition as error:
                    said.append(str(error))

        fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache, on_layer=on_layer)
        known.set()
        assert fetch.wait().missing == []
        assert said == ["on_layer must not wait for its own fetch"] * (2 * LAYERS)
        assert fetch.wait().missing == [], "outside of it one may"


def test_read_only_arrays_are_published_and_not_fetched_into(client, model):
    tokens = some_tokens(300)
    worker = Worker(model, 300)
    worker.prefill(tokens)
    worker.memory.flags.writeable = False
    pre_rope = [np.zeros((300, model.rotary_bytes // 2), np.uint16) for _ in range(LAYERS)]
    for layer in pre_rope:
        layer.flags.writeable = False
    cache = cistern.PagedCache(worker.memory, worker.table)
    assert client.publish(model, tokens, cache)["segments"] > 0
    plan = client.plan(model, tokens, deadline=20)
    with pytest.raises(cistern.InvalidArgument, match="read-only memory: it can be published only"):
        client.fetch(plan, cache)
    other = Worker(model, 300)
    with pytest.raises(cistern.InvalidArgument, match=r"pre_rope\[0\] is not writable"):
        client.fetch(plan, other.cache, pre_rope=pre_rope)
    client.fetch(plan, other.cache).wait()
    assert other.holds(tokens, 0, 299)
    more = some_tokens(300, 2)
    assert client.publish(model, more, cache, pre_rope=pre_rope)["segments"] > 0


def test_a_cache_is_its_arrays_memory(model):
    memory = np.zeros((LAYERS, 4, 16, 576), np.uint16)
    one, each = cistern.PagedCache(memory, [0, 1]), cistern.PagedCache(list(memory), [0, 1])
    assert one.layer_pointers == each.layer_pointers == [layer.ctypes.data for layer in memory]
    assert repr(one) == "<cistern.PagedCache: 3 layers, 2 blocks of 16 tokens, rows of 1152 bytes>"


def test_elements_that_contradict_the_rows(client, model):
    tokens = some_tokens(60)
    shape = (LAYERS, 4, 16, 576)
    for same in (np.zeros(shape, np.uint16), np.zeros(shape, np.int16), np.zeros(shape[:3] + (1152,), np.uint8),
                 np.zeros(shape[:3] + (288,), np.int32), np.zeros(shape[:3] + (1152,), np.bool_)):
        client.publish(model, tokens, cistern.PagedCache(same, range(4)))
    for other in (np.zeros(shape, np.float16), np.zeros(shape[:3] + (288,), np.float32)):
        cache = cistern.PagedCache(other, range(4))
        for call in (lambda: client.publish(model, tokens, cache), lambda: client.publishing(model, tokens, cache),
                     lambda: client.fetch(client.plan(model, tokens, deadline=20), cache)):
            with pytest.raises(cistern.InvalidArgument, match="the cache holds float(16|32), the model's rows are bf16_576"):
                call()
    right = cistern.PagedCache(np.zeros(shape, np.uint16), range(4))
    with pytest.raises(cistern.InvalidArgument, match="pre_rope holds float16, k_r is bfloat16"):
        client.publish(model, tokens, right, pre_rope=[np.zeros((60, 64), np.float16)] * LAYERS)


def test_a_plan_says_that_the_node_was_too_slow(server, model):
    address, process = server
    tokens = some_tokens(300)
    with cistern.connect(address) as client:
        publish(client, model, tokens)
        assert not client.plan(model, tokens, deadline=20).timed_out
        assert not client.plan(model, some_tokens(300, 2), deadline=20).timed_out, "cold, and answered"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # all its threads have stopped
        try:
            plan = client.plan(model, tokens, deadline=0.05)
        finally:
            process.send_signal(signal.SIGCONT)
        assert plan.timed_out and plan.exact_tokens == 0
        assert "did not answer in time" in repr(plan)


def test_wrong_types_are_named(client, model):
    tokens = some_tokens(60)
    worker = Worker(model, 60)
    for call, says in ((lambda: client.plan("model", tokens), "model is a str 'model', not a cistern.Model"),
                       (lambda: client.plan(model, tokens, recompute_head=-1), "recompute_head is a int -1, not an integer from 0"),
                       (lambda: client.plan(model, tokens, reuse=3), "reuse is a int 3, not a str"),
                       (lambda: client.plan(model, tokens, deadline=None), "deadline is a NoneType, not a number"),
                       (lambda: client.fetch(None, worker.cache), "plan is a NoneType, not a cistern.Plan"),
                       (lambda: client.fetch(client.plan(model, tokens), worker.cache, state=3), "state is a int 3, not a cistern.State"),
                       (lambda: client.publish("m", tokens, worker.cache), "model is a str 'm', not a cistern.Model"),
                       (lambda: client.publish(model, tokens, worker.cache, range=5), r"range is a int 5, not a pair \(begin, end\)"),
                       (lambda: client.publish(model, tokens, worker.cache, fetched={1: 2}), "fetched is a dict, not a cistern.FetchResult"),
                       (lambda: client.publishing(model, tokens, worker.cache, range=(0, -1)), "range is a tuple, not a pair"),
                       (lambda: client.publish_states(model, tokens, {}, log_range=3), "log_range is a int 3")):
        with pytest.raises(TypeError, match=says):
            call()
    for call, says in ((lambda: client.plan(model, 5), "tokens is a int, not a sequence"),
                       (lambda: client.plan(model, tokens, parts=5), "parts is a int, not a sequence"),
                       (lambda: client.publish(model, 5, worker.cache), "tokens is a int, not a sequence"),
                       (lambda: client.publish(model, tokens, worker.cache, pre_rope=5), "pre_rope is a int, not a sequence"),
                       (lambda: client.publish_states(model, tokens, 5), "points is a int, not a mapping"),
                       (lambda: client.publish_states(model, tokens, {3: 5}), "points: {position: cistern.State} is wanted"),
                       (lambda: cistern.PagedCache(["a"], [0]), r"layers\[0\] is a str, not an array")):
        with pytest.raises(cistern.InvalidArgument, match=says):
            call()


@pytest.mark.parametrize("deadline", [0, -1.5, float("nan")])
def test_a_deadline_is_positive(node, client, model, deadline):
    tokens = some_tokens(60)
    with pytest.raises(cistern.InvalidArgument, match="deadline is .*: a positive number"):
        client.plan(model, tokens, deadline=deadline)
    for name in ("connect_timeout", "call_deadline", "publish_deadline"):
        with pytest.raises(cistern.InvalidArgument, match=name + " is .*: a positive number"):
            node.connect(**{name: deadline})
