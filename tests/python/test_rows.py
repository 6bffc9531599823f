"""Plan, fetch, publish: rows that come back are the rows that were shared."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import cistern
from conftest import LAYERS, Worker, some_tokens


def publish(client, model, tokens, **options):
    worker = Worker(model, len(tokens))
    worker.prefill(tokens)
    return client.publish(model, tokens, worker.cache, **options)


def test_what_was_published_is_fetched(client, model):
    tokens = some_tokens(700)
    report = publish(client, model, tokens)
    assert report["segments"] > 0 and report["segments_dropped"] == 0
    assert report["bytes"] == 700 * LAYERS * model.row_bytes

    plan = client.plan(model, tokens, deadline=20)
    assert plan.exact_tokens == 699 and plan.compute_tokens == 1, "the last token is computed"
    assert plan.spans[0].kind == "exact" and plan.spans[-1].kind == "compute"
    worker = Worker(model, 700)
    result = client.fetch(plan, worker.cache).wait()
    assert result.missing == [] and result.approximate_from is None
    assert result.bytes_memory == result.mapped_bytes > 0
    assert worker.holds(tokens, 0, 699)
    worker.prefill(tokens, 699)
    assert client.publish(model, tokens, worker.cache, fetched=result)["segments_dropped"] == 0
    assert client.stats()["fetches"] == 1


def test_shifted_text_is_reused_by_content(client, model):
    text, header = some_tokens(600, 1), some_tokens(100, 2)
    publish(client, model, text, parts=[0])
    prompt = np.concatenate([header, text])
    plan = client.plan(model, prompt, parts=[0, 100], reuse="content", deadline=20)
    assert plan.content_tokens > 500
    assert {span.kind for span in plan.spans} == {"compute", "content"}
    worker = Worker(model, len(prompt))
    result = client.fetch(plan, worker.cache).wait()
    span = result.delivered[0]
    # The latent part comes as it was; k_r, the last 64 elements, has been turned.
    latent = worker.rows(0)[span.begin:span.end, :512]
    assert np.array_equal(latent[:, 0], ((prompt[span.begin:span.end].astype(np.int64) * 31) % 65521).astype(np.uint16))


def test_layer_by_layer(client, model):
    tokens = some_tokens(500)
    worker = Worker(model, 500)
    with client.publishing(model, tokens, worker.cache) as publishing:
        worker.prefill(tokens)
        for layer in range(LAYERS):
            publishing.layer_done(layer)
    assert publishing.report["segments"] > 0

    seen = []
    other = Worker(model, 500)
    fetch = client.fetch(client.plan(model, tokens, deadline=20), other.cache, on_layer=seen.append)
    for layer in range(LAYERS):
        fetch.wait_layer(layer)
        assert np.array_equal(other.rows(layer)[:499], worker.rows(layer)[:499])
    assert fetch.missing == []
    fetch.wait()
    assert seen == list(range(LAYERS))


def test_an_unfinished_publish_shares_nothing(client, model):
    tokens = some_tokens(500)
    worker = Worker(model, 500)
    with pytest.raises(KeyError):
        with client.publishing(model, tokens, worker.cache) as publishing:
            publishing.layer_done(0)
            raise KeyError("the worker failed")
    assert publishing.report is None
    assert client.plan(model, tokens, deadline=20).exact_tokens == 0


def test_await(client, model):
    tokens = some_tokens(500)
    publish(client, model, tokens)

    async def turn():
        worker = Worker(model, 500)
        fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache)
        layers = [layer async for layer in fetch.layers(LAYERS)]
        result = await fetch
        return layers, result.missing, worker.holds(tokens, 0, 499)

    async def turns():
        return await asyncio.gather(*(turn() for _ in range(4)))

    assert asyncio.run(turns()) == [(list(range(LAYERS)), [], True)] * 4


def test_exceptions_in_on_layer_reach_who_waits(client, model):
    tokens = some_tokens(500)
    publish(client, model, tokens)

    def fail(layer):
        raise KeyError(layer)

    worker = Worker(model, 500)
    fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache, on_layer=fail)
    with pytest.raises(KeyError) as raised:
        fetch.wait()
    assert raised.value.args == (0,)
    assert fetch.wait().missing == [], "said once; the rows have come"


def test_arrays_live_as_long_as_a_fetch(client, model):
    tokens = some_tokens(500)
    publish(client, model, tokens)
    worker = Worker(model, 500)
    memory = weakref.ref(worker.memory)
    fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache)
    del worker
    gc.collect()
    assert memory() is not None
    fetch.wait()
    assert memory()[:].any()
    del fetch
    gc.collect()
    assert memory() is None


def test_a_fetch_ends_while_its_callback_waits_for_the_interpreter(node, model):
    """By copy a thread of the library's calls on_layer; closing waits for that thread, and must not keep it from Python."""
    with node.connect(want_mapping=False) as client:
        tokens = some_tokens(2000)
        publish(client, model, tokens)
        calls = []
        for _ in range(20):
            worker = Worker(model, 2000)
            reached = threading.Event()

            def on_layer(layer):
                calls.append(layer)
                reached.set()
                time.sleep(0.002)

            fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache, on_layer=on_layer)
            assert reached.wait(20)
            fetch.close()
            told = len(calls)
            time.sleep(0.003)
            assert len(calls) == told, "nothing is called any more"
        assert calls.count(0) == 20


