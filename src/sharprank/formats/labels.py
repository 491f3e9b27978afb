"""From the labels that people or other systems gave to relevance between 0 (not relevant) and 1.

By default linear: the lowest label, 0, becomes 0 and the highest in the data 1. Any other assignment is a map,
`3=1,2=0.75,1=0.5,0=0.25`, which also takes labels that are words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sharprank.errors import UserError

Label = float | str
"""A number, or (only with a map) a word."""

_MAP_FIX = "write it as --label_map 3=1,2=0.75,1=0.5,0=0.25: each label and its relevance from 0 to 1"


@dataclass(frozen=True)
class LabelScale:
    """What each label is worth.

    Attributes:
        values: relevance of each label; None for a linear scale.
        low, high: labels of relevance 0 and 1 on a linear scale; `high` None until `fitted`.
    """

    values: Mapping[Label, float] | None = None
    low: float = 0.0
    high: float | None = None

    @classmethod
    def parse(cls, label_map: str | None = None, *, low: float = 0.0, high: float | None = None) -> LabelScale:
        """The scale that flags describe.

        Args:
            label_map: `label=relevance,...` or a JSON object; a linear scale without it.

        Raises:
            UserError: not such a map, a relevance outside 0..1, or an empty scale.
        """
        if label_map is not None:
            return cls(values=_parse_map(label_map))
        if not math.isfinite(low) or (high is not None and not (math.isfinite(high) and high > low)):
            raise UserError(
                f"--min_label {low:g} to --max_label {high} is no scale",
                fix="give --max_label a value above --min_label",
            )
        return cls(low=low, high=high)

    def fitted(self, labels: Iterable[Label]) -> LabelScale:
        """With the highest label of the data as `high`, where that is not set."""
        if self.values is not None or self.high is not None:
            return self
        numbers = [label for label in labels if isinstance(label, float)]
        return replace(self, high=max([*numbers, self.low]))

    def relevance(self, label: Label) -> float | None:
        """Relevance of a label; None where it is outside the scale."""
        if self.values is not None:
            return self.values.get(label)
        if isinstance(label, str) or self.high is None or not self.low <= label <= self.high:
            return None
        return (label - self.low) / ((self.high - self.low) or 1.0)

    @property
    def lowest(self) -> float:
        """Relevance of the worst label, which passages that nobody judged get."""
        return min(self.values.values()) if self.values is not None else 0.0

    def __str__(self) -> str:
        if self.values is not None:
            return ", ".join(shown_label(label) for label in self.values)
        return f"{self.low:g} to {'...' if self.high is None else f'{self.high:g}'}"

    def settings(self) -> dict[str, object]:
        """For a record of what a run was made with."""
        if self.values is not None:
            return {"map": {shown_label(label): value for label, value in self.values.items()}}
        return {"low": self.low, "high": self.high}


LINEAR = LabelScale()
"""0 to the highest label of the data."""


def as_label(value: object) -> Label | None:
    """A label as the data has it: a number also where it is written as text; None where it is neither."""
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        number = float(value)
    except ValueError:
        return value.strip()
    return number if math.isfinite(number) else None


def shown_label(label: Label) -> str:
    """A label as messages show it."""
    return label if isinstance(label, str) else f"{label:g}"


def _parse_map(text: str) -> dict[Label, float]:
    try:
        if text.lstrip().startswith("{"):
            pairs = [(str(label), value) for label, value in json.loads(text).items()]
        else:
            pairs = [(label, value) for label, _, value in (part.rpartition("=") for part in text.split(","))]
        values = {as_label(label): float(value) for label, value in pairs}
    except (ValueError, TypeError) as error:
        raise UserError(f"--label_map {text!r} is no map of labels", fix=_MAP_FIX) from error
    found: dict[Label, float] = {}
    for label, value in values.items():
        if label is None or not 0 <= value <= 1:
            raise UserError(f"--label_map {text!r}: the relevance of a label is not from 0 to 1", fix=_MAP_FIX)
        found[label] = value
    if len(set(found.values())) < 2 or len(found) < len(pairs):
        raise UserError(f"--label_map {text!r} does not tell labels apart", fix=_MAP_FIX)
    return found
