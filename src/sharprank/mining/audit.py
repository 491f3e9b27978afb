"""Checks of a mined file, whoever mined it: negatives that are positives, repeated or empty texts, broken scores.

The file is read twice: first for the positives of every query, then row by row. A finding is something that no
training should see; a note is something to know. Loads no model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.rows import RowKeys, parse_row
from sharprank.formats.sources import iter_records
from sharprank.mining.audit_config import AuditConfig
from sharprank.mining.record import (
    DESCRIBED,
    NEGATIVE_ID,
    NEGATIVE_RANK,
    NEGATIVE_SIMILARITY,
    NEGATIVE_SOURCE,
    POSITIVE_SIMILARITY,
)
from sharprank.mining.select import digest
from sharprank.progress import track
from sharprank.records import Place, TrainRow
from sharprank.retrieval.filters import fold, near, plain, shingles
from sharprank.retrieval.minhash import near_pairs

POSITIVE = "a positive among the negatives"
NEAR_POSITIVE = "a near-duplicate of a positive among the negatives"
SAME_QUERY = "a positive of another row with the same query among the negatives"
NEAR_QUERY = "a positive of a row that asks nearly the same among the negatives"
QUERY = "the query among its passages"
TWICE = "a negative twice"
NEAR_TWICE = "a negative nearly twice"
POSITIVE_TWICE = "a positive twice"
NO_NEGATIVE = "no negative"
SCORES_OF_ONE_SIDE = "scores of one side only"
BROKEN_DESCRIPTION = "broken scores, ranks or ids"

_TEXT_LENGTH = 60


@dataclass(frozen=True)
class Finding:
    """Something wrong, and where."""

    place: Place
    kind: str
    detail: str


@dataclass(frozen=True)
class Audit:
    """What was found in a file.

    Attributes:
        num_above: negatives that score at least as high as a positive of their row, of `num_compared` with scores on
            both sides: the teacher's where there are some, else cosines.
        num_distinct: different negatives.
        commonest: the negative that stands in the most rows, shortened, and in how many.
    """

    num_rows: int
    num_negatives: int
    findings: list[Finding]
    num_above: int = 0
    num_compared: int = 0
    num_distinct: int = 0
    commonest: tuple[str, int] = ("", 0)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, most first."""
        return dict(Counter(finding.kind for finding in self.findings).most_common())


def audit(config: AuditConfig) -> Audit:
    """Check every row.

    Raises:
        UserError: there is no such file, or nothing in it.
    """
    others = _positives_of_queries(config)
    checker = _Checker(config, others)
    rejected: list[Finding] = []
    bad_rows = BadRows("skip", told=lambda place, problem, reason: rejected.append(Finding(place, reason, problem)))
    num_rows = 0
    for row in track(_rows(config, bad_rows), desc="checking rows", unit="row"):
        num_rows += 1
        checker.check(row)
    if not num_rows and not rejected:
        raise UserError(f"{config.source} holds no row", fix="name a file of mined rows")
    findings = sorted([*rejected, *checker.findings], key=lambda one: (one.place.path, one.place.line or 0))
    commonest, number = max(checker.uses.items(), key=lambda item: item[1], default=(0, 0))
    return Audit(
        num_rows + sum(one.place.line is not None for one in rejected),
        checker.num_negatives,
        findings,
        num_above=checker.num_above,
        num_compared=checker.num_compared,
        num_distinct=len(checker.uses),
        commonest=(checker.seen.get(commonest, ""), number),
    )


def _rows(config: AuditConfig, bad_rows: BadRows) -> Iterator[TrainRow]:
    for record in iter_records(config.source, default_split="train", bad_rows=bad_rows):
        row = parse_row(record, keys=config.keys, bad_rows=bad_rows)
        if row is not None:
            yield row


@dataclass
class _Others:
    """Positives of all rows, as digests of their plain texts, by the digest of the folded query.

    Attributes:
        near: the queries (digests) that ask nearly the same.
    """

    positives: dict[int, set[int]]
    near: dict[int, list[int]]


def _positives_of_queries(config: AuditConfig) -> _Others:
    positives: dict[int, set[int]] = {}
    queries: list[str] = []
    for row in track(_rows(config, BadRows("skip")), desc="reading rows", unit="row"):
        own = positives.setdefault(digest(fold(row.query)), set())
        if not own:
            queries.append(row.query)
        own.update(digest(plain(text)) for text in row.positives)
    neighbours: dict[int, list[int]] = {}
    if config.near_duplicate <= 1:
        for i, j in near_pairs(queries, queries.__getitem__, threshold=config.near_duplicate):
            left, right = (digest(fold(queries[number])) for number in (i, j))
            neighbours.setdefault(left, []).append(right)
            neighbours.setdefault(right, []).append(left)
    return _Others(positives, neighbours)


