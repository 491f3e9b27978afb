"""Rows to mined rows: what may not be a negative, what is kept, what is taken, and the row as it is written.

Rows are worked on in blocks, so that a teacher judges many of them at a time: every row takes its negatives, the
teacher scores all of them, those it objects to are replaced, and again until none is new.

Knows nothing of models and files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from sharprank.mining.config import MineConfig
from sharprank.mining.draft import ABOVE_WINDOW, Candidate, Draft, Slot
from sharprank.mining.select import shared
from sharprank.mining.sources import DrawnSource, Source
from sharprank.mining.teacher import PROMOTED, Teacher, TeacherRule
from sharprank.records import TrainRow
from sharprank.retrieval.filters import Protected, fold

NEGATIVE_SIMILARITY, NEGATIVE_RANK, POSITIVE_SIMILARITY = "neg_similarity", "neg_rank", "pos_similarity"
NEGATIVE_SOURCE, NEGATIVE_ID, POSITIVE_ID = "neg_source", "neg_id", "pos_id"
TOP_UP = "top_up"

ROWS_AT_ONCE = 512
"""Rows of a block: the pairs that a teacher is asked for together."""


class Passages(Protocol):
    """The pool: texts by number (`sharprank.mining.pool.Pool` is one)."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> str: ...
    def find(self, text: str) -> int | None:
        """The number of a text; None when the pool does not hold it."""
        ...

    def passage_id(self, number: int) -> str | None:
        """The user's id of a passage."""
        ...


class Similarities(Protocol):
    """Cosines of queries and texts: those of the first bi-encoder."""

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        """The cosine of the query with each text; None where a text was never embedded."""
        ...


