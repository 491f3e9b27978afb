"""Rows that ask nearly the same: what is a positive of one is no negative of the other.

Queries are compared as passages are (`sharprank.retrieval.filters`), all with all by MinHash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sharprank.progress import track
from sharprank.retrieval.filters import fold
from sharprank.retrieval.minhash import near_pairs


class NearQueries(Mapping[str, "tuple[str, ...]"]):
    """{query: positives of the rows that ask nearly the same, but not the same}.

    Args:
        queries: the distinct queries of all rows, by number.
        positives: {folded query: positives of its rows}.
        threshold: overlap from which two queries are nearly the same; above 1, none are.
    """

    def __init__(self, queries: Sequence[str], positives: Mapping[str, Iterable[str]], *, threshold: float) -> None:
        self._positives = positives
        self._near: dict[str, list[str]] = {}
        asked = track(queries, total=len(queries), desc="comparing queries", unit="query")
        for i, j in near_pairs(asked, queries.__getitem__, threshold=threshold) if threshold <= 1 else ():
            left, right = fold(queries[i]), fold(queries[j])
            if left != right:
                self._near.setdefault(left, []).append(right)
                self._near.setdefault(right, []).append(left)

    def __getitem__(self, query: str) -> tuple[str, ...]:
        others = dict.fromkeys(self._near[fold(query)])
        return tuple(dict.fromkeys(text for other in others for text in self._positives.get(other, ())))

    def __iter__(self) -> Iterator[str]:
        return iter(self._near)

    def __len__(self) -> int:
        return len(self._near)
