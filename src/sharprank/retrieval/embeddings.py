"""Vectors of many texts, in shards; with a store, each shard is a file that outlives a crash.

Texts are embedded SHARD_TEXTS at a time. With an `EmbeddingStore` every finished shard is written whole or not at
all, and found again by what it is: the encoder (settings and weights) and the texts. A changed encoder or text
therefore never meets a stale vector, and a file cut short is made again. Several ranks share the shards that are
missing; which texts share a shard depends on their order alone. Knows nothing of models and of search.

Shapes: D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.cache import check_cache, entry_folder, hash_texts, key_of
from sharprank.progress import Bar, progress_bar, track
from sharprank.ranks import ALONE, Ranks
from sharprank.retrieval.stored import Shard, StoredArray, load_array, save_array

SHARD_TEXTS = 4096
"""Texts of a shard: what a crash can cost, and part of what decides which texts share a forward pass (so no flag)."""

SHARDS_WORTH_A_BAR = 100

KIND = "embeddings"
"""Of the cache's entries."""

DTYPES = ("float32", "float16")
"""Of the stored numbers."""

Encode = Callable[[Sequence[str], "Bar | None"], np.ndarray]
"""(texts, the progress bar to advance) -> float32 [len(texts), D]."""


def embed(
    texts: Sequence[str], encode: Encode, *, name: str, store: EmbeddingStore | None = None, ranks: Ranks = ALONE
) -> list[Shard]:
    """The vectors of all texts, in their order, as shards of one long table.

    Args:
        texts: what is embedded; read a shard at a time.
        encode: gives the vectors of some of them.
        name: what they are, in the plural, for progress bars.
        store: where finished shards are kept; without one they stay in memory.
        ranks: who shares the work; more than one need a store.
    """
    if store is not None:
        return store.fill(texts, store.missing(texts, ranks), encode, name=name, ranks=ranks)
    with progress_bar(total=len(texts), desc=f"encoding {name}", unit="text") as bar:
        return [encode(part, bar) for part in parts(texts)]


def parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts of one shard after the other."""
    for start in range(0, len(texts), SHARD_TEXTS):
        yield texts[start : start + SHARD_TEXTS]


class Inventory:
    """What a store holds of some texts.

    Attributes:
        names: the file of every shard.
        missing: the positions of those that are not there.
        num_texts: how many texts there are.
    """

    def __init__(self, names: list[str], missing: list[int], num_texts: int) -> None:
        self.names, self.missing, self.num_texts = names, missing, num_texts

    @property
    def num_missing(self) -> int:
        """Texts of the missing shards."""
        return self.texts_in(self.missing)

    def texts_in(self, shards: Sequence[int]) -> int:
        """Texts of some shards; all but the last hold SHARD_TEXTS."""
        return sum(min(SHARD_TEXTS, self.num_texts - number * SHARD_TEXTS) for number in shards)

    @property
    def key(self) -> str:
        """Stands for all the texts, in their order."""
        return key_of(self.names)


class EmbeddingStore:
    """Finished shards of one encoder, as files in an entry of a cache.

    Args:
        root: the cache.
        encoder: everything that decides a text's vector: settings and the hash of the weights.
        dtype: what the numbers are stored as; float16 halves the disk they take.

    Raises:
        UserError: the cache cannot be written.
    """

    def __init__(self, root: Path, encoder: Mapping[str, Any], *, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"vectors are stored as {' or '.join(DTYPES)}, not {dtype}")
        check_cache(Path(root))
        about = {**encoder, "shard_texts": SHARD_TEXTS, "stored_as": dtype}
        self.key = key_of(about)
        self.folder = entry_folder(Path(root), KIND, self.key, about)
        self._dtype = np.dtype(dtype)

    def missing(self, texts: Sequence[str], ranks: Ranks = ALONE) -> Inventory:
        """Which shards these texts have, and which of them are still to be made."""
        return ranks.agree(lambda: self._inventory(texts))

    def fill(
        self, texts: Sequence[str], inventory: Inventory, encode: Encode, *, name: str, ranks: Ranks = ALONE
    ) -> list[Shard]:
        """Make the missing shards; returns all."""
        own = ranks.share(inventory.missing)
        total = inventory.texts_in(own)
        words = f"encoding {name}" + (f" (rank 1 of {ranks.count})" if ranks.count > 1 else "")
        with progress_bar(total=total, desc=words if own else None, unit="text") as bar:
            for number in own:
                part = texts[number * SHARD_TEXTS : (number + 1) * SHARD_TEXTS]
                save_array(self._path(inventory.names[number]), encode(part, bar).astype(self._dtype))
        ranks.wait()
        return [self._shard(shard) for shard in inventory.names]

    def _inventory(self, texts: Sequence[str]) -> Inventory:
        total = -(-len(texts) // SHARD_TEXTS)
        words = "looking for kept vectors" if total >= SHARDS_WORTH_A_BAR else None
        names = [hash_texts(part) for part in track(parts(texts), total=total, desc=words, unit="shard")]
        missing = [number for number, name in enumerate(names) if load_array(self._path(name)) is None]
        return Inventory(names, missing, len(texts))

    def _shard(self, name: str) -> StoredArray:
        stored = load_array(self._path(name), check=False)
        if stored is None:
            raise OSError(f"{self._path(name)} could not be read back after it was written")
        return stored

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.npy"
