"""Tables: .csv, .tsv and .parquet, streamed as records. Cells of text tables stay text; who knows a column splits it.

A .csv is quoted as spreadsheets quote it. In a .tsv one line is one row and quotes are text, unless a whole cell stands
in quotes with every inner quote doubled, as csv libraries write it. A .tsv whose first line ends in a number has no
header: its lines are `query TAB doc TAB label`, and further tabs belong to the doc.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.encoding import is_broken, open_text
from sharprank.records import Place, Record

LONGEST_CELL = 1 << 24
"""Characters; a longer csv cell means a quote that was never closed."""
ROWS_AT_ONCE = 256
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_BROKEN = {
    "problem": "bytes that are no characters in the file's encoding",
    "fix": "write the text again as UTF-8",
    "reason": "broken characters",
}


def read_csv(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The rows of a .csv file under its header; the line is the one a row begins on."""
    with open_text(path) as file:
        yield from _under_header(_csv_rows(file, path, bad_rows), path, bad_rows)


def read_tsv(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The lines of a .tsv file under its header."""
    with open_text(path) as file:
        rows = ((number, [_tsv_cell(cell) for cell in _cells(line)]) for number, line in enumerate(file, 1))
        yield from _graded(rows, path, bad_rows) if _has_no_header(path) else _under_header(rows, path, bad_rows)


GRADED_COLUMNS = ("query", "doc", "label")


def _has_no_header(path: Path) -> bool:
    """Whether the first line with text is already a graded pair: no column is called 3."""
    with open_text(path) as file:
        cells = next((_cells(line) for line in file if line.strip()), [])
    return len(cells) >= len(GRADED_COLUMNS) and _NUMBER.fullmatch(cells[-1].strip()) is not None


def _graded(rows: Iterator[tuple[int, list[str]]], path: Path, bad_rows: BadRows) -> Iterator[Record]:
    for number, cells in rows:
        place = Place(str(path), number)
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(GRADED_COLUMNS):
            problem, fix = f"{len(cells)} cells", "write a query, a tab, a text, a tab and a label"
            bad_rows.reject(place, problem, fix=fix, reason="wrong number of cells")
        elif any(map(is_broken, cells)):
            bad_rows.reject(place, **_BROKEN)
        else:
            yield Record({"query": cells[0], "doc": "\t".join(cells[1:-1]), "label": cells[-1].strip()}, place)


def _cells(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _tsv_cell(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1]
        if '"' not in inner.replace('""', ""):
            return inner.replace('""', '"')
    return cell


def _csv_rows(file: TextIO, path: Path, bad_rows: BadRows) -> Iterator[tuple[int, list[str]]]:
    if csv.field_size_limit() < LONGEST_CELL:
        csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(file, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            fix = 'put the cell in quotes and double the quotes inside it: "a ""b"" c"'
            bad_rows.reject(Place(str(path), number), f"malformed csv: {error}", fix=fix, reason="malformed csv")
            continue
        if row is None:
            return
        yield number, row


def _under_header(rows: Iterator[tuple[int, list[str]]], path: Path, bad_rows: BadRows) -> Iterator[Record]:
    rows = ((number, cells) for number, cells in rows if any(cell.strip() for cell in cells))
    number, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{path}:{number}: two columns are called {twice!r}", fix="give every column its own name")
    for number, cells in rows:
        place = Place(str(path), number)
        if len(cells) != len(header):
            problem = f"{len(cells)} cells under {len(header)} columns ({', '.join(header)})"
            bad_rows.reject(place, problem, fix="give every column one cell", reason="wrong number of cells")
        elif any(map(is_broken, cells)):
            bad_rows.reject(place, **_BROKEN)
        else:
            yield Record(dict(zip(header, cells, strict=True)), place)


def read_parquet(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The rows of a .parquet file, numbered from 1."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(fields, Place(str(path), number))
    except pyarrow.ArrowException as error:
        where = f"{path}:{number + 1}" if number else str(path)
        raise UserError(
            f"{where}: not a complete parquet file: {_first_line(error)}", fix="make or fetch it again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
