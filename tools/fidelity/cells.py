"""What rows at other positions do to a model's answers: for each way of reusing them, the logits behind them against a prefill of
everything. Teacher-forced: both read the same text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Sequence

import torch

import cistern
from mla_worker import Rows, Worker, delivered

SINKS = (0, 32)  # first tokens of a sequence that are never moved
HEADS = (0, 16, 32)  # first tokens of each piece that are computed afresh


@dataclass
class Prompt:
    """header 0, last piece, header 1, ..., first piece, behind: each piece at another position than where it is published."""

    pieces: List[torch.Tensor]  # published alone, at position 0
    tokens: torch.Tensor
    parts: List[int]
    behind: int  # where the text begins whose logits count


def assembled(pieces: Sequence[torch.Tensor], headers: Sequence[torch.Tensor], behind: torch.Tensor) -> Prompt:
    texts = [text for pair in zip(headers, reversed(pieces)) for text in pair] + [behind]
    begins = torch.tensor([0] + [len(text) for text in texts]).cumsum(0)[:-1].tolist()
    return Prompt(list(pieces), torch.cat(texts), begins, begins[-1])


@dataclass
class Said:
    """By a pass over reused rows, of a prefill of everything: means over the tokens behind."""

    divergence: float  # Kullback-Leibler, in nats
    agreement: float  # how often the likeliest token is the same


@dataclass
class Cell:
    sink: int
    head: int
    moved: int  # tokens
    turned: Said
    untouched: Said  # k_r as it was where the row comes from: the naive way


def compared(truth: torch.Tensor, logits: torch.Tensor) -> Said:
    divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), truth.log_softmax(-1), log_target=True, reduction="batchmean")
    return Said(divergence.item(), (logits.argmax(-1) == truth.argmax(-1)).float().mean().item())


def untouched(worker: Worker, rows: Rows, result: cistern.FetchResult) -> Rows:
    """The same rows as somebody brings them who does not turn k_r."""
    left = Rows(rows.latent.clone(), rows.k_r.clone(), rows.raw)
    for span in result.delivered:
        if span.kind == "content":
            where = torch.arange(span.begin, span.end)
            for layer in range(len(worker.layers)):
                left.k_r[layer, where] = worker.turned(rows.raw[layer, where], where - span.begin + span.source_position)
    return left


def content_cells(worker: Worker, prompt: Prompt) -> Iterator[Cell]:
    for piece in prompt.pieces:
        worker.publish(piece, worker.full(piece)[1], [0])
    truth = worker.full(prompt.tokens)[0][prompt.behind:]
    for sink in SINKS:
        for head in HEADS:
            came, result = worker.fetch(prompt.tokens, prompt.parts, reuse="content", recompute_head=head, sink_tokens=sink)
            moved = delivered(result, "content")
            computed = torch.tensor(sorted(set(range(len(prompt.tokens))) - set(moved.tolist())))

            def said(rows: Rows) -> Said:
                return compared(truth, worker.prefill(prompt.tokens, rows, computed)[computed >= prompt.behind])
            yield Cell(sink, head, len(moved), said(came), said(untouched(worker, came, result)))
