"""From one file to records: the reader that its ending names, and what is wrong with files as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.encoding import readable
from sharprank.formats.jsonl import read_json, read_jsonl
from sharprank.formats.tabular import read_csv, read_parquet, read_tsv
from sharprank.records import Place, Record

__all__ = ["READERS", "BadRows", "iter_file", "known_suffix", "unknown_ending"]

READERS: dict[str, Callable[[Path, BadRows], Iterator[Record]]] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}
_COMPRESSES_ITSELF = ".parquet"


def known_suffix(path: Path) -> str | None:
    """The format ending of a name (`.jsonl` of `a.jsonl.gz`), or None when no reader knows it."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes = [suffix for suffix in suffixes[:-1] if suffix != _COMPRESSES_ITSELF]
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def unknown_ending(path: Path) -> UserError:
    """The error for a file that no reader takes."""
    return UserError(
        f"{path} has an ending that no reader takes",
        fix=f"use one of {', '.join(READERS)}, or .gz after all but the last",
    )


def iter_file(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The records of one file.

    Raises:
        UserError: the file cannot be read, or (unless bad rows are skipped) is empty or holds a malformed row.
    """
    suffix = known_suffix(path)
    if suffix is None:
        raise unknown_ending(path)
    found = False
    skipped_before = sum(bad_rows.counts.values())
    with readable(path):
        for record in READERS[suffix](path, bad_rows):
            found = True
            yield record
    if not found and sum(bad_rows.counts.values()) == skipped_before:
        bad_rows.reject(Place(str(path)), "no row in it", fix="name files with at least one row", reason="empty file")
