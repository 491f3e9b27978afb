"""One row's negatives: what may not be one, what is kept, what is sampled, and the row as it is written.

Knows nothing of models and files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sharprank.mining.candidates import Candidates
from sharprank.mining.config import MineConfig
from sharprank.mining.select import Sampling, Selection, fill_from_pool, sample_window
from sharprank.records import TrainRow
from sharprank.retrieval.filters import Protected, fold

NEGATIVE_SIMILARITY, NEGATIVE_RANK, POSITIVE_SIMILARITY = "neg_similarity", "neg_rank", "pos_similarity"


@dataclass(frozen=True)
class MinedRow:
    """What became of one row.

    Attributes:
        record: the row as it is written.
        selection: the mined negatives.
        kept: the row's own negatives that stay, before the mined ones.
        dropped: how many of the row's own negatives may not stay, by reason.
        negative_similarities: cosine of the query with each mined negative.
        positive_similarities: cosine of the query with each positive; None where unknown.
        had_scores: the row came with teacher scores for negatives it no longer has.
    """

    record: dict[str, Any]
    selection: Selection
    kept: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    negative_similarities: tuple[float | None, ...] = ()
    positive_similarities: tuple[float | None, ...] = ()
    had_scores: bool = False


class RowMiner:
    """Finds the negatives of one row after the other.

    Args:
        config: the flags.
        candidates: the ranking of every query.
        positives: {folded query: its positives in all rows}: a positive of one row protects every row of its query.
    """

    def __init__(self, config: MineConfig, candidates: Candidates, positives: Mapping[str, Iterable[str]]) -> None:
        self._config = config
        self._candidates = candidates
        self._sampling = Sampling(config.window, config.negative_number, config.seed)
        self._positives = positives

    def mine(self, row: TrainRow) -> MinedRow:
        """The row with its negatives."""
        protected = Protected(
            row.query, row.positives, self._positives[fold(row.query)], threshold=self._config.near_duplicate
        )
        kept, dropped = self._existing(row, protected)
        selection = self._select(row.query, protected)
        mined = [self._candidates.pool[i] for i in selection.ids]
        similarities = self._candidates.similarities(row.query, [*row.positives, *kept, *mined])
        positive, negative = similarities[: len(row.positives)], similarities[len(row.positives) :]
        record = self._record(row, [*kept, *mined])
        if self._config.output_scores:
            record[NEGATIVE_SIMILARITY] = negative
            record[NEGATIVE_RANK] = [*self._ranks(row.query, kept), *selection.ranks]
            record[POSITIVE_SIMILARITY] = positive
        return MinedRow(
            record,
            selection,
            kept=kept,
            dropped=dropped,
            negative_similarities=tuple(negative[len(kept) :]),
            positive_similarities=tuple(positive),
            had_scores=row.fields.get(self._config.neg_scores_key) is not None,
        )

    def _existing(self, row: TrainRow, protected: Protected) -> tuple[tuple[str, ...], Counter[str]]:
        """The row's own negatives that stay, and how many do not, by reason."""
        kept: list[str] = []
        dropped: Counter[str] = Counter()
        for text in row.negatives if self._config.keep_existing else ():
            reason = protected.admit(text)
            if reason is None:
                kept.append(text)
            else:
                dropped[reason] += 1
        return tuple(kept), dropped

    def _select(self, query: str, protected: Protected) -> Selection:
        pool, ranked_K = self._candidates.pool, self._candidates.ranked(query)

        def admit(passage: int) -> str | None:
            return protected.admit(pool[passage])

        selection = sample_window(ranked_K, pool.digests[ranked_K], self._sampling, query=query, admit=admit)
        if self._config.top_up == "random":
            selection = fill_from_pool(
                selection, ranked_K, self._sampling, pool_size=len(pool), query=query, admit=admit
            )
        return selection

    def _ranks(self, query: str, texts: Iterable[str]) -> list[int | None]:
        """1-based rank of each text; None for those that are not among the query's candidates."""
        places = {passage: place for place, passage in enumerate(self._candidates.ranked(query).tolist(), start=1)}
        found = (self._candidates.pool.find(text) for text in texts)
        return [None if passage is None else places.get(passage) for passage in found]

    def _record(self, row: TrainRow, negatives: list[str]) -> dict[str, Any]:
        """The row as it was read, keys in their order, with these negatives and without what described the old ones."""
        config = self._config
        stale = {config.neg_scores_key, NEGATIVE_SIMILARITY, NEGATIVE_RANK, POSITIVE_SIMILARITY}
        record = {key: value for key, value in row.fields.items() if key not in stale}
        record[config.positive_key] = list(row.positives)
        record[config.negative_key] = negatives
        return record