@dataclass(frozen=True)
class MinedRow:
    """What became of one row.

    Attributes:
        row: as it was read.
        record: as it is written.
        negatives: the mined ones, in their order in the record.
        met: every candidate that was looked at.
        kept: the row's own negatives that stay, before the mined ones.
        dropped: how many of the row's own negatives may not stay, by reason.
        promoted: candidates that became positives, in their order in the record.
        positive_similarities: cosine of the query with each of the row's own positives; None where unknown.
        had_scores: the row came with teacher scores for negatives it no longer has.
    """

    row: TrainRow
    record: dict[str, Any]
    negatives: tuple[Candidate, ...] = ()
    met: tuple[Candidate, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    promoted: tuple[Candidate, ...] = ()
    positive_similarities: tuple[float | None, ...] = ()
    positive_scores: tuple[float, ...] = ()
    had_scores: bool = False


@dataclass
class _Work:
    """One row while it is being mined; teacher scores of its own texts come last."""

    row: TrainRow
    draft: Draft
    kept: tuple[str, ...]
    dropped: Counter[str]
    positive_similarities: tuple[float | None, ...]
    positive_scores: tuple[float, ...] = ()
    kept_scores: tuple[float, ...] = ()
    new: list[Candidate] = field(default_factory=list)


class RowMiner:
    """Finds the negatives of rows.

    Args:
        config: the flags.
        pool: the passages.
        sources: where candidates come from, each with its share of the negatives.
        yardstick: whose cosines score filters look at and outputs show; None where no bi-encoder is asked.
        positives: {folded query: its positives in all rows}: a positive of one row protects every row of its query.
        teacher: judges the negatives.
    """

    def __init__(
        self,
        config: MineConfig,
        pool: Passages,
        sources: Sequence[tuple[Source, float]],
        *,
        yardstick: Similarities | None,
        positives: Mapping[str, Iterable[str]],
        teacher: Teacher | None = None,
    ) -> None:
        self._config = config
        self._pool = pool
        self._sources = [source for source, _ in sources]
        self._shares = [share for _, share in sources]
        self._yardstick = yardstick
        self._positives = positives
        self._teacher = teacher
        self._rule = config.score_rule
        self._judgement = TeacherRule(config.teacher_margin, config.teacher_ceiling, config.teacher_promote)

    def mine(self, rows: Iterable[TrainRow]) -> Iterator[MinedRow]:
        """The rows with their negatives, in their order."""
        remaining = iter(rows)
        while block := list(islice(remaining, ROWS_AT_ONCE)):
            works = [self._begin(row) for row in block]
            self._ask_about_own(works)
            while any([work.new for work in works]):  # a list: every row is looked at
                self._judge(works)
            yield from (self._finish(work) for work in works)

    # --- one row before the teacher ------------------------------------------------------------------------------

    def _begin(self, row: TrainRow) -> _Work:
        same_query = self._positives.get(fold(row.query), ())
        protected = Protected(row.query, row.positives, same_query, threshold=self._config.near_duplicate)
        kept, dropped = self._existing(row, protected)
        similarities = self._cosines(row.query, row.positives)
        lowest = min((value for value in similarities if value is not None), default=None)
        above = self._above(row.query)

        def judge(candidate: Candidate) -> str | None:
            if candidate.rank is None and candidate.number in above:
                return ABOVE_WINDOW
            text = self._pool[candidate.number]
            (candidate.similarity,) = self._cosines(row.query, [text])
            reason = protected.reason(text)
            if reason is None and candidate.similarity is not None:
                reason = self._rule.reason(candidate.similarity, lowest)
            if reason is None:
                protected.add(text)
            return reason

        draft = Draft(self._slots(row.query), judge)
        return _Work(row, draft, kept, dropped, tuple(similarities), new=draft.take())

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

    def _slots(self, query: str) -> list[Slot]:
        config = self._config
        slots = [
            Slot(number, source.turns(query, window, how=config.sampling, seed=config.seed))
            for window in config.windows
            for source, number in zip(self._sources, shared(window.number or 0, self._shares), strict=True)
        ]
        if config.top_up == "random":
            pool = DrawnSource(TOP_UP, pool_size=len(self._pool))
            slots.append(Slot(0, pool.turns(query, config.windows[0], how=config.sampling, seed=config.seed)))
        return slots

    def _above(self, query: str) -> frozenset[int]:
        """What no draw may give, since it ranks above all windows."""
        low = min(window.low for window in self._config.windows)
        return frozenset().union(*(source.above(query, low) for source in self._sources))

    def _cosines(self, query: str, texts: Sequence[str]) -> list[float | None]:
        return [None] * len(texts) if self._yardstick is None else self._yardstick.similarities(query, texts)

    # --- the teacher ---------------------------------------------------------------------------------------------

    def _ask_about_own(self, works: Sequence[_Work]) -> None:
        """Scores of the rows' own positives and kept negatives."""
        if self._teacher is None:
            for work in works:
                work.new = []
            return
        texts = [(*work.row.positives, *work.kept) for work in works]
        scores = self._scores([(work.row.query, text) for work, own in zip(works, texts, strict=True) for text in own])
        for work, own in zip(works, texts, strict=True):
            found = tuple(next(scores) for _ in own)
            work.positive_scores = found[: len(work.row.positives)]
            work.kept_scores = found[len(work.row.positives) :]

    def _judge(self, works: Sequence[_Work]) -> None:
        """Score the new negatives, put back those that the teacher objects to, and take others for them."""
        assert self._teacher is not None
        asked = [(work, candidate) for work in works for candidate in work.new]
        pairs = [(work.row.query, self._pool[candidate.number]) for work, candidate in asked]
        for (work, candidate), score in zip(asked, self._scores(pairs), strict=True):
            candidate.teacher_score = score
            probability = float(self._teacher.probability_of(score))
            reason = self._judgement.reason(score, probability, min(work.positive_scores))
            if reason is not None:
                work.draft.refuse(candidate, reason)
        for work in works:
            work.new = work.draft.take() if work.new else []

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> Iterator[float]:
        assert self._teacher is not None
        return iter(self._teacher.scores(pairs).tolist())

    # --- one row after the teacher -------------------------------------------------------------------------------

    def _finish(self, work: _Work) -> MinedRow:
        negatives = tuple(work.draft.taken)
        promoted = tuple(candidate for candidate in work.draft.met if candidate.reason == PROMOTED)
        return MinedRow(
            work.row,
            self._record(work, negatives, promoted),
            negatives=negatives,
            met=tuple(work.draft.met),
            kept=work.kept,
            dropped=work.dropped,
            promoted=promoted,
            positive_similarities=work.positive_similarities,
            positive_scores=work.positive_scores,
            had_scores=work.row.fields.get(self._config.neg_scores_key) is not None,
        )

    def _record(
        self, work: _Work, negatives: Sequence[Candidate], promoted: Sequence[Candidate]
    ) -> dict[str, Any]:
        """The row as it was read, keys in their order, with these negatives and without what described the old ones."""
        config, row = self._config, work.row
        described = (NEGATIVE_SIMILARITY, NEGATIVE_RANK, POSITIVE_SIMILARITY, NEGATIVE_SOURCE, NEGATIVE_ID, POSITIVE_ID)
        stale = {config.neg_scores_key, *described}
        record = {key: value for key, value in row.fields.items() if key not in stale}
        record[config.positive_key] = [*row.positives, *(self._pool[one.number] for one in promoted)]
        record[config.negative_key] = [*work.kept, *(self._pool[one.number] for one in negatives)]
        if self._teacher is not None:
            record[config.pos_scores_key] = [*work.positive_scores, *(one.teacher_score for one in promoted)]
            record[config.neg_scores_key] = [*work.kept_scores, *(one.teacher_score for one in negatives)]
        if config.output_scores:
            record |= self._described(work, negatives, promoted)
        return record

    def _described(
        self, work: _Work, negatives: Sequence[Candidate], promoted: Sequence[Candidate]
    ) -> dict[str, Any]:
        """Cosines, ranks, sources and ids, aligned with the record's texts."""
        query, kept = work.row.query, work.kept
        found: dict[str, Any] = {
            NEGATIVE_SIMILARITY: [*self._cosines(query, kept), *(one.similarity for one in negatives)],
            NEGATIVE_RANK: [*self._ranks(query, kept), *(one.rank for one in negatives)],
            POSITIVE_SIMILARITY: [*work.positive_similarities, *(one.similarity for one in promoted)],
        }
        if len(self._sources) > 1:
            found[NEGATIVE_SOURCE] = [*(None for _ in kept), *(one.source for one in negatives)]
        ids = {
            NEGATIVE_ID: [*map(self._id_of, kept), *(self._pool.passage_id(one.number) for one in negatives)],
            POSITIVE_ID: [
                *map(self._id_of, work.row.positives), *(self._pool.passage_id(one.number) for one in promoted)
            ],
        }  # fmt: skip
        return found | (ids if any(one is not None for own in ids.values() for one in own) else {})

    def _id_of(self, text: str) -> str | None:
        number = self._pool.find(text)
        return None if number is None else self._pool.passage_id(number)

    def _ranks(self, query: str, texts: Iterable[str]) -> list[int | None]:
        """1-based rank of each text in the first source; None for those that it does not rank."""
        texts = list(texts)
        if not texts:
            return []
        places = self._sources[0].places(query)
        found = (self._pool.find(text) for text in texts)
        return [None if passage is None else places.get(passage) for passage in found]
