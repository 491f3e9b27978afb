"""Where candidates come from: rankings (bi-encoders, BM25, TREC runs) and draws (the pool, other rows' positives).

`--sources` names them with their shares of a row's negatives: `dense:2,bm25:1,run.trec:1,random:1`. Every source gives
a query's candidates in their turn; a ranking does so for each window of ranks, a draw without ranks.
Knows passages by their number in the pool.

Shapes: K candidates of one query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sharprank.errors import UserError
from sharprank.mining.draft import Candidate
from sharprank.mining.select import How, Window, draws, turns
from sharprank.retrieval.faiss_index import SCORE_DECIMALS

DENSE, BM25, RANDOM, IN_BATCH = "dense", "bm25", "random", "in_batch"
_RUN_ENDINGS = (".trec", ".run", ".trec.gz", ".run.gz")


@dataclass(frozen=True)
class SourceSpec:
    """A source as the user named it.

    Attributes:
        name: `dense` (the model of --model_name_or_path), `bm25`, `random`, `in_batch`, a run's path, or a bi-encoder.
        share: of a row's negatives, in proportion to the shares of the other sources.
    """

    name: str
    share: float = 1.0

    @property
    def is_run(self) -> bool:
        return self.name.lower().endswith(_RUN_ENDINGS)

    @property
    def is_encoder(self) -> bool:
        """Whether it is a bi-encoder."""
        return self.name not in (BM25, RANDOM, IN_BATCH) and not self.is_run

    @property
    def is_ranked(self) -> bool:
        return self.name not in (RANDOM, IN_BATCH)


def parse_sources(written: str) -> tuple[SourceSpec, ...]:
    """The sources of `--sources`: names, each with an optional share after a colon, separated by commas.

    >>> [(one.name, one.share) for one in parse_sources("dense:2, bm25")]
    [('dense', 2.0), ('bm25', 1.0)]

    Raises:
        UserError: no name, a share that is no positive number, a source twice, or draws alone.
    """
    specs = tuple(_spec(part.strip(), written) for part in written.split(","))
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"--sources {written!r} names {twice} twice", fix="name every source once, with its share")
    if not any(spec.is_ranked for spec in specs):
        raise UserError(
            f"--sources {written!r} has no ranking",
            fix="add dense, bm25, a bi-encoder or a TREC run: hard negatives rank",
        )
    return specs


def _spec(part: str, written: str) -> SourceSpec:
    name, colon, tail = part.rpartition(":")
    if not colon or "/" in tail or "\\" in tail:
        name, tail = part, "1"
    try:
        share = float(tail)
    except ValueError:
        share = 0.0
    if not name or not 0 < share < float("inf"):
        raise UserError(
            f"--sources {written!r}: {part!r} is not a source with a share above 0",
            fix="write names with shares, as dense:2,bm25:1,run.trec:1,random:1",
        )
    return SourceSpec(name, share)


class Source(Protocol):
    """Gives candidates of a query in their turn."""

    name: str

    def turns(self, query: str, window: Window, *, how: How, seed: int) -> Iterator[Candidate]:
        """The candidates of a window of ranks; of a draw, all there are."""
        ...

    def above(self, query: str, low: int) -> frozenset[int]:
        """The passages ranked above a window that begins at `low`: what the window was chosen to leave out."""
        ...

    def rank(self, query: str, number: int) -> int | None:
        """1-based rank of a passage; None where the source does not rank it."""
        ...


class Ranking(Protocol):
    """A ranking: a bi-encoder's, BM25's, or a run's."""

    def ranked(self, query: str) -> np.ndarray:
        """Numbers int64 [K] of the query's candidates, best first."""
        ...


class RankedSource:
    """A source that ranks.

    Args:
        digests_N: a hash of each passage of the pool, uint64.
        cosines: gives the cosines [K] of a query's candidates, where the ranking is by them; None where it is not, or
            where its cosines are not those that outputs show.
    """

    def __init__(
        self,
        name: str,
        ranking: Ranking,
        digests_N: np.ndarray,
        *,
        cosines: Callable[[str], np.ndarray] | None = None,
    ) -> None:
        self.name = name
        self._ranking = ranking
        self._digests_N = digests_N
        self._cosines = cosines

    def turns(self, query: str, window: Window, *, how: How, seed: int) -> Iterator[Candidate]:
        ranked_K = self._ranking.ranked(query)
        order = turns(self._digests_N[ranked_K], window, how=how, seed=seed, query=query)
        cosines_K = None if self._cosines is None else self._cosines(query)
        for place in order.tolist():
            cosine = None if cosines_K is None else round(float(cosines_K[place]), SCORE_DECIMALS)
            yield Candidate(int(ranked_K[place]), self.name, place + 1, cosine)

    def above(self, query: str, low: int) -> frozenset[int]:
        return frozenset(self._ranking.ranked(query)[:low].tolist())

    def rank(self, query: str, number: int) -> int | None:
        places = np.flatnonzero(self._ranking.ranked(query) == number)
        return int(places[0]) + 1 if len(places) else None


class DrawnSource:
    """A source that draws: from the whole pool, or from some of it.

    Args:
        numbers: the passages to draw from; None for all.
        pool_size: passages of the pool.
    """

    def __init__(self, name: str, *, pool_size: int, numbers: np.ndarray | None = None) -> None:
        self.name = name
        self._numbers = numbers
        self._total = pool_size if numbers is None else len(numbers)

    def turns(self, query: str, window: Window, *, how: How, seed: int) -> Iterator[Candidate]:
        for drawn in draws(self.name, self._total, seed=seed, query=query):
            yield Candidate(drawn if self._numbers is None else int(self._numbers[drawn]), self.name)

    def above(self, query: str, low: int) -> frozenset[int]:
        return frozenset()

    def rank(self, query: str, number: int) -> int | None:
        return None
