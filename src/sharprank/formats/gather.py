"""Passages gathered by query: what the readers of all forms of training data fill.

Repeated passages are dropped and counted; a passage labelled twice differently is a bad row. When everything is read,
`finish` turns labels into relevance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sharprank.formats.bad_rows import BadRows
from sharprank.formats.labels import Label, LabelScale, shown_label
from sharprank.records import Group, Place

REPEATED = "repeated passages of a query"
POSITIVE_TOO = "negatives that are also positives of their row"


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of one passage of a query.

    Attributes:
        label: as the data has it, to be put on a scale.
        relevance: where it needs no scale (a row's positives and negatives).
        teacher: score of a bigger model.
        first_stage: score of the ranking that is to be improved.
    """

    place: Place
    label: Label | None = None
    relevance: float | None = None
    teacher: float | None = None
    first_stage: float | None = None


@dataclass(slots=True)
class Gathered:
    """A query and its passages so far."""

    query: str
    place: Place
    members: dict[str, Member] = field(default_factory=dict)


class Gathering:
    """All queries so far.

    Args:
        bad_rows: what happens to contradictions and to labels outside the scale.

    Attributes:
        left_out: passages that were dropped, by reason.
    """

    def __init__(self, bad_rows: BadRows) -> None:
        self.bad_rows = bad_rows
        self.left_out: Counter[str] = Counter()
        self._all: list[Gathered] = []
        self._by_query: dict[str, Gathered] = {}

    def begin(self, query: str, place: Place) -> Gathered:
        """A query with a list of passages of its own."""
        self._all.append(Gathered(query, place))
        return self._all[-1]

    def of_query(self, query: str, place: Place) -> Gathered:
        """The query as far as it is gathered from records of single passages."""
        if query not in self._by_query:
            self._by_query[query] = self.begin(query, place)
        return self._by_query[query]

    def add(self, gathered: Gathered, passage: str, member: Member) -> None:
        """Add a passage, unless it is there.

        Raises:
            UserError: it is there with another label, and bad rows are errors.
        """
        before = gathered.members.setdefault(passage, member)
        if before is member:
            return
        if before.label == member.label and before.relevance == member.relevance:
            self.left_out[REPEATED] += 1
        elif before.label is None and member.label is None:
            self.left_out[POSITIVE_TOO] += 1
        else:
            problem = f"a passage is labelled {_shown(member)} for its query, and {_shown(before)} at {before.place}"
            self.bad_rows.reject(member.place, problem, fix="keep one of them", reason="labelled twice differently")

    def labels(self) -> Counter[Label]:
        """How often each label was given."""
        return Counter(m.label for one in self._all for m in one.members.values() if m.label is not None)

    def finish(self, scale: LabelScale) -> Iterator[Group]:
        """The groups, with relevance for labels; relevance and teacher scores only where every passage has them.

        Raises:
            UserError: a label outside the scale, and bad rows are errors.
        """
        for one in self._all:
            known = {text: self._relevance(member, scale) for text, member in one.members.items()}
            kept = [text for text, member in one.members.items() if member.label is None or known[text] is not None]
            if kept:
                yield Group(
                    one.query,
                    tuple(kept),
                    _if_all([known[text] for text in kept]),
                    _if_all([one.members[text].teacher for text in kept]),
                    one.place,
                    _if_any([one.members[text].first_stage for text in kept]),
                )

    def _relevance(self, member: Member, scale: LabelScale) -> float | None:
        if member.label is None:
            return member.relevance
        value = scale.relevance(member.label)
        if value is None:
            self.bad_rows.reject(
                member.place,
                f"label {shown_label(member.label)} is outside the scale ({scale})",
                fix="correct it, describe the labels with --label_map or --max_label, or pass --scores_are teacher "
                "where the `scores` of lists are a teacher's",
                reason="label outside the scale",
            )
        return value


def _if_all(values: list[float | None]) -> tuple[float, ...] | None:
    numbers = tuple(value for value in values if value is not None)
    return numbers if len(numbers) == len(values) else None


def _if_any(values: list[float | None]) -> tuple[float | None, ...] | None:
    return None if all(value is None for value in values) else tuple(values)


def _shown(member: Member) -> str:
    return "nothing" if member.label is None else shown_label(member.label)
