"""Vectors of many texts, in shards; with a store, each shard is a file that outlives a crash.

Texts are embedded SHARD_TEXTS at a time. With an `EmbeddingStore` every finished shard is written whole or not at
all, memory-mapped when it is used, and found again by what it is: the encoder (settings and weights) and the texts.
A changed encoder or text therefore never meets a stale vector. Knows nothing of models and of search.

Shapes: D dimensions.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.errors import UserError

SHARD_TEXTS = 4096
"""Texts of a shard: what a crash can cost, and part of what decides which texts share a forward pass (so no flag)."""

Encode = Callable[[Sequence[str], str], np.ndarray]
"""(texts, words for the progress bar) -> float32 [len(texts), D]."""


def embed(texts: Sequence[str], encode: Encode, *, name: str, store: EmbeddingStore | None = None) -> list[np.ndarray]:
    """The vectors of all texts, in their order, as shards of one long table.

    Args:
        texts: what is embedded.
        encode: gives the vectors of some of them.
        name: what they are, in the plural, for progress bars.
        store: where finished shards are kept; without one they stay in memory.
    """
    shards = []
    num_shards = -(-len(texts) // SHARD_TEXTS)
    for number in range(num_shards):
        part = texts[number * SHARD_TEXTS : (number + 1) * SHARD_TEXTS]
        words = f"encoding {name}" + (f" {number + 1}/{num_shards}" if num_shards > 1 else "")
        shards.append(store.shard(part, encode, words) if store else encode(part, words))
    return shards


class EmbeddingStore:
    """Finished shards of one encoder, as files in a folder of their own.

    Args:
        folder: the folder of all encoders.
        encoder: everything that decides a text's vector: settings and the hash of the weights.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, encoder: Mapping[str, Any]) -> None:
        description = json.dumps(encoder, sort_keys=True, indent=2)
        self.folder = Path(folder) / hashlib.sha256(description.encode()).hexdigest()[:32]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "encoder.json").write_text(description + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write the embedding store {folder}: {error}", fix="name another folder") from error

    def shard(self, texts: Sequence[str], encode: Encode, words: str) -> np.ndarray:
        """The vectors of these texts, memory-mapped: those stored, or else encoded and stored now."""
        path = self.folder / f"{_fingerprint(texts)}.npy"
        stored = _load(path, len(texts))
        if stored is None:
            _save(path, encode(texts, words))
            stored = _load(path, len(texts))
        if stored is None:
            raise OSError(f"{path} could not be read back after it was written")
        return stored


def _fingerprint(texts: Sequence[str]) -> str:
    state = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:32]


def _load(path: Path, num_texts: int) -> np.ndarray | None:
    """The stored shard; None when it is absent, cut short, or not what it should be."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == num_texts and vectors.dtype == np.float32 else None


def _save(path: Path, vectors: np.ndarray) -> None:
    """Write a shard so that it is there whole or not at all, whatever dies meanwhile."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, vectors, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
