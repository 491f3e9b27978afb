"""Which queries are held out: whole queries, by a hash of each and the seed, so neither row order nor number matters.

Knows rows and groups only by their `query`; those that ask the same thing (case and white space folded) stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from sharprank.errors import UserError

FEWEST_HELD_OUT = 2


class HasQuery(Protocol):
    """A row, or a group."""

    @property
    def query(self) -> str: ...


T = TypeVar("T", bound=HasQuery)


def hold_out(items: Iterable[T], *, share: float, seed: int) -> tuple[list[T], list[T]]:
    """Divide rows or groups into (to train on, held out); those of one query stay together.

    Args:
        share: of the distinct queries that are held out, at least FEWEST_HELD_OUT of them.

    Raises:
        UserError: too few distinct queries.
    """
    items = list(items)
    queries = sorted({fold(item.query) for item in items}, key=lambda query: _draw(query, seed))
    num_held_out = max(FEWEST_HELD_OUT, round(share * len(queries)))
    if len(queries) - num_held_out < FEWEST_HELD_OUT:
        raise UserError(
            f"{len(queries)} distinct queries (not counting any held out before) are too few to hold some out and "
            f"train on the rest: {num_held_out} to measure on, and at least {FEWEST_HELD_OUT} to train on",
            fix="bring more queries, hold out a smaller share, or name other data to measure on with --eval_data",
        )
    held_out = set(queries[:num_held_out])
    kept = [item for item in items if fold(item.query) not in held_out]
    return kept, [item for item in items if fold(item.query) in held_out]


def fold(query: str) -> str:
    """A query as far as it tells queries apart: without case and spare white space."""
    return " ".join(query.casefold().split())


def _draw(query: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{query}".encode("utf-8", "surrogatepass")).digest()
