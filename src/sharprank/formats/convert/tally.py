"""What becomes of records on their way to rows: how many were read and written, and what was left out and why.

Two kinds of losses: records that are broken (an error, or skipped, as `BadRows` says) and records that are whole but
give no row (no passage of theirs is a positive, say), which are always counted and never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sharprank.formats.bad_rows import BadRows, shown
from sharprank.records import Place

Row = dict[str, Any]

NO_POSITIVES, NO_NEGATIVES, EMPTY_QUERY = "no positives", "no negatives", "empty query"


class Tally:
    """Counts of one conversion.

    Args:
        bad_rows: what happens to broken records.
        need_negatives: leave out rows without a negative.

    Attributes:
        num_read: records (for passages or pairs that are gathered by query: queries).
        num_written: rows.
        dropped: records without a row, by reason.
        texts: texts left out of rows that were written, by reason.
    """

    def __init__(self, bad_rows: BadRows | None = None, *, need_negatives: bool = False) -> None:
        self.bad_rows = bad_rows or BadRows()
        self.need_negatives = need_negatives
        self.num_read = self.num_written = 0
        self.dropped: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()

    def row(self, query: str, positives: Iterable[str], negatives: Iterable[str] = ()) -> Row | None:
        """A row, its lists in their order, without blank and repeated texts; None when there is none to write."""
        self.num_read += 1
        pos = self._distinct(positives, set())
        neg = self._distinct(negatives, set(pos))
        if not query.strip():
            return self.drop(EMPTY_QUERY)
        if not pos:
            return self.drop(NO_POSITIVES)
        if not neg and self.need_negatives:
            return self.drop(NO_NEGATIVES)
        self.num_written += 1
        return {"query": query, "pos": pos, "neg": neg}

    def drop(self, reason: str) -> None:
        """Count a record that gives no row."""
        self.dropped[reason] += 1

    def reject(self, place: Place, problem: str, *, fix: str, reason: str) -> None:
        """Count a broken record, or stop at it.

        Raises:
            UserError: bad rows are errors.
        """
        self.bad_rows.reject(place, problem, fix=fix, reason=reason)

    def text(self, fields: Any, key: str, place: Place) -> str | None:
        """The text in a field; None (and the record counted) when there is none.

        Raises:
            UserError: it is no text, and bad rows are errors.
        """
        value = fields.get(key)
        if isinstance(value, str):
            return value
        problem = f"{key!r} is {shown(value)}, not a text" if key in fields else f"no field {key!r}"
        self.reject(place, problem, fix=f"give every record a text in {key!r}", reason=f"no text in {key!r}")
        return None

    def numbers(self) -> dict[str, Any]:
        """What a report says."""
        return {
            "rows": self.num_written,
            "dropped": dict((self.dropped + self.bad_rows.counts).most_common()),
            "texts_left_out": dict(self.texts.most_common()),
        }

    def _distinct(self, texts: Iterable[str], taken: set[str]) -> list[str]:
        positives = frozenset(taken)
        kept: list[str] = []
        for text in texts:
            if not text.strip():
                self.texts["blank"] += 1
            elif text in positives:
                self.texts["negative that is also a positive"] += 1
            elif text in taken:
                self.texts["repeated in its list"] += 1
            else:
                taken.add(text)
                kept.append(text)
        return kept
