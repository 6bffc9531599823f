"""PyTorch tensors through DLPack, bfloat16 included. Skipped where torch is not installed."""

import pytest

import cistern
from conftest import LAYERS, some_tokens

torch = pytest.importorskip("torch")


def test_bfloat16_tensors_in_place(client, model):
    tokens = torch.from_numpy(some_tokens(200).astype("int64"))
    computed = torch.randn(LAYERS, 13, 16, 576, dtype=torch.float32).to(torch.bfloat16)
    client.publish(model, tokens, cistern.PagedCache(computed, range(13)))
    fetched = torch.zeros_like(computed)
    plan = client.plan(model, tokens, compute_last_token=False, deadline=20)
    assert plan.exact_tokens == 200
    client.fetch(plan, cistern.PagedCache(list(fetched), torch.arange(13, dtype=torch.int32))).wait()
    assert torch.equal(fetched[:, :12], computed[:, :12])
    assert torch.equal(fetched[:, 12, :8], computed[:, 12, :8])


def test_tensors_as_blobs(client):
    page = torch.randn(4, 128).to(torch.bfloat16)
    client.blobs.put({"page": page})
    into = torch.zeros_like(page)
    assert client.blobs.get({"page": into}) == {"page": True}
    assert torch.equal(into, page)
    with pytest.raises(cistern.InvalidArgument, match="densely"):
        client.blobs.put({"turned": page.T})


def test_half_floats_are_no_bfloat16(client, model):
    tokens = some_tokens(60)
    halves = torch.zeros(LAYERS, 4, 16, 576, dtype=torch.float16)
    with pytest.raises(cistern.InvalidArgument, match="the cache holds float16"):
        client.publish(model, tokens, cistern.PagedCache(halves, range(4)))
    cache = cistern.PagedCache(halves.view(torch.bfloat16), range(4))
    assert cache.layer_pointers == [layer.data_ptr() for layer in halves], "no copy"
    client.publish(model, tokens, cache)
