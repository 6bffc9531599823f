"""A worker around transformers' own DeepSeek modelling code.

Nothing of the model is written here: hooks read c_KV behind its norm and k_r before rotary from real forward passes, and a cache in the
place where transformers keeps compressed latents decides, for each token, whether its row is what the pass has computed or what a
store has brought.

Rows are kept in bf16, as engines keep them, whatever the model computes in: k_r is rounded before it is turned, then turned
by the model's own operation. So whoever has the same k_r before rotary has the same row, bit for bit, at any position.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from transformers.cache_utils import Cache

import cistern

BLOCK_TOKENS = 16
LATENT, ROTARY = 512, 64


@dataclass
class Rows:
    """Of one sequence: [layers, tokens, ...] in bf16."""

    latent: torch.Tensor
    k_r: torch.Tensor  # turned to its position
    raw: torch.Tensor  # k_r before rotary

    @staticmethod
    def empty(layers: int, tokens: int) -> "Rows":
        def zeros(width: int) -> torch.Tensor:
            return torch.zeros(layers, tokens, width, dtype=torch.bfloat16)
        return Rows(zeros(LATENT), zeros(ROTARY), zeros(ROTARY))


class LatentCache(Cache):
    """What attention reads: the rows of the whole sequence, of which a pass computes `computed` (ascending positions).

    keep: positions whose rows stay as they are although the pass computes them.
    """

    def __init__(self, worker: "Worker", rows: Rows, computed: torch.Tensor, keep: Optional[torch.Tensor] = None) -> None:
        super().__init__(layers=[])
        self.worker, self.rows, self.computed = worker, rows, computed
        self.write = torch.ones(len(computed), dtype=torch.bool)
        if keep is not None:
            self.write = ~torch.isin(computed, keep)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def get_mask_sizes(self, *args: object, **kwargs: object) -> Tuple[int, int]:
        return self.rows.latent.shape[1], 0

    def update(self, latent: torch.Tensor, k_rot: torch.Tensor, layer: int, *args: object,
               **kwargs: object) -> Tuple[torch.Tensor, torch.Tensor]:
        del k_rot  # of k_r that was not rounded
        dtype = latent.dtype
        where = self.computed[self.write]
        raw = self.worker.raw_of_pass[layer][self.write]
        self.rows.latent[layer, where] = latent[0, 0][self.write].to(torch.bfloat16)
        self.rows.raw[layer, where] = raw
        self.rows.k_r[layer, where] = self.worker.turned(raw, where)
        k_r = as_the_model_reads(self.worker.model, self.rows.k_r[layer])
        return self.rows.latent[layer][None, None].to(dtype), k_r[None, None].to(dtype)


@dataclass
class Worker:
    """One model, one client of a node."""

    model: torch.nn.Module
    spec: cistern.Model
    client: cistern.Client
    raw_of_pass: Dict[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, layer in enumerate(self.layers):
            layer.self_attn.kv_a_proj_with_mqa.register_forward_hook(self._remember(index))

    @property
    def layers(self) -> Sequence[torch.nn.Module]:
        return self.model.model.layers

    def _remember(self, index: int):
        def hook(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            self.raw_of_pass[index] = output[0, :, LATENT:].to(torch.bfloat16)
        return hook

    def turned(self, raw: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """By the model's own rotary operation, in its own arithmetic."""
        dtype = self.model.dtype
        k = raw[None, None].to(dtype)
        tables = self.model.model.rotary_emb(k[0], positions[None])
        return rotate(self.model, k, tables)[0, 0].to(torch.bfloat16)

    # ---- Forward passes

    @torch.no_grad()
    def prefill(self, tokens: torch.Tensor, rows: Rows, computed: torch.Tensor,
                keep: Optional[torch.Tensor] = None) -> torch.Tensor:
        """Logits [computed, vocabulary] of a pass over the tokens at `computed`; rows of the others are taken from `rows`."""
        positions = torch.arange(len(tokens))
        mask = torch.where(positions[None] <= computed[:, None], 0.0, torch.finfo(self.model.dtype).min)
        cache = LatentCache(self, rows, computed, keep)
        return self.model(tokens[computed][None], position_ids=computed[None],
                          attention_mask=mask[None, None].to(self.model.dtype), past_key_values=cache,
                          use_cache=True).logits[0].float()

    def full(self, tokens: torch.Tensor) -> Tuple[torch.Tensor, Rows]:
        rows = Rows.empty(len(self.layers), len(tokens))
        return self.prefill(tokens, rows, torch.arange(len(tokens))), rows

    # ---- The store

    def publish(self, tokens: torch.Tensor, rows: Rows, parts: List[int], unrotated: bool = True,
                fetched: Optional[cistern.FetchResult] = None) -> Dict[str, int]:
        paged = torch.cat([rows.latent, rows.k_r], -1)
        cache, memory = paged_cache(len(self.layers), len(tokens))
        flat(memory, len(tokens))[:] = paged
        raw = [layer.contiguous() for layer in rows.raw] if unrotated else None
        return self.client.publish(self.spec, tokens, cache, pre_rope=raw, parts=parts, fetched=fetched)

    def fetch(self, tokens: torch.Tensor, parts: List[int], own_rotation: bool = True,
              **policy: object) -> Tuple[Rows, cistern.FetchResult]:
        """Rows as they came. own_rotation: k_r is turned by the model's operation, from k_r before rotary where that came."""
        cache, memory = paged_cache(len(self.layers), len(tokens))
        raw = [torch.zeros(len(tokens), ROTARY, dtype=torch.bfloat16) for _ in self.layers]
        plan = self.client.plan(self.spec, tokens, parts=parts, deadline=30.0, **policy)
        result = self.client.fetch(plan, cache, pre_rope=raw if own_rotation else None,
                                   pre_rope_everywhere=own_rotation).wait()
        came = flat(memory, len(tokens)).clone()
        rows = Rows(came[..., :LATENT].contiguous(), came[..., LATENT:].contiguous(), torch.stack(raw))
        for span in result.delivered:
            where = torch.arange(span.begin, span.end)
            if own_rotation and span.pre_rope:
                for layer in range(len(self.layers)):
                    rows.k_r[layer, where] = self.turned(rows.raw[layer, where], where)
        return rows, result


