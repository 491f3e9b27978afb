"""The candidate pool: every passage that may become a negative, once, in an order that never changes.

A pool read from a file keeps the file's order. A pool gathered from the rows themselves is ordered by a hash of
each text, so that the order of the rows decides nothing. Two passages are the same when they differ only in
white space; the first spelling met is kept.

Knows nothing of models and scores.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sharprank.mining.select import digest
from sharprank.records import Passage, TrainRow


class Pool:
    """Distinct passages by id (their position).

    Attributes:
        digests: uint64 [N], a hash of each text.
        num_read: passages met, duplicates included.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: list[str] = []
        self._ids: dict[int, int] = {}
        self.num_read = 0
        for text in texts:
            self.num_read += 1
            if self._ids.setdefault(_key(text), len(self._texts)) == len(self._texts):
                self._texts.append(text)
        self.digests = np.fromiter(self._ids, np.uint64, len(self._ids))

    @classmethod
    def of_passages(cls, passages: Iterable[Passage]) -> Pool:
        """The pool of a passages file, in its order."""
        return cls(passage.text for passage in passages)

    @classmethod
    def of_rows(cls, rows: Iterable[TrainRow]) -> Pool:
        """The pool of all positives and negatives of the rows."""
        met = cls(text for row in rows for text in (*row.positives, *row.negatives))
        pool = cls(met.texts[i] for i in np.argsort(met.digests).tolist())
        pool.num_read = met.num_read
        return pool

    @property
    def texts(self) -> list[str]:
        """The passages in the order of their ids."""
        return self._texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, passage_id: int) -> str:
        return self._texts[passage_id]

    def find(self, text: str) -> int | None:
        """The id of this passage, in any spelling of white space; None when the pool does not hold it."""
        return self._ids.get(_key(text))


def _key(text: str) -> int:
    return digest(" ".join(text.split()))
