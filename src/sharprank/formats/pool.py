"""Candidate pools: passages to mine from, in any format, with or without ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.encoding import open_text
from sharprank.formats.readers import BadRows
from sharprank.formats.sources import Source, iter_records
from sharprank.records import Passage, Place

TEXT_KEYS = ("text", "content", "contents", "passage")
ID_KEYS = ("_id", "id", "docid", "pid")


def read_passages(source: Source, *, bad_rows: BadRows | None = None) -> Iterator[Passage]:
    """The passages of a pool: records with `text` (or `title` and `text`, `content`, ...), or lines of a .txt file.

    Raises:
        UserError: a record without text, or no passage at all.
    """
    bad_rows = bad_rows or BadRows()
    found = False
    for passage in _passages(source, bad_rows):
        found = True
        yield passage
    if not found:
        raise UserError(f"{source} holds no passage", fix="give it rows with a field 'text', or lines of text (.txt)")


def _passages(source: Source, bad_rows: BadRows) -> Iterator[Passage]:
    path = Path(source.path).expanduser()
    if path.suffixes[-1:] == [".txt"] or path.suffixes[-2:] == [".txt", ".gz"]:
        yield from _lines(path)
        return
    for record in iter_records(source, default_split="corpus", bad_rows=bad_rows):
        text = passage_text(record.fields)
        if text is None:
            problem = f"no text ({', '.join(map(str, record.fields)) or 'no fields'})"
            bad_rows.reject(record.place, problem, fix="give the row a text in 'text'", reason="passage without text")
            continue
        yield Passage(text, passage_id(record.fields), record.place)


def _lines(path: Path) -> Iterator[Passage]:
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Passage(line.rstrip("\r\n"), None, Place(str(path), number))


def passage_text(fields: Mapping[str, Any]) -> str | None:
    """The text of a passage record, its title (if any) in front; None when there is none."""
    body = next((fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)), None)
    if body is None:
        return None
    title = fields.get("title")
    text = f"{title} {body}" if isinstance(title, str) and title.strip() else body
    return text if text.strip() else None


def passage_id(fields: Mapping[str, Any]) -> str | None:
    """The id of a passage or query record as text; None when it has none."""
    for key in ID_KEYS:
        value = fields.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return None
