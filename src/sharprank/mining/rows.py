"""The rows to mine for, on disk: read and checked once, then gone through again without holding them.

Every row is kept as it was read, found again by its query. Knows nothing of models and scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from sharprank.formats.rows import BadRows, RowKeys, parse_row
from sharprank.formats.text_store import TextStore, TextWriter
from sharprank.formats.writers import json_line
from sharprank.records import Place, Record, TrainRow
from sharprank.retrieval.filters import fold


class RowWriter:
    """Writes `StoredRows`; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._writer = TextWriter(folder, distinct=False)
        self.about = self._writer.about

    def __enter__(self) -> RowWriter:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)  # type: ignore[arg-type]

    def add(self, row: TrainRow) -> None:
        """Append a row."""
        line = json_line({"path": row.place.path, "line": row.place.line, "fields": dict(row.fields)})
        self._writer.add(line, key=fold(row.query))


class StoredRows:
    """Rows on disk, in the order they were written.

    Args:
        texts: what a `RowWriter` wrote.
        keys: names of the fields, as they were when the rows were checked.
    """

    def __init__(self, texts: TextStore, keys: RowKeys) -> None:
        self._texts, self._keys = texts, keys
        self.about = texts.about

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[TrainRow]:
        return map(self._row, self._texts)

    def of_query(self, folded: str) -> list[TrainRow]:
        """All rows with this query (`fold`), in their order."""
        return [self._row(self._texts[number]) for number in self._texts.numbers(folded)]

    def _row(self, line: str) -> TrainRow:
        content = json.loads(line)
        record = Record(content["fields"], Place(content["path"], content["line"]))
        row = parse_row(record, keys=self._keys, bad_rows=BadRows())
        if row is None:  # only good rows were written
            raise AssertionError(record.place)
        return row


class QueryPositives(Mapping[str, "tuple[str, ...]"]):
    """{folded query: the distinct positives of all rows that ask it}, read from disk as it is asked for."""

    def __init__(self, rows: StoredRows) -> None:
        self._rows = rows
        self._last: tuple[str, tuple[str, ...]] = ("", ())

    def __getitem__(self, folded: str) -> tuple[str, ...]:
        if self._last[0] != folded:
            texts = (text for row in self._rows.of_query(folded) for text in row.positives)
            self._last = folded, tuple(dict.fromkeys(texts))
        if not self._last[1]:
            raise KeyError(folded)
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return (fold(row.query) for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)
