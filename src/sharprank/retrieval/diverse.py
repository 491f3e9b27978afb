"""Diverse retrieval: passages that answer the query, unlike the document it came from and unlike each other.

Greedy selection by maximal marginal relevance with a second penalty, as HopWeaver retrieves (reference system 004).
With weights divided by their sum, every round takes the candidate d with the highest

    l1 * rel(q, d)  -  l2 * cos(e(d), e(source))  -  l3 * max(0, max over the selected s of cos(e(d), e(s)))

Knows passages by id; what relevance and vectors are made of is a `Space`.

Shapes: N candidates, S selected ones, D dimensions.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sharprank.errors import UserError
from sharprank.retrieval.bm25 import BM25
from sharprank.retrieval.stored import Shard
from sharprank.retrieval.tfidf import TfIdf

POOL_FACTOR = 3
"""Diverse retrieval chooses among this many times top_k candidates."""

STANDARD_FACTOR = 2
"""Standard retrieval looks at this many times top_k before the source document is left out."""

DECIMALS = 12
"""Values closer than this are equal: rounding does not decide between two candidates."""


@dataclass(frozen=True)
class Weights:
    """How much relevance, distance from the source and variety count.

    Raises:
        UserError: a weight is negative or no number, or all are 0.
    """

    relevance: float = 0.7
    source: float = 0.1
    variety: float = 0.2

    def __post_init__(self) -> None:
        values = (self.relevance, self.source, self.variety)
        shown = ", ".join(f"lambda{number} {value:g}" for number, value in enumerate(values, 1))
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise UserError(f"{shown}: a weight is below 0 or no number", fix="use weights of 0 and more")
        if sum(values) == 0:
            raise UserError(
                f"{shown}: the weights sum to 0", fix="raise one of them; 0.7, 0.1 and 0.2 are the defaults"
            )

    def normalised(self) -> tuple[float, float, float]:
        """The three, divided by their sum."""
        total = self.relevance + self.source + self.variety
        return self.relevance / total, self.source / total, self.variety / total


def select_diverse(
    relevance_N: np.ndarray,
    vectors_ND: np.ndarray,
    source_D: np.ndarray | None,
    *,
    weights: Weights,
    top_k: int,
) -> list[tuple[int, float]]:
    """The candidates taken, in their order, with the value each had when it was taken (not monotone in general).

    Args:
        relevance_N: as the index gives it, untouched.
        vectors_ND: of any length; a zero vector is like nothing.
        source_D: the source document; None switches its term off.
        top_k: rounds at most. Of equal candidates the first is taken.
    """
    l1, l2, l3 = weights.normalised()
    unit_ND = _unit(np.asarray(vectors_ND, dtype=np.float64))
    fixed_N = l1 * np.asarray(relevance_N, dtype=np.float64)
    if source_D is not None:
        fixed_N = fixed_N - l2 * (unit_ND @ _unit(np.asarray(source_D, dtype=np.float64)[None])[0])
    nearest_N = np.zeros(len(fixed_N))
    open_N = np.ones(len(fixed_N), dtype=bool)
    taken: list[tuple[int, float]] = []
    for _ in range(min(top_k, len(fixed_N))):
        values_N = np.where(open_N, (fixed_N - l3 * nearest_N).round(DECIMALS), -np.inf)
        best = int(np.argmax(values_N))
        taken.append((best, float(values_N[best])))
        open_N[best] = False
        nearest_N = np.maximum(nearest_N, unit_ND @ unit_ND[best])
    return taken


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    lengths_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.divide(vectors_ND, lengths_N, out=np.zeros_like(vectors_ND), where=lengths_N > 0)


class Space(Protocol):
    """Where passages lie: how near to a query, and how near to each other."""

    def search(self, query: str, k: int) -> dict[str, float]:
        """The best k passages {id: relevance}, best first."""
        ...

    def vectors(self, passage_ids: Sequence[str]) -> np.ndarray:
        """float [N, D], comparable with each other."""
        ...


class WordSpace:
    """Relevance is BM25's score divided by the query's best one, likeness the cosine of tf-idf vectors.

    BM25 scores have no upper end; undivided, they would leave the two cosines without any say.

    Args:
        passages: {passage_id: text}.
    """

    def __init__(self, passages: Mapping[str, str], *, tfidf: TfIdf | None = None) -> None:
        self._passages = passages
        self._index = BM25(passages)
        self._tfidf = tfidf or TfIdf(passages.values())

    def search(self, query: str, k: int) -> dict[str, float]:
        """See `Space`."""
        found = self._index.search({"": query}, k, progress=None)[""]
        best = max(found.values(), default=1.0)
        return {passage_id: score / best for passage_id, score in found.items()}

    def vectors(self, passage_ids: Sequence[str]) -> np.ndarray:
        """See `Space`."""
        return self._tfidf.vectors([self._passages[passage_id] for passage_id in passage_ids])


class VectorSpace:
    """Relevance and likeness are inner products of a bi-encoder's vectors; passages are encoded as passages, once.

    Args:
        passages: {passage_id: text}.
        shards: their vectors, in the same order.
        encode_query: a query's vector [D].
    """

    def __init__(
        self, passages: Mapping[str, str], shards: Sequence[Shard], encode_query: Callable[[str], np.ndarray]
    ) -> None:
        self._ids = list(passages)
        self._rows = {passage_id: row for row, passage_id in enumerate(self._ids)}
        self._shards, self._encode_query = shards, encode_query

    def search(self, query: str, k: int) -> dict[str, float]:
        """See `Space`."""
        from sharprank.retrieval.faiss_index import search

        hits = search(self._shards, self._encode_query(query)[None], k)
        pairs = zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True)
        return {self._ids[row]: score for row, score in pairs if row >= 0}

    def vectors(self, passage_ids: Sequence[str]) -> np.ndarray:
        """See `Space`."""
        from sharprank.retrieval.table import take

        return take(self._shards, np.array([self._rows[passage_id] for passage_id in passage_ids], dtype=np.int64))


class Retriever:
    """Standard and diverse retrieval in one space, safe to call from several threads.

    Args:
        space: where the passages lie.
        weights: of diverse retrieval.
    """

    def __init__(self, space: Space, *, weights: Weights) -> None:
        self._space, self._weights = space, weights
        self._lock = threading.Lock()

    def best(self, query: str, top_k: int) -> dict[str, float]:
        """The best passages {id: relevance}, whatever they came from."""
        with self._lock:
            return self._space.search(query, top_k)

    def standard(self, query: str, top_k: int, *, source_id: str | None = None) -> dict[str, float]:
        """The best passages {id: relevance}, without the source document."""
        with self._lock:
            found = self._space.search(query, STANDARD_FACTOR * top_k)
        names = [name for name in found if name != source_id][:top_k]
        return {name: found[name] for name in names}

    def diverse(self, query: str, top_k: int, *, source_id: str | None = None) -> dict[str, float]:
        """Passages that are relevant, unlike the source and unlike each other, in the order they were taken.

        Returns:
            {id: value when it was taken}.
        """
        with self._lock:
            pool = self._space.search(query, POOL_FACTOR * top_k)
            names = [name for name in pool if name != source_id]
            if not names:
                return {}
            vectors_ND = self._space.vectors(names if source_id is None else [*names, source_id])
        source_D: Any = None if source_id is None else vectors_ND[-1]
        taken = select_diverse(
            np.array([pool[name] for name in names]),
            vectors_ND[: len(names)],
            source_D,
            weights=self._weights,
            top_k=top_k,
        )
        return {names[row]: value for row, value in taken}
