"""What comes of trying one document, whoever tries it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from sharprank.errors import UserError
from sharprank.synthesis.corpus import Document


@dataclass(frozen=True)
class Outcome:
    """A row, or why there is none.

    Attributes:
        row: {query, pos, neg}.
        reason: why there is no row.
        about: what else is worth knowing: ids of the passages, the query, verdicts.
    """

    row: dict[str, Any] | None = None
    reason: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


class Generator(Protocol):
    """Makes rows of documents."""

    def attempt(self, document: Document, turn: int) -> Outcome:
        """Try a document for the turn-th time, counted from 0.

        Raises:
            Stop: nothing more can be made now.
        """
        ...


class Stop(UserError):
    """The work cannot go on, but what was made is kept and the same command continues it."""
