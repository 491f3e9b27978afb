"""Training rows: {query, pos, neg, pos_scores, neg_scores, prompt}, checked one by one where their line is known.

In tables a list stands in its cell as JSON (`["a", "b"]`) or as Python prints it; any other cell is one text.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.collections import is_collection
from sharprank.formats.readers import known_suffix
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
    default_split: str | None = "train",
) -> Iterator[TrainRow]:
    """The rows of a source, checked.

    Raises:
        UserError: the first bad row (unless bad rows are skipped), or no row at all.
    """
    _refuse_collection(source)
    bad_rows = bad_rows or BadRows()
    told_of_single_texts = found = False
    for record in iter_records(source, default_split=default_split, bad_rows=bad_rows):
        row = parse_row(record, keys=keys, bad_rows=bad_rows)
        if row is None:
            continue
        if not told_of_single_texts and row.positives == (record.fields[keys.positives],):
            say(f"note: {record.place}: {keys.positives!r} is a text, not a list; such a text counts as one positive")
            told_of_single_texts = True
        found = True
        yield row
    if not found:
        raise _no_rows(source, keys, bad_rows)


def _refuse_collection(source: Source) -> None:
    folder = Path(source.path).expanduser()
    if source.subset is None and is_collection(folder):
        raise UserError(
            f"{folder} is a collection (corpus, queries, judgements), not rows",
            fix="name the file of rows, if it has one",
        )


def _no_rows(source: Source, keys: RowKeys, bad_rows: BadRows) -> UserError:
    reasons = ", ".join(f"{count} {reason}" for reason, count in bad_rows.counts.most_common())
    return UserError(
        f"{source} holds no usable row" + (f" (skipped: {reasons})" if reasons else ""),
        fix=f"give it rows with {keys.query!r} and {keys.positives!r}",
    )


def parse_row(record: Record, *, keys: RowKeys, bad_rows: BadRows) -> TrainRow | None:
    """One record as a row; None when it is bad and bad rows are skipped.

    Raises:
        UserError: it is bad and bad rows are not skipped.
    """
    try:
        return _parse(record, keys)
    except _Bad as bad:
        bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
        return None


def _parse(record: Record, keys: RowKeys) -> TrainRow:
    fields = _with_lists(record, keys)
    query = _query(fields, keys.query)
    positives = _texts(fields, keys.positives)
    if not positives:
        name = repr(keys.positives)
        problem = f"{name} is {_empty(fields[keys.positives])}" if keys.positives in fields else f"no field {name}"
        raise _Bad(problem, fix=f"give {name} at least one text", reason="no positives")
    negatives = _texts(fields, keys.negatives)
    return TrainRow(
        query=query,
        positives=positives,
        negatives=negatives,
        pos_scores=_scores(fields, keys.pos_scores, len(positives), keys.positives),
        neg_scores=_scores(fields, keys.neg_scores, len(negatives), keys.negatives),
        prompt=_prompt(fields, keys.prompt),
        place=record.place,
        fields=fields,
    )


def _query(fields: Mapping[str, Any], key: str) -> str:
    if key not in fields:
        present = ", ".join(map(repr, list(fields)[:8])) or "none"
        fix = f"add it, or say which field holds the query (fields there: {present})"
        raise _Bad(f"no field {key!r}", fix=fix, reason="no query")
    value = fields[key]
    if not isinstance(value, str):
        raise _Bad(f"{key!r} is {shown(value)}, not a text", fix="make it a text", reason="query is not a text")
    if not value.strip():
        raise _Bad(f"{key!r} is empty", fix="give the query a text", reason="empty query")
    return value


def _prompt(fields: Mapping[str, Any], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise _Bad(f"{key!r} is {shown(value)}, not a text", fix="make it a text", reason=f"{key} is not a text")
    return value


def _texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts of a field; none where it is absent, null or an empty cell."""
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise _Bad(
            f"{key!r} is {shown(value)}, not a list of texts", fix="make it a list", reason=f"{key} is not a list"
        )
    for number, text in enumerate(value):
        if not isinstance(text, str):
            problem = f"{key}[{number}] is {shown(text)}, not a text"
            raise _Bad(problem, fix="remove it or make it a text", reason=f"{key} holds what is no text")
        if not text.strip():
            raise _Bad(f"{key}[{number}] is blank", fix="remove it", reason=f"{key} holds a blank text")
    return tuple(value)


def _list_in(cell: str) -> list[Any]:
    """The list that a cell spells out; a cell that spells none is a list of one text, an empty one of none."""
    text = cell.strip()
    if text.startswith("[") and text.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(value, list) and (not value or any(isinstance(item, str) for item in value)):
                return value
    return _list_of_one(cell)


def _scores(fields: Mapping[str, Any], key: str, num_texts: int, texts_key: str) -> tuple[float, ...] | None:
    value = _score_list(fields.get(key))
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise _Bad(f"{key!r} is {shown(value)}, not a list", fix="make it a list of numbers", reason=f"broken {key}")
    if len(value) != num_texts:
        raise _Bad(
            f"{key!r} has {len(value)} scores for {num_texts} texts in {texts_key!r}",
            fix="give every text one score",
            reason=f"{key} of the wrong length",
        )
    return tuple(_score(score, f"{key}[{number}]", key) for number, score in enumerate(value))


def _score_list(value: Any) -> Any:
    """A list as it is; from a table's cell the list or the one number it spells out."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _score(score: Any, name: str, key: str) -> float:
    if score is None:
        problem = f"{name} is null: only some texts are scored"
        raise _Bad(problem, fix=f"score all of them, or leave {key!r} out", reason="partially scored")
    try:
        number = float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Bad(f"{name} is {shown(score)}", fix="make it a finite number", reason=f"broken {key}")
    return number


def _with_lists(record: Record, keys: RowKeys) -> Mapping[str, Any]:
    """The record with its cells taken apart, so that whoever writes it back writes lists.

    In JSON, which has lists, a text is one text even if it looks like a list (a passage about Python may well).
    """
    fields = record.fields
    texts = [key for key in (keys.positives, keys.negatives) if isinstance(fields.get(key), str)]
    scores = [key for key in (keys.pos_scores, keys.neg_scores) if isinstance(fields.get(key), str)]
    if not texts and not scores:
        return fields
    apart = _list_of_one if known_suffix(Path(record.place.path)) in (".json", ".jsonl") else _list_in
    return {**fields, **{key: apart(fields[key]) for key in texts}, **{key: _score_list(fields[key]) for key in scores}}


def _list_of_one(text: str) -> list[Any]:
    return [text] if text.strip() else []


def _empty(value: Any) -> str:
    return "null" if value is None else "empty"
