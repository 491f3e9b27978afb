"""Rows to mined rows: what may not be a negative, what is kept, what is taken.

Rows are worked on in blocks, so that a teacher judges many of them at a time: every row takes its negatives, the
teacher scores all of them, those it objects to are replaced, and again until none is new.

Knows nothing of models and files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from sharprank.mining.config import MineConfig
from sharprank.mining.draft import ABOVE_WINDOW, Candidate, Draft, Slot
from sharprank.mining.record import MinedRow, Passages, Yardstick
from sharprank.mining.select import shared
from sharprank.mining.sources import DrawnSource, Source
from sharprank.mining.teacher import PROMOTED, Teacher, TeacherRule
from sharprank.records import TrainRow
from sharprank.retrieval.filters import Protected, fold

TOP_UP = "top_up"

ROWS_AT_ONCE = 512
"""Rows of a block: the pairs that a teacher is asked for together."""


@dataclass
class _Work:
    """One row while it is being mined."""

    row: TrainRow
    draft: Draft
    kept: tuple[str, ...]
    dropped: Counter[str]
    positive_similarities: tuple[float | None, ...]
    new: list[Candidate]
    positive_scores: tuple[float, ...] = ()
    kept_scores: tuple[float, ...] = field(default=())


class RowMiner:
    """Finds the negatives of rows.

    Args:
        config: the flags.
        pool: the passages.
        sources: where candidates come from, in the order of `config.source_specs`.
        yardstick: whose cosines score filters look at.
        positives: {folded query: its positives in all rows}: a positive of one row protects every row of its query.
        near_positives: {query: positives of rows that ask nearly the same}.
        teacher: judges the negatives.
    """

    def __init__(
        self,
        config: MineConfig,
        pool: Passages,
        sources: Sequence[Source],
        *,
        yardstick: Yardstick,
        positives: Mapping[str, Iterable[str]],
        near_positives: Mapping[str, Iterable[str]] = MappingProxyType({}),
        teacher: Teacher | None = None,
    ) -> None:
        self._config = config
        self._windows = config.windows
        self._shares = [spec.share for spec in config.source_specs]
        self._rule = config.score_rule
        self._pool = pool
        self._sources = sources
        self._yardstick = yardstick
        self._positives, self._near_positives = positives, near_positives
        self._teacher = teacher

    def mine(self, rows: Iterable[TrainRow]) -> Iterator[MinedRow]:
        """The rows with their negatives, in their order."""
        remaining = iter(rows)
        while block := list(islice(remaining, ROWS_AT_ONCE)):
            works = [self._begin(row) for row in block]
            if self._teacher is not None:
                self._teach(works, self._teacher)
            yield from map(_finish, works)

    def _begin(self, row: TrainRow) -> _Work:
        protected = Protected(
            row.query,
            row.positives,
            self._positives.get(fold(row.query), ()),
            near_query_positives=self._near_positives.get(row.query, ()),
            threshold=self._config.near_duplicate,
        )
        kept, dropped = self._existing(row, protected)
        similarities = self._yardstick.similarities(row.query, row.positives)
        lowest = min((value for value in similarities if value is not None), default=None)
        above = self._above(row.query)

        def judge(candidate: Candidate) -> str | None:
            if candidate.rank is None and candidate.number in above:
                return ABOVE_WINDOW
            text = self._pool[candidate.number]
            if candidate.similarity is None:
                (candidate.similarity,) = self._yardstick.similarities(row.query, [text])
            reason = protected.reason(text)
            if reason is None and candidate.similarity is not None:
                reason = self._rule.reason(candidate.similarity, lowest)
            if reason is None:
                protected.add(text)
            return reason

        draft = Draft(self._slots(row.query), judge)
        return _Work(row, draft, kept, dropped, tuple(similarities), draft.take())

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
        options = {"how": self._config.sampling, "seed": self._config.seed}
        slots = [
            Slot(number, source.turns(query, window, **options))
            for window in self._windows
            for source, number in zip(self._sources, shared(window.number or 0, self._shares), strict=True)
        ]
        if self._config.top_up == "random":
            whole_pool = DrawnSource(TOP_UP, pool_size=len(self._pool))
            slots.append(Slot(0, whole_pool.turns(query, self._windows[0], **options)))
        return slots

    def _above(self, query: str) -> frozenset[int]:
        """What no draw may give, since it ranks above all windows."""
        low = min(window.low for window in self._windows)
        return frozenset().union(*(source.above(query, low) for source in self._sources))

    # --- the teacher ---------------------------------------------------------------------------------------------

    def _teach(self, works: Sequence[_Work], teacher: Teacher) -> None:
        """Let the teacher score the rows' own texts and judge their negatives, until no negative is new."""
        own = [(work, text) for work in works for text in (*work.row.positives, *work.kept)]
        scores = iter(teacher.scores([(work.row.query, text) for work, text in own]).tolist())
        for work in works:
            work.positive_scores = tuple(next(scores) for _ in work.row.positives)
            work.kept_scores = tuple(next(scores) for _ in work.kept)
        rule = TeacherRule(self._config.teacher_margin, self._config.teacher_ceiling, self._config.teacher_promote)
        while asked := [(work, candidate) for work in works for candidate in work.new]:
            pairs = [(work.row.query, self._pool[candidate.number]) for work, candidate in asked]
            for (work, candidate), score, probability in zip(asked, *teacher.judged(pairs), strict=True):
                candidate.teacher_score = float(score)
                reason = rule.reason(float(score), float(probability), min(work.positive_scores))
                if reason is not None:
                    work.draft.refuse(candidate, reason)
            for work in works:
                work.new = work.draft.take() if work.new else []


def _finish(work: _Work) -> MinedRow:
    return MinedRow(
        work.row,
        negatives=tuple(work.draft.taken),
        met=tuple(work.draft.met),
        kept=work.kept,
        dropped=work.dropped,
        promoted=tuple(candidate for candidate in work.draft.met if candidate.reason == PROMOTED),
        positive_similarities=work.positive_similarities,
        positive_scores=work.positive_scores,
        kept_scores=work.kept_scores,
    )
