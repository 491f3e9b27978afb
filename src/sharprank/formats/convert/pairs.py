"""Flat pairs and triplets to rows, gathered by query: tables of (query, passage[, label]) and of (anchor, positive,
negative, ...) as sentence-transformers trains on. Everything is in memory until the last record is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import shown
from sharprank.formats.convert.tally import Row, Tally
from sharprank.records import Place, Record

QUERY_KEYS = ("query", "question", "anchor", "sentence1", "q")
PASSAGE_KEYS = ("passage", "positive", "pos", "document", "doc", "text", "answer", "sentence2", "content")
LABEL_KEYS = ("label", "relevance", "score")
_NEGATIVE = re.compile(r"neg(ative)?(_\d+)?")


def pair_rows(
    records: Iterable[Record],
    *,
    tally: Tally,
    query_key: str | None = None,
    passage_key: str | None = None,
    label_key: str | None = None,
    min_relevance: float = 1,
) -> Iterator[Row]:
    """Rows of pairs; without a label column every passage is a positive.

    Args:
        min_relevance: labelled this or higher is a positive, labelled lower a negative.

    Raises:
        UserError: no column is a query or a passage.
    """
    gathered: dict[str, tuple[list[str], list[str]]] = {}
    for record in records:
        fields, place = record.fields, record.place
        query = tally.text(fields, query_key or _one_of(QUERY_KEYS, fields, place, "--query_key"), place)
        passage = tally.text(fields, passage_key or _one_of(PASSAGE_KEYS, fields, place, "--passage_key"), place)
        labels = [label_key] if label_key else [key for key in LABEL_KEYS if key in fields]
        label = _number(fields.get(labels[0]), labels[0], place, tally) if labels else min_relevance
        if query is not None and passage is not None and label is not None:
            gathered.setdefault(query, ([], []))[label < min_relevance].append(passage)
    yield from _rows(gathered, tally)


def triplet_rows(
    records: Iterable[Record], *, tally: Tally, query_key: str | None = None, passage_key: str | None = None
) -> Iterator[Row]:
    """Rows of triplets: `anchor`, `positive`, and `negative` or any number of `negative_1`, `negative_2`, ..."""
    gathered: dict[str, tuple[list[str], list[str]]] = {}
    for record in records:
        fields, place = record.fields, record.place
        query = tally.text(fields, query_key or _one_of(QUERY_KEYS, fields, place, "--query_key"), place)
        positive = tally.text(fields, passage_key or _one_of(PASSAGE_KEYS, fields, place, "--passage_key"), place)
        negatives = [tally.text(fields, key, place) for key in fields if _NEGATIVE.fullmatch(key)]
        if query is not None and positive is not None and None not in negatives:
            pos, neg = gathered.setdefault(query, ([], []))
            pos.append(positive)
            neg += [text for text in negatives if text is not None]
    yield from _rows({query: (_once(pos), _once(neg)) for query, (pos, neg) in gathered.items()}, tally)


def _rows(gathered: Mapping[str, tuple[list[str], list[str]]], tally: Tally) -> Iterator[Row]:
    for query, (positives, negatives) in gathered.items():
        row = tally.row(query, positives, negatives)
        if row is not None:
            yield row


def _once(texts: list[str]) -> list[str]:
    """Triplets repeat the positive for every negative; that is their form, and nothing to count."""
    return list(dict.fromkeys(texts))


def _one_of(keys: tuple[str, ...], fields: Mapping[str, Any], place: Place, flag: str) -> str:
    found = next((key for key in keys if key in fields), None)
    if found is None:
        raise UserError(
            f"{place}: none of its fields ({', '.join(map(repr, fields))}) is called {', '.join(keys)}",
            fix=f"name the field with {flag}",
        )
    return found


def _number(value: Any, key: str, place: Place, tally: Tally) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number):
        return number
    tally.reject(place, f"{key!r} is {shown(value)}, not a number", fix="write 1 or 0", reason="label is no number")
    return None
