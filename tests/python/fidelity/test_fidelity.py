"""What comes back out of a node makes a real MLA model say what it would have said.

The model is transformers' own DeepSeek code with random weights, the node a process of its own. Skipped where torch and
transformers are not installed.
"""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import cistern  # noqa: E402
from cells import assembled, content_cells  # noqa: E402
from mla_worker import LATENT, ROTARY, Worker, arithmetic_of, delivered, spec_of  # noqa: E402
from models import KINDS, VOCABULARY, config_of, model_of  # noqa: E402

U = 2.0 ** -8  # of bf16
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture(params=[f"{kind} {dtype}" for kind in KINDS for dtype in DTYPES])
def worker(request, server):
    kind, dtype = request.param.split()
    model = model_of(kind, DTYPES[dtype])
    with cistern.connect(server[0], arithmetic=arithmetic_of(model)) as client:
        yield Worker(model, spec_of(model), client)


def text(count: int, seed: int) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed))


def pair_norms(worker: Worker, k: torch.Tensor) -> torch.Tensor:
    """[..., 64]: for each element the norm of the pair that it belongs to."""
    if worker.model.config.model_type == "deepseek_v3" and not worker.model.config.rope_interleave:
        norms = (k[..., :32] ** 2 + k[..., 32:] ** 2).sqrt()
        return torch.cat([norms, norms], -1)
    return (k[..., 0::2] ** 2 + k[..., 1::2] ** 2).sqrt().repeat_interleave(2, -1)


def test_exact_hits_are_the_same_bits(worker):
    """Unrotated rows, turned by the model's own operation: every row and every logit."""
    prompt, parts = text(400, 1), [0, 150]
    logits, rows = worker.full(prompt)
    report = worker.publish(prompt, rows, parts)
    assert report["segments_dropped"] == 0

    came, result = worker.fetch(prompt, parts, reuse="exact")
    reused = delivered(result)
    assert len(reused) == 399 and result.missing == []
    for name in ("latent", "k_r", "raw"):
        assert torch.equal(getattr(came, name)[:, reused], getattr(rows, name)[:, reused]), name
    # The same shapes, and rows of the node in place of the pass's own.
    again = worker.prefill(prompt, came, torch.arange(400), keep=reused)
    assert torch.equal(again, logits)
    # And computing the last token only: other shapes, so other rounding, and no more than that.
    last = worker.prefill(prompt, came, torch.tensor([399]))
    scale = logits[399].abs().max()
    bound = 1e-5 if worker.model.dtype == torch.float32 else 6 * U
    assert (last[0] - logits[399]).abs().max() <= bound * scale


def test_rotated_rows_stay_as_they_are_where_they_were(worker):
    """Rows that were shared with k_r turned already come back bit for bit at the same position."""
    prompt = text(300, 2)
    logits, rows = worker.full(prompt)
    worker.publish(prompt, rows, [0], unrotated=False)
    came, result = worker.fetch(prompt, [0], own_rotation=False, reuse="exact")
    reused = delivered(result)
    assert len(reused) == 299
    assert torch.equal(came.k_r[:, reused], rows.k_r[:, reused])
    assert torch.equal(worker.prefill(prompt, came, torch.arange(300), keep=reused), logits)


@pytest.mark.parametrize("unrotated", [True, False])
def test_the_clients_rotation_is_within_its_bound(worker, unrotated):
    """Of rows at shifted positions, layer 0, where c_KV does not depend on the past: against the model's own operation."""
    piece, header = text(400, 3), text(137, 4)
    _, rows = worker.full(piece)
    worker.publish(piece, rows, [0], unrotated=unrotated)
    prompt = torch.cat([header, piece])
    came, result = worker.fetch(prompt, [0, 137], own_rotation=False, reuse="content", sink_tokens=0)
    moved = delivered(result, "content")
    assert len(moved) >= 380
    _, own = worker.full(prompt)
    assert torch.equal(came.latent[0, moved], own.latent[0, moved])
    norms = pair_norms(worker, own.k_r[0, moved].float())
    error = (came.k_r[0, moved].float() - own.k_r[0, moved].float()).abs()
    per_op = arithmetic_of(worker.model) == "bf16_per_op"
    assert (error <= (7 if per_op else 3) * U * norms + 1e-30).all(), (error / norms).max() / U
    if unrotated:  # from k_r before rotary: what the model's operation gives, but for a rounding here and there
        assert (error == 0).float().mean() > 0.99


def test_content_hits_beat_rows_that_were_not_turned(worker):
    """Teacher-forced: logits behind moved pieces, against a prefill of everything; with the first 0, 16 and 32 tokens of each
    piece computed afresh, with and without the carve-out of a sequence's first tokens."""
    prompt = assembled(pieces=[text(200, 5), text(200, 6)], headers=[text(60, 7), text(40, 8)], behind=text(120, 9))
    cells = list(content_cells(worker, prompt))
    for cell in cells:
        print(cell)
        assert 400 - 2 * (cell.head + cell.sink) - 40 <= cell.moved <= 400
        assert cell.turned.divergence < cell.untouched.divergence
    assert len(cells) == 6
    assert sum(cell.turned.agreement for cell in cells) >= sum(cell.untouched.agreement for cell in cells)


def test_other_tokens_behind_the_same_keys_are_never_used(worker, server, lie):
    prompt = text(300, 11)
    assert lie(server[0], worker.spec, prompt) > 0
    for reuse in ("exact", "content"):
        came, result = worker.fetch(prompt, [0], reuse=reuse)
        assert result.delivered == []
        assert not came.latent.any() and not came.k_r.any()


def test_what_means_something_else_is_never_used(worker):
    prompt = text(300, 10)
    _, rows = worker.full(prompt)
    worker.publish(prompt, rows, [0])
    config = worker.model.config
    other_rope = dict(config.rope_parameters, rope_theta=20000.0)
    kind = next(kind for kind, (config_class, _, rope, _) in KINDS.items()
                if isinstance(config, config_class) and rope["rope_type"] == config.rope_parameters["rope_type"])
    turned_otherwise = config_of(kind, rope_parameters=other_rope).to_json_string(use_diff=False)
    name = config.model_type
    others = {
        "weights": spec_of(worker.model, revision="other"),
        "layout": spec_of(worker.model, layout="opaque"),
        "rotary": cistern.Model.from_config(turned_otherwise, name, "random"),
        "name": cistern.Model.from_config(config.to_json_string(use_diff=False), "other", "random"),
    }
    for what, spec in others.items():
        plan = worker.client.plan(spec, prompt, reuse="content", deadline=30.0)
        assert plan.exact_tokens + plan.content_tokens == 0, what
    changed = prompt.clone()
    changed[::7] += 1
    plan = worker.client.plan(worker.spec, changed % VOCABULARY, reuse="content", deadline=30.0)
    assert plan.exact_tokens + plan.content_tokens <= 6, "before the first change"
    assert worker.client.plan(worker.spec, prompt, deadline=30.0).exact_tokens == 299
