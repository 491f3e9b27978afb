"""Candidate pools: passages to mine from, in any format, with or without ids.

A folder that is a collection is read as its corpus; of any other folder every file is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
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
    if path.is_file() and path.name.lower().removesuffix(".gz").endswith(".txt"):
        yield from _lines(path, bad_rows)
        return
    if source.subset is None and find_table(path, "corpus") and find_table(path, "queries"):
        source = Source(str(find_table(path, "corpus")))
    for record in iter_records(source, default_split=None, bad_rows=bad_rows):
        text = passage_text(record.fields)
        if not text:
            present = ", ".join(map(repr, list(record.fields)[:8])) or "none"
            problem = f"no text in {' or '.join(TEXT_KEYS)} (fields there: {present})"
            bad_rows.reject(record.place, problem, fix="give the passage a 'text'", reason="passage without text")
            continue
        yield Passage(text, passage_id(record.fields), record.place)


def find_table(folder: Path, stem: str) -> Path | None:
    """The file of a collection folder that holds its corpus or its queries, whatever the format."""
    names = (f"{stem}{suffix}{packed}" for suffix in READERS for packed in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


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
    """The text of a passage record behind its title, if any; "" when both are blank, None when it has no text field."""
    body = next((fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)), None)
    if body is None:
        return None
    title = fields.get("title")
    parts = [title if isinstance(title, str) else "", body]
    return " ".join(part for part in parts if part.strip())


def passage_id(fields: Mapping[str, Any]) -> str | None:
    """The id of a passage or query record as text; None when it has none."""
    for key in ID_KEYS:
        value = fields.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return None