def test_pre_rope_serves_every_position(client, model):
    text, header = some_tokens(400, 1), some_tokens(64, 2)
    pre_rope = [np.zeros((400, model.rotary_bytes // 2), np.uint16) for _ in range(LAYERS)]
    for layer in pre_rope:
        layer[:] = text[:, None] % 65521
    publish(client, model, text, pre_rope=pre_rope)
    worker = Worker(model, 464)
    delivered = [np.zeros((464, model.rotary_bytes // 2), np.uint16) for _ in range(LAYERS)]
    prompt = np.concatenate([header, text])
    plan = client.plan(model, prompt, parts=[0, 64], reuse="content", deadline=20)
    result = client.fetch(plan, worker.cache, pre_rope=delivered, pre_rope_everywhere=True).wait()
    assert sum(span.end - span.begin for span in result.delivered) > 300
    for span in result.delivered:
        assert span.pre_rope
        for layer in delivered:
            assert np.array_equal(layer[span.begin:span.end, 0], prompt[span.begin:span.end] % 65521)


def test_k_r_before_rope_has_a_row_for_each_token(client, model):
    tokens = some_tokens(200)
    worker = Worker(model, 200)
    width = model.rotary_bytes // 2
    for wrong, says in ((np.zeros((199, width), np.uint16), "199 entries for 200 tokens"),
                        (np.zeros((200, width + 1), np.uint16), "entries of 130 bytes, the model 128"),
                        (np.zeros((200, width, 2), np.uint16)[..., 0], "densely"),
                        (np.broadcast_to(np.zeros((1, width), np.uint16), (200, width)), "overlap")):
        with pytest.raises(cistern.InvalidArgument, match=says):
            client.publish(model, tokens, worker.cache, pre_rope=[wrong] * LAYERS)
        with pytest.raises(cistern.InvalidArgument, match=says):
            client.fetch(client.plan(model, tokens, deadline=20), worker.cache, pre_rope=[wrong] * LAYERS)


def test_a_fetch_that_is_given_up_while_it_is_awaited(node, model):
    """The thread that waits goes on with its handle; nothing is written any more."""
    tokens = some_tokens(2000)
    with node.connect() as client:
        publish(client, model, tokens)

    async def turn(client):
        with client.fetch(client.plan(model, tokens, deadline=20), Worker(model, 2000).cache,
                          on_layer=lambda layer: time.sleep(0.05)) as fetch:
            await asyncio.wait_for(fetch, 0.02)

    for mapped in (True, False):
        with node.connect(want_mapping=mapped) as client:
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    asyncio.run(turn(client))
            fetch = client.fetch(client.plan(model, tokens, deadline=20), Worker(model, 2000).cache)
            fetch.close()
            with pytest.raises(cistern.FailedPrecondition, match="this fetch is closed"):
                fetch.wait()


def test_nothing_is_written_after_a_cancelled_await(node, model):
    tokens = some_tokens(3000)
    with node.connect() as client:
        publish(client, model, tokens)
        worker = Worker(model, 3000)

        async def turn():
            fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache,
                                 on_layer=lambda layer: time.sleep(0.05))
            await asyncio.wait_for(fetch, 0.02)

        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(turn())
        worker.memory[:] = 0
        time.sleep(0.3)
        assert not worker.memory.any()


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


def test_a_publish_that_lacks_layers_is_given_up(client, model):
    tokens = some_tokens(500)
    worker = Worker(model, 500)
    with pytest.raises(cistern.FailedPrecondition):
        with client.publishing(model, tokens, worker.cache) as publishing:
            publishing.layer_done(0)
    with pytest.raises(cistern.FailedPrecondition, match="closed"):
        publishing.layer_done(1)
    with pytest.raises(cistern.InvalidArgument, match="ndarray, not a cistern.PagedCache"):
        client.publish(model, tokens, worker.memory)


def test_a_client_that_is_closed_under_a_call(node):
    for _ in range(5):
        client = node.connect()
        blobs = {f"blob {i}": np.zeros(1 << 20, np.uint8) for i in range(30)}
        said = []
        call = threading.Thread(target=lambda: said.append(client.blobs.put(blobs, deadline=20)))
        call.start()
        client.close()
        call.join()
        with pytest.raises(cistern.FailedPrecondition):
            client.stats()


def test_a_callback_that_knows_its_fetch_is_collected(client, model):
    tokens = some_tokens(200)
    publish(client, model, tokens)
    worker = Worker(model, 200)
    memory = weakref.ref(worker.memory)
    known = {}
    fetch = client.fetch(client.plan(model, tokens, deadline=20), worker.cache,
                         on_layer=lambda layer: known["fetch"].missing if known else None)
    known["fetch"] = fetch
    fetch.wait()
    del fetch, worker, known
    gc.collect()
    assert memory() is None


def test_a_node_lives_as_long_as_its_clients(model):
    client = cistern.Node(pool_bytes="64MiB").connect()
    gc.collect()
    tokens = some_tokens(200)
    assert publish(client, model, tokens)["segments"] > 0
    assert client.plan(model, tokens, deadline=20).exact_tokens == 199


def test_tokens_of_any_integer_type(client, model):
    tokens = some_tokens(300)
    publish(client, model, tokens)
    for same in (list(map(int, tokens)), tokens.astype(np.int64), tokens.astype(np.int32), tuple(map(int, tokens)),
                 np.repeat(tokens, 2)[::2]):
        assert client.plan(model, same, deadline=20).exact_tokens == 299
    wide = np.array([0, 1, 2**15, 2**30 - 1, 2**30, 2**31, 2**32 - 1] * 50, np.uint32)  # of no, one and two digits of Python's
    publish(client, model, wide.astype(np.int64))
    assert client.plan(model, wide.tolist(), deadline=20).exact_tokens == 349
    for wrong in ([1, -1], np.array([1, -1]), np.zeros((2, 2), np.uint32), np.zeros(3, np.float32), [2**32], ["a"]):
        with pytest.raises(cistern.InvalidArgument, match="tokens"):
            client.plan(model, wrong)


def test_one_array_a_layer(client, model):
    tokens = some_tokens(300)
    publish(client, model, tokens)
    whole = np.zeros((19, LAYERS, 16, model.row_bytes), np.uint8)  # as vLLM may lay it out: blocks first
    layers = [whole[:, layer] for layer in range(LAYERS)]
    cache = cistern.PagedCache(layers, range(19))
    assert cache.row_bytes == model.row_bytes
    assert client.fetch(client.plan(model, tokens, deadline=20), cache).wait().missing == []
    assert whole[:18].any(axis=(2, 3)).all()


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