def delivered(result: cistern.FetchResult, kind: Optional[str] = None) -> torch.Tensor:
    spans = [torch.arange(s.begin, s.end) for s in result.delivered if kind in (None, s.kind)]
    return torch.cat(spans) if spans else torch.zeros(0, dtype=torch.long)


def paged_cache(layers: int, tokens: int) -> Tuple[cistern.PagedCache, torch.Tensor]:
    blocks = -(-tokens // BLOCK_TOKENS)
    memory = torch.zeros(layers, blocks, BLOCK_TOKENS, LATENT + ROTARY, dtype=torch.bfloat16)
    return cistern.PagedCache(memory, range(blocks)), memory


def flat(memory: torch.Tensor, tokens: int) -> torch.Tensor:
    return memory.view(memory.shape[0], -1, memory.shape[-1])[:, :tokens]


def rotate(model: torch.nn.Module, k: torch.Tensor, tables: object) -> torch.Tensor:
    """The rotary function of the model's module, on k alone. Pairs stay where they were: DeepSeek-V3's interleaved form moves
    them apart, which `as_the_model_reads` does again for attention."""
    module = sys.modules[type(model).__module__]
    if hasattr(module, "apply_rotary_emb"):  # V2: complex numbers
        return module.apply_rotary_emb(k, k, tables)[1]
    cos, sin = tables
    if not model.config.rope_interleave:
        return module.apply_rotary_pos_emb(k, k, cos, sin)[1]
    apart = module.apply_rotary_pos_emb_interleave(k, k, cos, sin)[1]
    return torch.stack(apart.chunk(2, -1), -1).flatten(-2)


def as_the_model_reads(model: torch.nn.Module, k: torch.Tensor) -> torch.Tensor:
    if model.config.model_type != "deepseek_v3" or not model.config.rope_interleave:
        return k
    return torch.cat([k[..., 0::2], k[..., 1::2]], -1)


def spec_of(model: torch.nn.Module, revision: str = "random", layout: str = "bf16_576") -> cistern.Model:
    return cistern.Model.from_config(model.config.to_json_string(use_diff=False), model.config.model_type, revision, layout)


def arithmetic_of(model: torch.nn.Module) -> str:
    """How the model turns k_r: V2 in float32 whatever its type is, V3 in its own."""
    in_float = model.config.model_type == "deepseek_v2" or model.dtype == torch.float32
    return "fp32_table" if in_float else "bf16_per_op"
