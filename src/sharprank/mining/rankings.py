"""Rankings that need no vectors: BM25 over the pool, and TREC runs that any other system made.

Passages are known by their number in the pool. A run names them by id, and queries by the ids that the rows carry.

Shapes: K candidates of one query.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sharprank.errors import UserError
from sharprank.formats.trec import iter_run, twice
from sharprank.progress import say, track
from sharprank.records import TrainRow
from sharprank.retrieval.bm25 import BM25

QUERY_ID_KEYS = ("query_id", "qid", "_id", "id")
"""Where a row may carry its query's id, the first that it has."""


class BM25Ranking:
    """BM25 over the pool. Its index is held in memory: 8 bytes for every different word of every passage, and several
    times that while it is built.

    Args:
        texts: the passages, read one at a time.
        k: candidates of a query at most.

    Raises:
        UserError: there is no word in any passage.
    """

    def __init__(self, texts: Sequence[str], *, k: int) -> None:
        self._index = BM25(texts)
        self._k = k
        self._last: tuple[str, np.ndarray] | None = None

    def ranked(self, query: str) -> np.ndarray:
        """Numbers int64 [K] of the query's candidates, best first."""
        if self._last is None or self._last[0] != query:
            self._last = query, self._index.best(query, self._k)[0]
        return self._last[1]


class RunRanking:
    """A TREC run as a ranking.

    Args:
        ranked: {query text: numbers int64 [K], best first}.
    """

    def __init__(self, ranked: Mapping[str, np.ndarray]) -> None:
        self._ranked = ranked

    def ranked(self, query: str) -> np.ndarray:
        """Numbers int64 [K] of the query's candidates, best first; none for a query the run does not know."""
        return self._ranked.get(query, np.empty(0, np.int64))


def query_ids(rows: Iterable[TrainRow]) -> dict[str, str]:
    """{query id: query text} of the rows that carry an id (QUERY_ID_KEYS).

    Raises:
        UserError: one id with two queries.
    """
    found: dict[str, str] = {}
    for row in rows:
        value = next((row.fields[key] for key in QUERY_ID_KEYS if row.fields.get(key) is not None), None)
        if isinstance(value, (str, int)) and found.setdefault(str(value), row.query) != row.query:
            raise UserError(f"{row.place}: id {value} stands for two queries", fix="give every query an id of its own")
    return found


def read_run_ranking(
    path: str, queries: Mapping[str, str], number_of: Callable[[str], int | None], *, k: int
) -> RunRanking:
    """The ranking of a TREC run for the rows' queries.

    Args:
        queries: {query id: query text}.
        number_of: gives the number of a passage id in the pool; None for one that it does not hold.
        k: candidates of a query at most.

    Raises:
        UserError: a broken run, none of its queries or passages known, a passage twice for a query.
    """
    found: dict[str, tuple[array[int], array[float]]] = {}
    num_lines = num_unknown = 0
    unknown = ""
    for _, query_id, passage_id, score in track(iter_run(path), desc=f"reading {Path(path).name}", unit="line"):
        num_lines += 1
        if query_id not in queries:
            continue
        number = number_of(passage_id)
        if number is None:
            num_unknown, unknown = num_unknown + 1, unknown or passage_id
            continue
        numbers, scores = found.setdefault(query_id, (array("q"), array("d")))
        numbers.append(number)
        scores.append(score)
    if not found:
        what = "passages are in the pool by these ids" if num_unknown else "queries have a row with their id"
        raise UserError(
            f"{path}: none of its {what}" + (f" (the first: {unknown})" if num_unknown else ""),
            fix="passages need the ids of the pool (_id, id, ...), rows the ids of the run's queries "
            f"({', '.join(QUERY_ID_KEYS)})",
        )
    if num_unknown:
        say(f"note: {path}: {num_unknown:,} of {num_lines:,} lines name passages outside the pool, first: {unknown}")
    return RunRanking({queries[name]: _best(path, name, *columns, k=k) for name, columns in found.items()})


def _best(path: str, query_id: str, numbers: array[int], scores: array[float], *, k: int) -> np.ndarray:
    """Numbers of the best k, equal scores by number."""
    numbers_K, scores_K = np.array(numbers, np.int64), np.array(scores, np.float64)
    distinct, counts = np.unique(numbers_K, return_counts=True)
    if len(distinct) < len(numbers_K):
        raise twice(path, query_id, f"number {int(distinct[np.argmax(counts)])} of the pool")
    return numbers_K[np.lexsort((numbers_K, -scores_K))][:k]
