"""Text that is on every machine with this repository and Python: its sources and documents, and the standard library's."""

from __future__ import annotations

import pathlib
import random
import sysconfig
from typing import Iterator, List, Tuple

import tokenizers

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENDINGS = {".py", ".md", ".rst", ".txt", ".h", ".cc", ".c"}
NOT_TEXT = {"build", "site-packages", "dist-packages", "lib2to3", "idlelib", "encodings", "__pycache__", "test", "tests"}
MIN_CHARACTERS = 2000
HELD_OUT_SHARE = 0.05
SPLIT_SEED = 1


def _files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in sorted(root.iterdir()):
        if path.is_dir():
            if path.name not in NOT_TEXT and not path.name.startswith("."):
                yield from _files(path)
        elif path.suffix in ENDINGS:
            yield path


def documents() -> Tuple[List[str], List[str]]:
    """(to train on, held out): whole files, in an order that depends on nothing but their names."""
    roots = [REPOSITORY, pathlib.Path(sysconfig.get_path("stdlib"))]
    texts = [path.read_text(errors="replace") for root in roots for path in _files(root)]
    texts = [text for text in texts if len(text) >= MIN_CHARACTERS]
    random.Random(SPLIT_SEED).shuffle(texts)
    held_out = int(len(texts) * HELD_OUT_SHARE)
    return texts[held_out:], texts[:held_out]


def train_tokenizer(texts: List[str], vocabulary: int) -> tokenizers.Tokenizer:
    """Byte-level BPE; token 0 stands between documents."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|document|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer
