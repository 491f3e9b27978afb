"""Token ids on disk: a set of texts is tokenised once, and read as memory-mapped ids ever after.

An entry of the cache is found by the tokenizer, the way texts are shortened, and the texts; it is written whole or
not at all. Ids take two bytes each where the vocabulary allows. Knows nothing of queries, passages and pairs.

Shapes: N texts, T tokens of all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.cache import ABOUT_FILE, PARTIAL, check_cache, hash_texts, key_of, mark_used
from sharprank.models.batches import Tokens

KIND = "tokens"
"""Of the cache's entries."""

_IDS, _OFFSETS = "ids.bin", "offsets.npy"


class TokenStore:
    """Token ids of one tokenizer, kept in a cache.

    Args:
        root: the cache's folder.
        tokenizer: a transformers tokenizer; what it does to a text decides where its ids are found.

    Raises:
        UserError: the cache cannot be written.
    """

    def __init__(self, root: Path, tokenizer: Any) -> None:
        check_cache(root)
        self.root = root
        self._tokenizer = tokenizer_fingerprint(tokenizer)
        self._dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.int32)

    def tokens(self, texts: Sequence[str], make: Iterable[Tokens], *, cut: str) -> Tokens:
        """The ids of `texts`; read back where they were made before.

        Args:
            make: gives the ids, some texts at a time, in their order; only asked where nothing is kept.
            cut: how they are shortened, which decides with the tokenizer and the texts what is found.
        """
        about = {"tokenizer": self._tokenizer, "cut": cut, "num_texts": len(texts)}
        folder = self.root / f"{KIND}-{key_of({**about, 'texts': hash_texts(texts)})}"
        kept = _load(folder, len(texts), self._dtype)
        if kept is None:
            self._write(folder, make, about)
            kept = _load(folder, len(texts), self._dtype)
            if kept is None:
                raise OSError(f"{folder} could not be read back after it was written")
        mark_used(folder)
        return kept

    def _write(self, folder: Path, make: Iterable[Tokens], about: dict[str, Any]) -> None:
        partial = folder.with_name(f".{folder.name}.{os.getpid()}{PARTIAL}")
        partial.mkdir()
        try:
            offsets = _save_ids(partial / _IDS, make, self._dtype)
            np.save(partial / _OFFSETS, offsets)
            (partial / ABOUT_FILE).write_text(json.dumps(about), encoding="utf-8")
            if folder.exists():  # cut short, or written by another process meanwhile
                shutil.rmtree(folder, ignore_errors=True)
            try:
                partial.rename(folder)
            except OSError:
                if _load(folder, len(offsets) - 1, self._dtype) is None:
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of everything that decides a text's ids: two tokenizers that share it give the same ids."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return key_of([type(tokenizer).__name__, _without_state(backend.to_str())])
    return key_of([type(tokenizer).__name__, tokenizer.get_vocab(), str(tokenizer.init_kwargs)])


@lru_cache(maxsize=4)
def _without_state(serialised: str) -> str:
    """A serialised tokenizer without its truncation and padding, which are set by every call anew."""
    content = json.loads(serialised)
    for name in ("truncation", "padding"):
        content.pop(name, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _save_ids(path: Path, make: Iterable[Tokens], dtype: np.dtype[Any]) -> np.ndarray:
    """Write the ids as they come; returns the offsets, int64 [N + 1]."""
    lengths: list[np.ndarray] = []
    with open(path, "wb") as file:
        for part in make:
            part.ids.astype(dtype).tofile(file)
            lengths.append(part.lengths)
    return np.concatenate([[0], *lengths]).cumsum(dtype=np.int64)


def _load(folder: Path, num_texts: int, dtype: np.dtype[Any]) -> Tokens | None:
    """What a folder holds, or None where it is not whole."""
    try:
        offsets = np.load(folder / _OFFSETS, allow_pickle=False)
        num_tokens = int(offsets[-1])
        if len(offsets) != num_texts + 1 or (folder / _IDS).stat().st_size != num_tokens * dtype.itemsize:
            return None
        ids = np.memmap(folder / _IDS, dtype=dtype, mode="r") if num_tokens else np.zeros(0, dtype)
    except (OSError, ValueError, EOFError, IndexError):
        return None
    return Tokens(ids, offsets)
