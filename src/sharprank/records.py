"""The records that travel between the stages: plain, frozen, without behaviour beyond naming themselves.

Texts are kept exactly as they were read. Checks on them live in `sharprank.formats.rows`, where the file
and the line are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Run = dict[str, dict[str, float]]
"""A ranking: {query_id: {passage_id: score}}, higher is better."""

Qrels = dict[str, dict[str, int]]
"""Human judgements: {query_id: {passage_id: relevance}}, 0 is not relevant."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record came from, for messages: a file (or hub dataset) and its 1-based line or row."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Record:
    """One raw record as a reader found it: its fields, and where it stood."""

    fields: Mapping[str, Any]
    place: Place


@dataclass(frozen=True, slots=True)
class TrainRow:
    """One query with its known positives and negatives.

    `pos_scores` and `neg_scores` are teacher scores, aligned with `positives` and `negatives`.
    `fields` is the record as read (key order kept), so that a writer can give back what it was given.
    """

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    pos_scores: tuple[float, ...] | None = None
    neg_scores: tuple[float, ...] | None = None
    prompt: str | None = None
    place: Place = Place("memory")
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """One query with the passages known for it: what every form of training data becomes.

    `relevance` of each passage is 0 (not relevant) to 1, or None where nobody judged; `teacher_scores` are raw scores
    of a bigger model, of each passage, or None. `first_stage` scores are those of the ranking that the reranker is to
    improve (None for a passage that it does not rank); None where nothing is known of it.
    """

    query: str
    passages: tuple[str, ...]
    relevance: tuple[float, ...] | None = None
    teacher_scores: tuple[float, ...] | None = None
    place: Place = Place("memory")
    first_stage: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One row of a candidate pool."""

    text: str
    passage_id: str | None = None
    place: Place = Place("memory")


@dataclass(frozen=True, slots=True)
class Collection:
    """A test collection: texts by id, and the judgements of one split."""

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Qrels
    split: str
