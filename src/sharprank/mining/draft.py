"""One row's negatives in the making: candidates are taken in their turn, judged, and put back when a teacher objects.

Every window of ranks and every source is a slot with a number to take. What a slot cannot give, the others give in
their order, so a row gets too few only when all its candidates were met. Knows no texts and no scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

ABOVE_WINDOW = "ranked above the window"


@dataclass
class Candidate:
    """A passage that was met on the way, and what became of it.

    Attributes:
        number: its number in the pool.
        source: which ranking (or draw) offered it.
        rank: 1-based in that ranking; None for a draw.
        similarity: cosine with the query; None where it is not known.
        teacher_score: raw score of the teacher; None where it was not asked.
        reason: why it is no negative; None while it is one.
    """

    number: int
    source: str
    rank: int | None = None
    similarity: float | None = None
    teacher_score: float | None = None
    reason: str | None = None


@dataclass
class Slot:
    """Where some of the negatives come from.

    Attributes:
        number: how many it should give; 0 for one that only stands in for the others.
        turns: its candidates, in their turn.
    """

    number: int
    turns: Iterator[Candidate]
    taken: list[Candidate] = field(default_factory=list)


Judge = Callable[[Candidate], "str | None"]
"""Candidate -> why it may not be a negative; None when it may, and then it is one."""


class Draft:
    """The negatives of one row so far.

    Args:
        slots: in the order in which they stand in for each other.
        judge: told of every candidate whose turn it is, once.

    Attributes:
        met: every candidate whose turn it was, in that order.
    """

    def __init__(self, slots: Sequence[Slot], judge: Judge) -> None:
        self._slots = slots
        self._judge = judge
        self._number = sum(slot.number for slot in slots)
        self._known: set[int] = set()
        self.met: list[Candidate] = []

    @property
    def taken(self) -> list[Candidate]:
        """The negatives: best rank first, draws last."""
        found = [candidate for slot in self._slots for candidate in slot.taken]
        return sorted(found, key=lambda one: (one.rank is None, one.rank or 0))

    def take(self) -> list[Candidate]:
        """Fill the row as far as candidates go; returns the negatives that are new."""
        new: list[Candidate] = []
        for slot in self._slots:
            self._fill(slot, slot.number - len(slot.taken), new)
        for slot in self._slots:
            self._fill(slot, self._number - sum(len(one.taken) for one in self._slots), new)
        return new

    def refuse(self, candidate: Candidate, reason: str) -> None:
        """A negative is none after all; `take` may replace it."""
        candidate.reason = reason
        for slot in self._slots:
            slot.taken = [one for one in slot.taken if one is not candidate]

    def _fill(self, slot: Slot, number: int, new: list[Candidate]) -> None:
        while number > 0 and (candidate := next(slot.turns, None)) is not None:
            if candidate.number in self._known:
                continue
            self._known.add(candidate.number)
            self.met.append(candidate)
            candidate.reason = self._judge(candidate)
            if candidate.reason is None:
                slot.taken.append(candidate)
                new.append(candidate)
                number -= 1
