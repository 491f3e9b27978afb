"""The checks of single fields that all forms of training data share: a query, texts, scores, cells that spell lists."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharprank.formats.bad_rows import shown
from sharprank.formats.readers import known_suffix
from sharprank.records import Record


class BadField(Exception):
    """One record's problem, on its way to BadRows."""

    def __init__(self, problem: str, *, fix: str, reason: str) -> None:
        super().__init__(problem)
        self.problem, self.fix, self.reason = problem, fix, reason


def query_in(fields: Mapping[str, Any], key: str) -> str:
    """The query, which is a text that is not blank."""
    if key not in fields:
        present = ", ".join(map(repr, list(fields)[:8])) or "none"
        fix = f"add it, or say which field holds the query (fields there: {present})"
        raise BadField(f"no field {key!r}", fix=fix, reason="no query")
    value = fields[key]
    if not isinstance(value, str):
        raise BadField(f"{key!r} is {shown(value)}, not a text", fix="make it a text", reason="query is not a text")
    if not value.strip():
        raise BadField(f"{key!r} is empty", fix="give the query a text", reason="empty query")
    return value


def texts_in(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts of a field; none where it is absent, null or an empty cell."""
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise BadField(
            f"{key!r} is {shown(value)}, not a list of texts", fix="make it a list", reason=f"{key} is not a list"
        )
    for number, text in enumerate(value):
        if not isinstance(text, str):
            problem = f"{key}[{number}] is {shown(text)}, not a text"
            raise BadField(problem, fix="remove it or make it a text", reason=f"{key} holds what is no text")
        if not text.strip():
            raise BadField(f"{key}[{number}] is blank", fix="remove it", reason=f"{key} holds a blank text")
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


def scores_in(fields: Mapping[str, Any], key: str, num_texts: int, texts_key: str) -> tuple[float, ...] | None:
    """One finite number for each text; None where the field is absent."""
    value = score_list(fields.get(key))
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise BadField(
            f"{key!r} is {shown(value)}, not a list", fix="make it a list of numbers", reason=f"broken {key}"
        )
    if len(value) != num_texts:
        raise BadField(
            f"{key!r} has {len(value)} scores for {num_texts} texts in {texts_key!r}",
            fix="give every text one score",
            reason=f"{key} of the wrong length",
        )
    return tuple(number_in(score, f"{key}[{number}]", key) for number, score in enumerate(value))


def score_list(value: Any) -> Any:
    """A list as it is; from a table's cell the list or the one number it spells out."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def number_in(score: Any, name: str, key: str) -> float:
    """A finite number."""
    if score is None:
        problem = f"{name} is null: only some texts are scored"
        raise BadField(problem, fix=f"score all of them, or leave {key!r} out", reason="partially scored")
    try:
        number = float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadField(f"{name} is {shown(score)}", fix="make it a finite number", reason=f"broken {key}")
    return number


def with_lists(record: Record, *, text_keys: Sequence[str], score_keys: Sequence[str]) -> Mapping[str, Any]:
    """The record with its cells taken apart, so that whoever writes it back writes lists.

    In JSON, which has lists, a text is one text even if it looks like a list (a passage about Python may well).
    """
    fields = record.fields
    texts = [key for key in text_keys if isinstance(fields.get(key), str)]
    scores = [key for key in score_keys if isinstance(fields.get(key), str)]
    if not texts and not scores:
        return fields
    apart = _list_of_one if known_suffix(Path(record.place.path)) in (".json", ".jsonl") else _list_in
    return {**fields, **{key: apart(fields[key]) for key in texts}, **{key: score_list(fields[key]) for key in scores}}


def _list_of_one(text: str) -> list[Any]:
    return [text] if text.strip() else []
