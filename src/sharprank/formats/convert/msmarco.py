"""MS MARCO v1.1 and v2.1 question answering: each record a query and about ten passages, some of them selected.

`passages` holds three parallel lists (`is_selected`, `passage_text`, `url`) or a list of objects. In a CSV cell it is
JSON or what Python printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharprank.formats.bad_rows import shown
from sharprank.formats.convert.tally import Row, Tally
from sharprank.formats.fields import BadField, spelled_in
from sharprank.records import Record

_SHAPE = "{'is_selected': [...], 'passage_text': [...]}"


def msmarco_rows(records: Iterable[Record], *, tally: Tally) -> Iterator[Row]:
    """Rows whose positives are the selected passages and whose negatives are the others, in their order."""
    for record in records:
        query = tally.text(record.fields, "query", record.place)
        passages = record.fields.get("passages")
        try:
            texts = _passages(passages)
        except BadField as bad:
            tally.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
            continue
        if texts is None:
            problem = f"'passages' is {shown(passages)}" if "passages" in record.fields else "no field 'passages'"
            tally.reject(record.place, problem, fix=f"write it as {_SHAPE}", reason="unreadable passages")
        elif query is not None:
            selected = [text for chosen, text in texts if chosen]
            row = tally.row(query, selected, [text for chosen, text in texts if not chosen])
            if row is not None:
                yield row


def _passages(value: Any) -> list[tuple[bool, str]] | None:
    """(selected, text) of every passage; None when the value is of another shape."""
    if isinstance(value, str):
        value = spelled_in(value)
    if isinstance(value, Mapping):
        flags, texts = value.get("is_selected"), value.get("passage_text")
        if not isinstance(flags, (list, tuple)) or not isinstance(texts, (list, tuple)) or len(flags) != len(texts):
            return None
        pairs = list(zip(flags, texts, strict=True))
    elif isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value):
        pairs = [(item.get("is_selected"), item.get("passage_text")) for item in value]
    else:
        return None
    if not all(flag in (0, 1) and isinstance(text, str) for flag, text in pairs):
        return None
    return [(flag == 1, text) for flag, text in pairs]
