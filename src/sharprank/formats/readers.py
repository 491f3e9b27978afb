"""One reader a file format, each streaming records with their line numbers; and what happens to bad rows."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.encoding import open_text, readable
from sharprank.records import Place, Record

csv.field_size_limit(1 << 30)


class BadRows:
    """What to do with rows that cannot be used: stop at the first, or skip and count them by reason.

    Args:
        policy: "error" or "skip".
    """

    def __init__(self, policy: str = "error") -> None:
        if policy not in ("error", "skip"):
            raise UserError(f"--on_bad_row {policy!r} is unknown", fix="use error or skip")
        self.policy: Literal["error", "skip"] = "skip" if policy == "skip" else "error"
        self.counts: Counter[str] = Counter()

    def reject(self, place: Place, problem: str, *, fix: str, reason: str) -> None:
        """Stop with `place: problem`, or count the row under `reason`."""
        if self.policy == "error":
            raise UserError(f"{place}: {problem}", fix=f"{fix}, or pass --on_bad_row skip")
        self.counts[reason] += 1


def known_suffix(path: Path) -> str | None:
    """The format ending of a name (`.jsonl` of `a.jsonl.gz`), or None when no reader knows it."""
    suffixes = path.suffixes
    if suffixes and suffixes[-1] == ".gz":
        suffixes = suffixes[:-1]
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def iter_file(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The records of one file.

    Raises:
        UserError: the file is empty, cannot be read, or (unless bad rows are skipped) holds a malformed row.
    """
    suffix = known_suffix(path)
    if suffix is None:
        raise UserError(f"{path} has an ending nobody reads", fix=f"use one of: {', '.join(READERS)}, or .gz of them")
    found = False
    with readable(path):
        for record in READERS[suffix](path, bad_rows):
            found = True
            yield record
    if not found and not bad_rows.counts:
        raise UserError(f"{path} is empty", fix="name a file with at least one row")


def _read_jsonl(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    with open_text(path) as file:
        for number, line in enumerate(file, 1):  # newline="": only \n, \r and \r\n end a line, never U+2028
            if line.strip():
                yield from _parsed(line, Place(str(path), number), bad_rows)


def _parsed(line: str, place: Place, bad_rows: BadRows) -> Iterator[Record]:
    try:
        fields = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        message = f"malformed JSON: {error.args[0]}"
        bad_rows.reject(place, message, fix="make the line one JSON object", reason="malformed JSON")
        return
    yield from _as_record(fields, place, bad_rows)


def _as_record(fields: Any, place: Place, bad_rows: BadRows) -> Iterator[Record]:
    if isinstance(fields, dict):
        yield Record(fields, place)
    else:
        kind = type(fields).__name__
        bad_rows.reject(place, f"a {kind}, not an object", fix="make it a JSON object", reason="not an object")


def _read_json(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """A .json file: one array of objects, one object, or (as many tools write) JSON lines."""
    with open_text(path) as file:
        head = file.read(4096).lstrip("\ufeff \t\r\n")
    if not head:
        return
    if head.startswith("["):
        yield from _read_json_array(path, bad_rows)
    elif _first_line_is_an_object(path):
        yield from _read_jsonl(path, bad_rows)
    else:
        with open_text(path) as file:
            yield from _parsed(file.read(), Place(str(path), 1), bad_rows)


def _first_line_is_an_object(path: Path) -> bool:
    with open_text(path) as file:
        first = next((line for line in file if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict)
    except json.JSONDecodeError:
        # An object spread over lines has an opening brace alone on its first; anything longer is a broken line.
        return len(first.strip()) > 1


def _read_json_array(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    with open_text(path) as file:
        text = file.read()
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: malformed JSON: {error.msg}", fix="make the file one JSON array of objects"
        ) from error
    for number, fields in enumerate(items, 1):
        yield from _as_record(fields, Place(f"{path} item", number), bad_rows)


def _read_csv(path: Path, bad_rows: BadRows, *, delimiter: str = ",") -> Iterator[Record]:
    with open_text(path) as file:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting)
        try:
            header = next(reader, None)
            if header is None:
                return
            header = [name.strip() for name in header]
            for cells in reader:
                place = Place(str(path), reader.line_num)
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    problem = f"{len(cells)} cells under {len(header)} columns ({', '.join(header)})"
                    bad_rows.reject(
                        place, problem, fix="give every row one cell a column", reason="wrong number of cells"
                    )
                    continue
                yield Record({name: _cell(cell) for name, cell in zip(header, cells, strict=True)}, place)
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: {error}", fix="check the quotes of that line") from error


def _cell(cell: str) -> Any:
    """A cell that holds a JSON list is that list; everything else is its text."""
    if cell.lstrip().startswith("["):
        try:
            value = json.loads(cell)
        except json.JSONDecodeError:
            return cell
        return value if isinstance(value, list) else cell
    return cell


def _read_tsv(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    return _read_csv(path, bad_rows, delimiter="\t")


def _read_parquet(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for fields in batch.to_pylist():
                number += 1
                yield Record(fields, Place(str(path), number))
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path} is not a complete parquet file: {error}", fix="make or fetch it again") from error


READERS: dict[str, Callable[[Path, BadRows], Iterator[Record]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
