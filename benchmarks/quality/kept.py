"""Finished cells in one small file that can be committed: on another machine nothing of them is trained again.

A line a cell, of a system or of a variant of ours: its result and the value of every query, from which every table and
test is made. Scores, weights and texts are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.cells import Bench, Cell
from benchmarks.quality.prepared import read_lines
from sharprank.formats.writers import write_jsonl

KEPT = Path(__file__).with_name("cells.jsonl.gz")
_PLACE = ("collection", "system", "budget", "seed")
_SIZE = ("budget_tokens", "max_len")


def read_kept(path: Path, bench: Bench, *, but: Sequence[str] = ()) -> dict[Cell, dict[str, Any]]:
    """What is kept of cells of this size.

    Args:
        but: systems to leave out, because they are to be trained again.
    """
    if not path.exists():
        return {}
    size = (bench.tokens, bench.max_len)
    rows = [row for row in read_lines(path) if tuple(row[name] for name in _SIZE) == size]
    results = (row for row in rows if row["system"] not in but)
    return {Cell(*(row[name] for name in _PLACE)): _result(row) for row in results}


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    """The result as the cell gave it, without what only the file needs."""
    return {name: value for name, value in row.items() if name != "budget_tokens"}


def write_kept(path: Path, bench: Bench, results: Mapping[Cell, Mapping[str, Any]]) -> None:
    """Put these results into the file, in the place of older ones of the same cells; those of other sizes stay."""
    found = {_key(row): row for row in (read_lines(path) if path.exists() else ())}
    for cell, result in results.items():
        row = {**result, **{name: getattr(cell, name) for name in _PLACE}, "budget_tokens": bench.tokens}
        found[_key(row)] = row
    write_jsonl(path, (found[key] for key in sorted(found, key=str)))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*_SIZE, *_PLACE))
