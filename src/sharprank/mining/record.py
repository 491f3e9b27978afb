"""What became of a row, and the row as it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sharprank.formats.rows import NEGATIVE_SIMILARITY, POSITIVE_SIMILARITY
from sharprank.mining.config import MineConfig
from sharprank.mining.draft import Candidate
from sharprank.mining.sources import Source
from sharprank.records import TrainRow

NEGATIVE_RANK, NEGATIVE_SOURCE, NEGATIVE_ID, POSITIVE_ID = "neg_rank", "neg_source", "neg_id", "pos_id"
OF_NEGATIVES = (NEGATIVE_SIMILARITY, NEGATIVE_RANK, NEGATIVE_SOURCE, NEGATIVE_ID)
OF_POSITIVES = (POSITIVE_SIMILARITY, POSITIVE_ID)
DESCRIBED = (*OF_NEGATIVES, *OF_POSITIVES)


class Passages(Protocol):
    """The pool: texts by number (`sharprank.mining.pool.Pool` is one)."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> str: ...
    def find(self, text: str) -> int | None:
        """The number of a text; None when the pool does not hold it."""
        ...

    def passage_id(self, number: int) -> str | None:
        """The user's id of a passage; None when it has none."""
        ...


class Yardstick(Protocol):
    """Whose cosines filters look at and outputs show: the first bi-encoder's."""

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        """The cosine of the query with each text; None where a text was never embedded."""
        ...


class NoYardstick:
    """Knows no cosine: for sources without a bi-encoder."""

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        return [None] * len(texts)


@dataclass(frozen=True)
class MinedRow:
    """What became of one row.

    Attributes:
        row: as it was read.
        negatives: the mined ones, best rank first, draws last.
        met: every candidate that was looked at, in that order.
        kept: the row's own negatives that stay, before the mined ones.
        dropped: how many of the row's own negatives may not stay, by reason.
        promoted: candidates that the teacher made positives, behind the row's own.
        positive_similarities: cosine of the query with each of the row's own positives; None where unknown.
        positive_scores, kept_scores: the teacher's; empty without one.
    """

    row: TrainRow
    negatives: tuple[Candidate, ...] = ()
    met: tuple[Candidate, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    promoted: tuple[Candidate, ...] = ()
    positive_similarities: tuple[float | None, ...] = ()
    positive_scores: tuple[float, ...] = ()
    kept_scores: tuple[float, ...] = ()

    @property
    def lowest_similarity(self) -> float | None:
        """The smallest known cosine of a positive."""
        return min((value for value in self.positive_similarities if value is not None), default=None)

    @property
    def lowest_score(self) -> float | None:
        """The smallest of the teacher's scores of a positive."""
        return min(self.positive_scores, default=None)


class RecordMaker:
    """Makes the row that is written of a mined one.

    Args:
        sources: the first one's ranks are those of kept negatives.
    """

    def __init__(self, config: MineConfig, pool: Passages, sources: Sequence[Source], yardstick: Yardstick) -> None:
        self._config, self._pool, self._sources, self._yardstick = config, pool, sources, yardstick

    def text_of(self, number: int) -> str:
        """The text of a passage of the pool."""
        return self._pool[number]

    def record(self, mined: MinedRow) -> dict[str, Any]:
        """The row as it was read, keys in their order, with these negatives and without what described the old ones."""
        config, row = self._config, mined.row
        stale = {config.neg_scores_key, *OF_NEGATIVES, *(OF_POSITIVES if mined.promoted else ())}
        record = {key: value for key, value in row.fields.items() if key not in stale}
        record[config.positive_key] = [*row.positives, *(self._pool[one.number] for one in mined.promoted)]
        record[config.negative_key] = [*mined.kept, *(self._pool[one.number] for one in mined.negatives)]
        if config.teacher is not None:
            record[config.pos_scores_key] = [*mined.positive_scores, *(one.teacher_score for one in mined.promoted)]
            record[config.neg_scores_key] = [*mined.kept_scores, *(one.teacher_score for one in mined.negatives)]
        return record | (self._described(mined) if config.output_scores else {})

    def candidates(self, mined: MinedRow) -> dict[str, Any]:
        """The row's query and all candidates that were met, each with what is known of it and why it was refused."""
        return {"query": mined.row.query, "candidates": [self._candidate(one) for one in mined.met]}

    def _candidate(self, one: Candidate) -> dict[str, Any]:
        found = {
            "id": self._pool.passage_id(one.number),
            "number": one.number,
            "source": one.source,
            "rank": one.rank,
            "similarity": one.similarity,
            "teacher_score": one.teacher_score,
            "reason": one.reason,
        }
        return {key: value for key, value in found.items() if value is not None or key in ("rank", "reason")}

    def _described(self, mined: MinedRow) -> dict[str, Any]:
        """Cosines, ranks, sources and ids, aligned with the record's texts."""
        query, kept = mined.row.query, mined.kept
        found: dict[str, Any] = {
            NEGATIVE_SIMILARITY: [
                *self._yardstick.similarities(query, kept), *(one.similarity for one in mined.negatives)
            ],
            NEGATIVE_RANK: [*(self._rank(query, text) for text in kept), *(one.rank for one in mined.negatives)],
            POSITIVE_SIMILARITY: [*mined.positive_similarities, *(one.similarity for one in mined.promoted)],
        }  # fmt: skip
        if isinstance(self._yardstick, NoYardstick):  # no bi-encoder mined, so there is no cosine to write
            del found[NEGATIVE_SIMILARITY], found[POSITIVE_SIMILARITY]
        if len(self._sources) > 1:
            found[NEGATIVE_SOURCE] = [*(None for _ in kept), *(one.source for one in mined.negatives)]
        ids = {
            NEGATIVE_ID: [*map(self._id, kept), *(self._pool.passage_id(one.number) for one in mined.negatives)],
            POSITIVE_ID: [
                *map(self._id, mined.row.positives), *(self._pool.passage_id(one.number) for one in mined.promoted)
            ],
        }  # fmt: skip
        return found | (ids if any(one is not None for own in ids.values() for one in own) else {})

    def _id(self, text: str) -> str | None:
        number = self._pool.find(text)
        return None if number is None else self._pool.passage_id(number)

    def _rank(self, query: str, text: str) -> int | None:
        number = self._pool.find(text)
        return None if number is None else self._sources[0].rank(query, number)
