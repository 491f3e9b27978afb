"""Candidate pools: passages to mine from, in any format, with or without ids.

A folder that is a collection is read as its corpus; of any other folder every file is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.encoding import is_broken, open_text
from sharprank.formats.readers import READERS
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
    if os.path.isfile(path) and path.name.lower().removesuffix(".gz").endswith(".txt"):
        yield from _lines(path, bad_rows)
        return
    if source.subset is None and find_table(path, "corpus") and find_table(path, "queries"):
        source = Source(str(find_table(path, "corpus")))
    for record in iter_records(source, default_split=None, bad_rows=bad_rows):
        text = passage_text(record.fields)
        if not text:
            problem = why_no_text(record.fields)
            bad_rows.reject(record.place, problem, fix="give the passage a 'text'", reason="passage without text")
            continue
        yield Passage(text, passage_id(record.fields), record.place)


def find_table(folder: Path, stem: str) -> Path | None:
    """The file of a collection folder that holds its corpus or its queries, whatever the format."""
    names = (f"{stem}{suffix}{packed}" for suffix in READERS for packed in ("", ".gz"))
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def _lines(path: Path, bad_rows: BadRows) -> Iterator[Passage]:
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            place = Place(str(path), number)
            if is_broken(line):
                problem, fix = "bytes that are no characters in the file's encoding", "write the text again as UTF-8"
                bad_rows.reject(place, problem, fix=fix, reason="broken characters")
            elif line.strip():
                yield Passage(line.rstrip("\r\n"), None, place)


def passage_text(fields: Mapping[str, Any]) -> str | None:
    """Title, if any, and text of a passage record; "" when both are blank, None when it has no text (`why_no_text`)."""
    title, body = fields.get("title"), next((fields[key] for key in TEXT_KEYS if fields.get(key) is not None), None)
    if not isinstance(body, str) or not isinstance(title, (str, type(None))):
        return None
    return " ".join(part for part in (title or "", body) if part.strip())


def why_no_text(fields: Mapping[str, Any]) -> str:
    """What is wrong with a record whose `passage_text` is None or blank."""
    there = [key for key in TEXT_KEYS if key in fields]
    key = next((key for key in there if fields[key] is not None), there[0] if there else None)
    if key is None:
        present = ", ".join(map(repr, list(fields)[:8])) or "none"
        return f"no field 'text' (nor {', '.join(map(repr, TEXT_KEYS[1:]))}; fields there: {present})"
    wrong = key if not isinstance(fields[key], str) else "title"
    if passage_text(fields) is None:
        return f"{wrong!r} is {shown(fields[wrong])}, not a text"
    return f"{key!r} is blank"


def passage_id(fields: Mapping[str, Any]) -> str | None:
    """The id of a passage or query record as text; None when it has none, or a blank one."""
    for key in ID_KEYS:
        value = fields.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return None
