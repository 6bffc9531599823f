"""Trains a small MLA language model, from scratch, on text of this machine: transformers' DeepSeek-V3 code, 14 million parameters.

    python tools/fidelity/train.py --out build/fidelity-model --steps 600

It is no good writer. It is there so that attention looks where a trained model's attention looks, which random weights do not.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import time
from typing import Iterator, List

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

import corpus

VOCABULARY = 4096
CONTEXT = 640
BATCH = 4
SEED = 1
WARM_UP = 0.05  # of the steps
COOL_DOWN = 0.4


def config() -> DeepseekV3Config:
    layers = 6
    return DeepseekV3Config(
        vocab_size=VOCABULARY, hidden_size=320, intermediate_size=1024, num_hidden_layers=layers, first_k_dense_replace=layers,
        num_attention_heads=4, num_key_value_heads=4, q_lora_rank=None, kv_lora_rank=512, qk_rope_head_dim=64,
        qk_nope_head_dim=64, v_head_dim=128, max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, rope_interleave=True, attn_implementation="sdpa",
        architectures=["DeepseekV3ForCausalLM"], tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)


def windows(ids: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """[batch, context]: all of the text, in an order of its own at each pass."""
    if len(ids) < (BATCH + 2) * CONTEXT:
        raise ValueError(f"{len(ids)} tokens of text are too few to train on")
    while True:
        offset = int(torch.randint(0, CONTEXT, (1,), generator=generator))
        starts = torch.arange(offset, len(ids) - CONTEXT, CONTEXT)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        for batch in starts.split(BATCH):
            if len(batch) == BATCH:
                yield torch.stack([ids[start:start + CONTEXT] for start in batch])


def joined(tokenizer: object, texts: List[str]) -> torch.Tensor:
    ids: List[int] = []
    for encoding in tokenizer.encode_batch(texts):
        ids += [0, *encoding.ids]
    return torch.tensor(ids)


def loss_of(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    logits = model(batch, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, ids: torch.Tensor) -> float:
    starts = range(0, min(len(ids) - CONTEXT, 40 * CONTEXT), CONTEXT)
    model.eval()
    losses = [loss_of(model, ids[None, start:start + CONTEXT]).item() for start in starts]
    model.train()
    return sum(losses) / len(losses)


def rate_at(progress: float) -> float:
    """Up, level, down to nothing."""
    return min(1.0, progress / WARM_UP, max(0.0, (1.0 - progress) / COOL_DOWN))


def optimizers(model: torch.nn.Module) -> List[torch.optim.Optimizer]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [torch.optim.Muon(matrices, lr=0.02, weight_decay=0.01),
            torch.optim.AdamW(others, lr=0.003, betas=(0.9, 0.95), weight_decay=0.0)]


def train(model: torch.nn.Module, ids: torch.Tensor, steps: int) -> None:
    rules = optimizers(model)
    peaks = [rule.param_groups[0]["lr"] for rule in rules]
    began = time.monotonic()
    for step, batch in zip(range(steps), windows(ids, torch.Generator().manual_seed(SEED))):
        for rule, peak in zip(rules, peaks):
            rule.param_groups[0]["lr"] = peak * rate_at((step + 1) / steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for rule in rules:
            rule.step()
            rule.zero_grad()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f} after {time.monotonic() - began:.0f} s", flush=True)
    print(f"{steps} steps, {steps * BATCH * CONTEXT / 1e6:.2f} M tokens, {(time.monotonic() - began) / 60:.1f} minutes")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=pathlib.Path, required=True, help="directory for the model and its tokenizer")
    options.add_argument("--steps", type=int, default=600, help=f"of {BATCH} x {CONTEXT} tokens")
    flags = options.parse_args()

    texts, held_out = corpus.documents()
    tokenizer = corpus.train_tokenizer(texts, VOCABULARY)
    ids, unseen = joined(tokenizer, texts), joined(tokenizer, held_out)
    torch.manual_seed(SEED)
    model = DeepseekV3ForCausalLM(config())
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(texts)} documents, {len(ids) / 1e6:.2f} M tokens; {parameters / 1e6:.1f} M parameters; "
          f"held-out loss {held_out_loss(model, unseen):.3f} (uniform: {math.log(VOCABULARY):.3f})")
    train(model, ids, flags.steps)
    print(f"held-out loss {held_out_loss(model, unseen):.3f}")
    flags.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(flags.out)
    tokenizer.save(str(flags.out / "tokenizer.json"))


if __name__ == "__main__":
    main()
