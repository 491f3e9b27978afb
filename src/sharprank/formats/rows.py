"""Training rows: {query, pos, neg, pos_scores, neg_scores, prompt}, checked one by one where their line is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.readers import BadRows
from sharprank.formats.sources import Source, iter_records
from sharprank.progress import say
from sharprank.records import Record, TrainRow

__all__ = ["BadRows", "RowKeys", "parse_row", "read_rows"]


@dataclass(frozen=True)
class RowKeys:
    """Names of the fields in the user's data."""

    query: str = "query"
    positives: str = "pos"
    negatives: str = "neg"
    pos_scores: str = "pos_scores"
    neg_scores: str = "neg_scores"
    prompt: str = "prompt"


class _Bad(Exception):
    """One row's problem, on its way to BadRows."""

    def __init__(self, problem: str, *, fix: str, reason: str) -> None:
        super().__init__(problem)
        self.problem, self.fix, self.reason = problem, fix, reason


def read_rows(
    source: Source,
    *,
    keys: RowKeys = RowKeys(),
    bad_rows: BadRows | None = None,
    default_split: str = "train",
) -> Iterator[TrainRow]:
    """The rows of a source, checked.

    Raises:
        UserError: the first bad row (unless bad rows are skipped), or no row at all.
    """
    bad_rows = bad_rows or BadRows()
    told_of_strings = False
    found = False
    for record in iter_records(source, default_split=default_split, bad_rows=bad_rows):
        if not told_of_strings and isinstance(record.fields.get(keys.positives), str):
            say(f"note: {record.place}: {keys.positives!r} is a single text; it and its like count as one positive")
            told_of_strings = True
        row = parse_row(record, keys=keys, bad_rows=bad_rows)
        if row is not None:
            found = True
            yield row
    if not found:
        skipped = sum(bad_rows.counts.values())
        raise UserError(
            f"{source} holds no usable row" + (f" ({skipped} bad ones skipped)" if skipped else ""),
            fix=f"give it rows with {keys.query!r} and {keys.positives!r}",
        )


def parse_row(record: Record, *, keys: RowKeys, bad_rows: BadRows) -> TrainRow | None:
    """One record as a row; None when it is bad and bad rows are skipped."""
    try:
        return _parse(record, keys)
    except _Bad as bad:
        bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
        return None


def _parse(record: Record, keys: RowKeys) -> TrainRow:
    fields = record.fields
    positives = _texts(fields, keys.positives, required=True)
    negatives = _texts(fields, keys.negatives, required=False)
    pos_scores = _scores(fields, keys.pos_scores, len(positives), keys.positives)
    neg_scores = _scores(fields, keys.neg_scores, len(negatives), keys.negatives)
    prompt = fields.get(keys.prompt)
    if prompt is not None and not isinstance(prompt, str):
        raise _Bad(f"{keys.prompt!r} is {_show(prompt)}, not a text", fix="make it a text", reason="broken prompt")
    return TrainRow(
        query=_query(fields, keys.query),
        positives=positives,
        negatives=negatives,
        pos_scores=pos_scores,
        neg_scores=neg_scores,
        prompt=prompt,
        place=record.place,
        fields=fields,
    )


def _query(fields: Any, key: str) -> str:
    if key not in fields:
        present = ", ".join(map(str, fields)) or "nothing"
        raise _Bad(f"no field {key!r} (it has {present})", fix=f"add {key!r}, or name the key", reason="missing query")
    value = fields[key]
    if not isinstance(value, str):
        raise _Bad(f"{key!r} is {_show(value)}, not a text", fix="make it a text", reason="query is not a text")
    if not value.strip():
        raise _Bad(f"{key!r} is empty", fix="give the query a text", reason="empty query")
    return value


def _texts(fields: Any, key: str, *, required: bool) -> tuple[str, ...]:
    value = fields.get(key)
    if isinstance(value, str):
        value = [value]
    if value is None and key not in fields and required:
        raise _Bad(f"no field {key!r}", fix=f"add {key!r}: a list of texts", reason=f"missing {key}")
    if value is None and not required:
        return ()
    if not isinstance(value, (list, tuple)):
        raise _Bad(f"{key!r} is {_show(value)}, not a list of texts", fix="make it a list", reason=f"{key} is no list")
    if required and not value:
        raise _Bad(f"{key!r} is empty", fix=f"give {key!r} at least one text", reason=f"empty {key}")
    for number, text in enumerate(value):
        if not isinstance(text, str):
            raise _Bad(
                f"{key}[{number}] is {_show(text)}, not a text", fix="remove it", reason=f"{key} holds what is no text"
            )
        if not text.strip():
            raise _Bad(f"{key}[{number}] is blank", fix="remove it", reason=f"{key} holds a blank text")
    return tuple(value)


def _scores(fields: Any, key: str, num_texts: int, texts_key: str) -> tuple[float, ...] | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise _Bad(f"{key!r} is {_show(value)}, not a list", fix="make it a list of numbers", reason=f"broken {key}")
    if len(value) != num_texts:
        raise _Bad(
            f"{key!r} has {len(value)} scores for {num_texts} texts in {texts_key!r}",
            fix="give every text one score",
            reason=f"{key} of the wrong length",
        )
    for number, score in enumerate(value):
        if isinstance(score, bool) or not isinstance(score, Real) or not math.isfinite(float(score)):
            raise _Bad(f"{key}[{number}] is {_show(score)}", fix="make it a finite number", reason=f"broken {key}")
    return tuple(float(score) for score in value)


def _show(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
