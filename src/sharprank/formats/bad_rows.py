"""What happens to rows that cannot be used: the first one stops the work, or they are skipped and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.records import Place


class BadRows:
    """What to do with rows that cannot be used, and how many there were.

    Args:
        policy: "error" stops at the first, "skip" counts them by reason in `counts`.
        skip_hint: what a message says about skipping; None where the caller cannot skip.
        told: called with (place, problem, reason) of each row that is skipped.
    """

    def __init__(
        self,
        policy: str = "error",
        *,
        skip_hint: str | None = "pass --on_bad_row skip",
        told: Callable[[Place, str, str], None] | None = None,
    ) -> None:
        if policy not in ("error", "skip"):
            raise UserError(f"--on_bad_row {policy!r} is unknown", fix="use error or skip")
        self.policy: Literal["error", "skip"] = "skip" if policy == "skip" else "error"
        self.counts: Counter[str] = Counter()
        self._skip_hint = skip_hint
        self._told = told

    def reject(self, place: Place, problem: str, *, fix: str, reason: str) -> None:
        """Stop with `place: problem`, or count the row under `reason`.

        Raises:
            UserError: the policy is "error".
        """
        if self.policy == "error":
            hint = f", or {self._skip_hint}" if self._skip_hint else ""
            raise UserError(f"{place}: {problem}", fix=f"{fix}{hint}")
        self.counts[reason] += 1
        if self._told is not None:
            self._told(place, problem, reason)


def shown(value: Any) -> str:
    """A value as messages show it, shortened."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
