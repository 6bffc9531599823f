"""Text that is on every machine with this repository and Python: its sources and documents, and the standard library's."""

from __future__ import annotations

import hashlib
import pathlib
import sysconfig
from typing import Iterator, List, Tuple

import tokenizers

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENDINGS = {".py", ".md", ".rst", ".txt", ".h", ".cc", ".c"}
NOT_TEXT = {"build", "site-packages", "dist-packages", "lib2to3", "idlelib", "encodings", "__pycache__", "test", "tests"}
MIN_CHARACTERS = 2000
HELD_OUT = 20  # one of so many files


def _files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in sorted(root.iterdir()):
        if path.is_dir():
            if path.name not in NOT_TEXT and not path.name.startswith("."):
                yield from _files(path)
        elif path.suffix in ENDINGS:
            yield path


def _is_held_out(name: str) -> bool:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % HELD_OUT == 0


def documents() -> Tuple[List[str], List[str]]:
    """(to train on, held out): whole files. Which are held out depends on each file's own name, so that a model that is trained today
    is not asked tomorrow about what it has read."""
    train, held_out = [], []
    for root in (REPOSITORY, pathlib.Path(sysconfig.get_path("stdlib"))):
        for path in _files(root):
            text = path.read_text(errors="replace")
            if len(text) >= MIN_CHARACTERS:
                (held_out if _is_held_out(str(path.relative_to(root))) else train).append(text)
    return train, held_out


def train_tokenizer(texts: List[str], vocabulary: int) -> tokenizers.Tokenizer:
    """Byte-level BPE; token 0 stands between documents."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|document|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer
