"""A pool in memory, a ranking and a teacher whose scores can be read off the texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sharprank.mining.select import digest


def number_in(text: str) -> float:
    """The first decimal number of a text; 0 without one."""
    found = re.search(r"-?\d*\.\d+", text)
    return float(found[0]) if found else 0.0


class ListPool:
    """Passages by number, with ids p0, p1, ... if asked."""

    def __init__(self, texts: Sequence[str], *, with_ids: bool = False) -> None:
        self.texts = list(dict.fromkeys(texts))
        self.digests = np.array([digest(text) for text in self.texts], np.uint64)
        self._with_ids = with_ids

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> str:
        return self.texts[number]

    def find(self, text: str) -> int | None:
        return self.texts.index(text) if text in self.texts else None

    def passage_id(self, number: int) -> str | None:
        return f"p{number}" if self._with_ids else None


class NumberRanking:
    """Ranks a pool by the numbers in its texts, whatever the query; also knows these as cosines of the pool's texts."""

    def __init__(self, pool: ListPool, *, k: int = 10_000, beside: Sequence[str] = ()) -> None:
        self._pool, self._k, self._beside = pool, k, set(beside)

    def ranked(self, query: str) -> np.ndarray:
        values = np.array([number_in(text) for text in self._pool.texts])
        return np.argsort(-values, kind="stable")[: self._k]

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        known = [self._pool.find(text) is not None or text in self._beside for text in texts]
        return [number_in(text) if there else None for text, there in zip(texts, known, strict=True)]


class NumberScorer:
    """A teacher that scores a passage by the number behind "teacher", 0 without one; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []

    def score(self, pairs, *, windows=None, progress=None) -> np.ndarray:
        self.asked.append(list(pairs))
        return np.array([number_in(passage.partition("teacher")[2]) for _, passage in pairs], np.float32)
