#!/usr/bin/env python3
"""First steps with Cistern, top to bottom, in five minutes. What a step prints follows it behind '# >'.

Needs the Python package (client_lib/python) and numpy; starts a node of its own, inside this process.
"""

# 1. A node and a client. Elsewhere: cistern.connect("unix:/run/cistern/node.sock").
import numpy as np

import cistern

node = cistern.Node(pool_bytes="64MiB")
client = node.connect(name="first steps")

# 2. A model says what bytes mean: here the first four layers of DeepSeek-V2-Lite, whose tokens leave 1152 bytes in each.
model = cistern.Model.preset("deepseek-v2-lite", layers=4)
print(f"{model.num_layers} layers, {model.row_bytes} bytes a token and layer")
# > 4 layers, 1152 bytes a token and layer


# 3. An inference engine keeps rows in blocks. Ours "computes" a row by writing its token into it.
class Engine:
    def __init__(self, num_tokens):
        blocks = -(-num_tokens // 16)
        self.rows = np.zeros((model.num_layers, blocks, 16, 576), np.uint16)  # bf16, really
        self.cache = cistern.PagedCache(self.rows, block_table=range(blocks))

    def prefill(self, tokens, begin, end):
        for i in range(begin, end):
            self.rows[:, i // 16, i % 16] = tokens[i] % 65521
        return end - begin


# 4. One turn of a worker: plan, fetch, compute what is not there, share it.
def turn(tokens, parts, reuse):
    engine = Engine(len(tokens))
    plan = client.plan(model, tokens, parts=parts, reuse=reuse, deadline=10)
    result = client.fetch(plan, engine.cache).wait()
    position = computed = 0
    for span in result.delivered:
        computed += engine.prefill(tokens, position, span.begin)
        position = span.end
    computed += engine.prefill(tokens, position, len(tokens))
    client.publish(model, tokens, engine.cache, fetched=result, parts=parts)
    return computed


random = np.random.default_rng(0)
document, question, header = (random.integers(0, 100000, n, dtype=np.uint32) for n in (2000, 50, 100))

# 5. The first time nobody has read the document: all of it is computed.
prompt = np.concatenate([document, question])
print(f"first:   computed {turn(prompt, [0, 2000], 'exact')} of {len(prompt)} tokens")
# > first:   computed 2050 of 2050 tokens

# 6. The same prompt again, here or in another worker: the last token only, for its answer.
print(f"again:   computed {turn(prompt, [0, 2000], 'exact')} of {len(prompt)} tokens")
# > again:   computed 1 of 2050 tokens

# 7. A header comes before the document. A prefix cache has nothing now; an exact one neither.
shifted = np.concatenate([header, document, question])
plan = client.plan(model, shifted, parts=[0, 100, 2100], reuse="exact", deadline=10)
print(f"shifted: {plan.exact_tokens} tokens are found behind the same past")
# > shifted: 0 tokens are found behind the same past

# 8. By content it is the same text: rows move to their new position, k_r is turned on the way. The header is computed, and
#    the document's first 32 tokens, an attention sink where they were computed first.
plan = client.plan(model, shifted, parts=[0, 100, 2100], reuse="content", deadline=10)
first = next(span for span in plan.spans if span.kind == "content")
print(f"         {plan.content_tokens} tokens are found by their text, from token {first.begin} on")
print(f"         which was computed at position {first.source_position}")
# >          2017 tokens are found by their text, from token 132 on
# >          which was computed at position 32
plan.close()

# 9. Whatever else an engine wants to share goes by name.
client.blobs.put({"page 1": np.arange(1000, dtype=np.float32)})
view = client.blobs.view(["page 1"])[0]
print(f"blob:    {view.nbytes} bytes, read in place: {view.arrays[0].view(np.float32)[:3]}")
# > blob:    4000 bytes, read in place: [0. 1. 2.]

# 10. A cache must never be the reason that inference stops: without a node there is an error, and the worker computes.
node.stop()
try:
    client.plan(model, prompt)
except cistern.Unavailable as error:
    print(f"no node: {type(error).__name__}")
# > no node: Unavailable
