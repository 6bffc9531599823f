"""What a trained model says of rows that come from other positions: its table.

    python tools/fidelity/train.py --out build/fidelity-model       # once
    python tools/fidelity/table.py --model build/fidelity-model

Needs the Python package and cistern-server (the package's own, or on the PATH), torch and transformers (tools/deps/python.sh --fidelity).
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import subprocess
import tempfile
from typing import Dict, Iterator, List, Tuple

import tokenizers
import torch
from transformers import DeepseekV3ForCausalLM

import cistern
import corpus
from cells import Cell, Prompt, assembled, content_cells
from cistern._programs import path_of
from mla_worker import Worker, arithmetic_of, spec_of

PIECE, HEADER, GAP, BEHIND = 200, 60, 40, 120


@contextlib.contextmanager
def node() -> Iterator[str]:
    """A cistern-server of our own: its address."""
    with tempfile.TemporaryDirectory(prefix="cistern-fidelity-") as directory:
        socket = pathlib.Path(directory) / "node.sock"
        server = subprocess.Popen([path_of("cistern-server"), f"--unix_socket={socket}", "--ucx_address=", "--pool_bytes=256MiB",
                                   "--log_level=error"])
        try:
            yield f"unix:{socket}"  # connect waits for it
        finally:
            server.terminate()
            server.wait(timeout=30)


def prompts(tokenizer: tokenizers.Tokenizer, count: int) -> List[Prompt]:
    """Of held-out documents, three a prompt: two pieces, headers of the third; behind them the first piece goes on."""
    texts = [torch.tensor(tokenizer.encode(text).ids) for text in corpus.documents()[1]]
    texts = [text for text in texts if len(text) >= PIECE + BEHIND]
    made = []
    for a, b, c in zip(texts[0::3], texts[1::3], texts[2::3]):
        headers = [c[:HEADER], c[HEADER:HEADER + GAP]]
        made.append(assembled([a[:PIECE], b[:PIECE]], headers, a[PIECE:PIECE + BEHIND]))
    if count < 1 or not made:
        raise SystemExit(f"{count} prompts are wanted, of {len(texts)} held-out documents that are long enough: three a prompt")
    return made[:count]


def measured(directory: pathlib.Path, dtype: torch.dtype, address: str, asked: List[Prompt]) -> Dict[Tuple[int, int], List[Cell]]:
    model = DeepseekV3ForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()
    cells: Dict[Tuple[int, int], List[Cell]] = {}
    with cistern.connect(address, connect_timeout=30, arithmetic=arithmetic_of(model)) as client:
        worker = Worker(model, spec_of(model, revision=str(dtype)), client)
        for prompt in asked:
            for cell in content_cells(worker, prompt):
                cells.setdefault((cell.sink, cell.head), []).append(cell)
    return cells


def mean(values: Iterator[float]) -> float:
    gathered = list(values)
    return sum(gathered) / len(gathered)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=pathlib.Path, required=True, help="what train.py wrote")
    options.add_argument("--prompts", type=int, default=10)
    flags = options.parse_args()

    asked = prompts(tokenizers.Tokenizer.from_file(str(flags.model / "tokenizer.json")), flags.prompts)
    print(f"{len(asked)} prompts, {BEHIND} tokens behind two pieces of {PIECE} each\n")
    print("| type | never moved | computed afresh | reused | KL, turned | KL, not turned | same token, turned | not turned |")
    print("|---|---|---|---|---|---|---|---|")
    for name, dtype in {"float32": torch.float32, "bf16": torch.bfloat16}.items():
        with node() as address:
            for (sink, head), cells in measured(flags.model, dtype, address, asked).items():
                print(f"| {name} | {sink} | {head} | {mean(c.moved for c in cells):.0f} | "
                      f"{mean(c.turned.divergence for c in cells):.4f} | {mean(c.untouched.divergence for c in cells):.4f} | "
                      f"{100 * mean(c.turned.agreement for c in cells):.1f} % | "
                      f"{100 * mean(c.untouched.agreement for c in cells):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
