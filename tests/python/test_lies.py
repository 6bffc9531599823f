"""What another worker has put behind a prompt's keys, and is another text, is a miss."""

import cistern
from conftest import Worker, some_tokens


def test_other_tokens_behind_the_same_keys_are_never_used(server, model, lie):
    tokens = some_tokens(300)
    assert lie(server[0], model, tokens) > 0
    with cistern.connect(server[0]) as client:
        for reuse in ("exact", "content"):
            worker = Worker(model, 300)
            plan = client.plan(model, tokens, reuse=reuse, deadline=30)
            result = client.fetch(plan, worker.cache).wait()
            assert result.delivered == []
            assert not worker.memory.any(), "nothing of it was handed out"
        assert client.stats()["token_mismatches"] > 0

        # Whoever has that other text finds it: the keys of its own are not taken.
        worker.prefill(tokens)
        client.publish(model, tokens + 1, worker.cache)
        assert client.plan(model, tokens + 1, deadline=30).exact_tokens == 299
