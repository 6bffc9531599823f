"""Plan, fetch, publish: rows that come back are the rows that were shared."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

import cistern
from conftest import LAYERS, Worker, publish, some_tokens


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
    assert result.missing == [] and result.approximate_from is None and result.device_error == ""
    assert client.stats()["device_errors"] == 0
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
