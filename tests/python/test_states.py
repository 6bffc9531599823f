"""A hybrid model's rows and state: stored at points, resumed elsewhere."""

import numpy as np
import pytest

import cistern
from conftest import Worker, some_tokens

TOKENS = 300


@pytest.fixture
def hybrid() -> cistern.Model:
    return cistern.Model.preset("kimi-linear", layers=1)


def state_of(model: cistern.Model, seed: int) -> cistern.State:
    """What `seed` gives, as arrays of each layer."""
    random = np.random.default_rng(seed)
    return cistern.State(
        [random.standard_normal(model.temporal_bytes // 4, np.float32) for _ in range(model.state_layers)],
        [random.integers(0, 60000, model.conv_bytes // 2, dtype=np.uint16) for _ in range(model.state_layers)])


def empty_state(model: cistern.Model) -> cistern.State:
    return cistern.State([np.zeros(model.temporal_bytes // 4, np.float32) for _ in range(model.state_layers)],
                         [np.zeros(model.conv_bytes // 2, np.uint16) for _ in range(model.state_layers)])


def test_a_state_is_resumed(client, hybrid):
    tokens = some_tokens(TOKENS)
    worker = Worker(hybrid, TOKENS)
    worker.prefill(tokens)
    client.publish(hybrid, tokens, worker.cache)
    stored = state_of(hybrid, 7)
    for array in stored.temporal + stored.conv:
        array.flags.writeable = False  # what is shared is only read
    assert repr(stored) == f"<cistern.State: {hybrid.state_layers} temporal and {hybrid.state_layers} conv arrays>"
    report = client.publish_states(hybrid, tokens, {TOKENS: stored})
    assert report["checkpoints"] == 1 and report["dropped"] == 0

    longer = np.concatenate([tokens, some_tokens(50, 2)])
    plan = client.plan(hybrid, longer, deadline=20)
    assert plan.resume.position == TOKENS and plan.resume.folded_tokens == 0
    assert repr(plan.resume) == f"<cistern.Resume at token {TOKENS}: checkpoint at {TOKENS}, 0 tokens folded>"
    read_only = empty_state(hybrid)
    read_only.temporal[0].flags.writeable = False
    with pytest.raises(cistern.InvalidArgument, match=r"state.temporal\[0\] is not writable"):
        client.fetch(plan, Worker(hybrid, len(longer)).cache, state=read_only)
    resumed, other = empty_state(hybrid), Worker(hybrid, len(longer))
    result = client.fetch(plan, other.cache, state=resumed).wait()
    assert result.state_position == TOKENS and result.missing == []
    assert other.holds(longer, 0, TOKENS)
    for mine, theirs in zip(resumed.temporal + resumed.conv, stored.temporal + stored.conv):
        assert np.array_equal(mine, theirs)


def test_a_branch_point_is_wanted(client, hybrid):
    shared = some_tokens(TOKENS)
    worker = Worker(hybrid, TOKENS)
    worker.prefill(shared)
    client.publish(hybrid, shared, worker.cache)
    prompt = np.concatenate([shared, some_tokens(50, 2)])
    plan = client.plan(hybrid, prompt, deadline=20)
    assert plan.resume.position == 0
    assert plan.wanted_states == [TOKENS]


def test_wrong_states_are_named(client, hybrid, model):
    tokens = some_tokens(TOKENS)
    state = state_of(hybrid, 7)
    with pytest.raises(cistern.InvalidArgument, match="state.temporal has 2 arrays, the model"):
        client.publish_states(hybrid, tokens, {TOKENS: cistern.State(state.temporal * 2, state.conv)})
    wide = np.zeros((len(state.temporal[0]), 2), np.float32)
    with pytest.raises(cistern.InvalidArgument, match="does not lie densely"):
        client.publish_states(hybrid, tokens, {TOKENS: cistern.State([wide[:, 0]], state.conv)})
    with pytest.raises(cistern.InvalidArgument, match="has 12 bytes, the model"):
        client.publish_states(hybrid, tokens, {TOKENS: cistern.State([np.zeros(3, np.float32)], state.conv)})
    with pytest.raises(cistern.InvalidArgument, match="no recurrent state"):
        client.publish_states(model, tokens, {TOKENS: state})