class _Checker:
    """Checks one row after the other, and counts what no row alone can tell."""

    def __init__(self, config: AuditConfig, others: _Others) -> None:
        self._keys, self._threshold, self._others = config.keys, config.near_duplicate, others
        self.findings: list[Finding] = []
        self.num_negatives = self.num_above = self.num_compared = 0
        self.uses: Counter[int] = Counter()
        self.seen: dict[int, str] = {}

    def check(self, row: TrainRow) -> None:
        """Look at one row."""
        for kind, detail in (*self._texts(row), *_described(row, self._keys)):
            self.findings.append(Finding(row.place, kind, detail))
        self._count(row)

    def _texts(self, row: TrainRow) -> Iterator[tuple[str, str]]:
        keys = self._keys
        if not row.negatives:
            yield NO_NEGATIVE, f"{keys.negatives!r} is empty"
        own: dict[str, str] = {}
        for number, text in enumerate(row.positives):
            name = f"{keys.positives}[{number}]"
            if plain(text) in own:
                yield POSITIVE_TWICE, f"{name} is {own[plain(text)]}: {_short(text)}"
            own.setdefault(plain(text), name)
            if plain(text) == plain(row.query):
                yield QUERY, f"{name} is the query: {_short(text)}"
        met: dict[str, str] = {}
        for number, text in enumerate(row.negatives):
            yield from self._negative(row, text, f"{keys.negatives}[{number}]", own, met)

    def _negative(
        self, row: TrainRow, text: str, name: str, own: Mapping[str, str], met: dict[str, str]
    ) -> Iterator[tuple[str, str]]:
        """What is wrong with one negative: the first thing found."""
        key = plain(text)
        if key in own:
            yield POSITIVE, f"{name} is {own[key]}: {_short(text)}"
        elif key == plain(row.query):
            yield QUERY, f"{name} is the query: {_short(text)}"
        elif key in met:
            yield TWICE, f"{name} is {met[key]}: {_short(text)}"
        elif (kind := self._positive_elsewhere(row, key)) is not None:
            yield kind, f"{name}: {_short(text)}"
        elif self._is_near(text, row.positives):
            yield NEAR_POSITIVE, f"{name}: {_short(text)}"
        elif self._is_near(text, [row.negatives[i] for i in range(len(met))]):
            yield NEAR_TWICE, f"{name}: {_short(text)}"
        met.setdefault(key, name)

    def _positive_elsewhere(self, row: TrainRow, key: str) -> str | None:
        query, text = digest(fold(row.query)), digest(key)
        if text in self._others.positives.get(query, ()):
            return SAME_QUERY
        near_ones = self._others.near.get(query, ())
        return NEAR_QUERY if any(text in self._others.positives[other] for other in near_ones) else None

    def _is_near(self, text: str, others: Sequence[str]) -> bool:
        if self._threshold > 1 or not others:
            return False
        own = shingles(text)
        return any(near(own, shingles(other), self._threshold) for other in others)

    def _count(self, row: TrainRow) -> None:
        self.num_negatives += len(row.negatives)
        for text in row.negatives:
            key = digest(plain(text))
            self.uses[key] += 1
            if self.uses[key] == 2:  # only what is used again can be the commonest
                self.seen[key] = _short(text)
        positive, negative = _scores(row)
        if positive and negative:
            self.num_compared += len(negative)
            self.num_above += sum(score >= min(positive) for score in negative)


def _scores(row: TrainRow) -> tuple[Sequence[float], Sequence[float]]:
    """Scores of both sides: the teacher's, else cosines; empty where there are none."""
    if row.pos_scores and row.neg_scores:
        return row.pos_scores, row.neg_scores
    sides = (row.fields.get(name) for name in (POSITIVE_SIMILARITY, NEGATIVE_SIMILARITY))
    positive, negative = ([v for v in side if _is_number(v)] if isinstance(side, list) else [] for side in sides)
    return positive, negative


def _described(row: TrainRow, keys: RowKeys) -> Iterator[tuple[str, str]]:
    """Lists that go with the texts: of their length, and of what they should hold (null where it is not known)."""
    if (row.pos_scores is None) != (row.neg_scores is None) and row.negatives:
        there, missing = (keys.pos_scores, keys.neg_scores)[:: 1 if row.neg_scores is None else -1]
        yield SCORES_OF_ONE_SIDE, f"{there!r} without {missing!r}"
    for name in DESCRIBED:
        value = row.fields.get(name)
        if value is None:
            continue
        side = keys.positives if name.startswith("pos") else keys.negatives
        texts = row.positives if name.startswith("pos") else row.negatives
        if not isinstance(value, list) or len(value) != len(texts):
            size = len(value) if isinstance(value, list) else shown(value)
            yield BROKEN_DESCRIPTION, f"{name!r} has {size} entries for {len(texts)} texts in {side!r}"
            continue
        wrong = next((i for i, one in enumerate(value) if one is not None and not _may_stand_in(name)(one)), None)
        if wrong is not None:
            yield BROKEN_DESCRIPTION, f"{name}[{wrong}] is {shown(value[wrong])}"


def _may_stand_in(name: str) -> Callable[[Any], bool]:
    if name == NEGATIVE_RANK:
        return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if name in (NEGATIVE_SIMILARITY, POSITIVE_SIMILARITY):
        return _is_number
    if name in (NEGATIVE_SOURCE, NEGATIVE_ID):
        return lambda value: isinstance(value, str)
    return lambda value: isinstance(value, (str, int))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _TEXT_LENGTH else one_line[: _TEXT_LENGTH - 3] + "..."
