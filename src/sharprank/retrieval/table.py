"""A long table of vectors, in shards in memory or on disk, as searching reads it.

Shapes: D dimensions, rows numbered through all shards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from sharprank.retrieval.stored import Shard

JOINED_ROWS = 65_536
"""Rows of the table searched at a time."""


def take(shards: Sequence[Shard], ids: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The rows with these ids, in this order: [len(ids), D].

    Args:
        ids: of rows that exist.
        out: where to put them; a new array by default.
    """
    rows = np.empty((len(ids), shards[0].shape[1]), shards[0].dtype) if out is None else out
    first = shards[0]
    if len(shards) == 1 and isinstance(first, np.ndarray):
        return np.take(first, ids, axis=0, out=rows, mode="clip")  # "raise" would copy `out`
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    order = np.argsort(ids, kind="stable")
    bounds = np.searchsorted(ids[order], starts)
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        if low < high:
            mine = order[low:high]
            rows[mine] = shards[number][ids[mine] - starts[number]]
    return rows


def piece_bounds(shards: Sequence[Shard]) -> list[tuple[int, int]]:
    """(first row, row behind the last) of the pieces that are searched one by one: whole shards joined."""
    bounds: list[tuple[int, int]] = []
    start = end = 0
    for shard in shards:
        end += len(shard)
        if end - start >= JOINED_ROWS:
            bounds.append((start, end))
            start = end
    return [*bounds, (start, end)] if end > start else bounds


def pieces(shards: Sequence[Shard], share: tuple[int, int] = (0, 1)) -> Iterator[tuple[int, np.ndarray]]:
    """(id of the first row, rows float32 [*, D]) of every `share[1]`-th piece, from the `share[0]`-th on."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    for first, last in piece_bounds(shards)[share[0] :: share[1]]:
        low, high = (int(i) for i in np.searchsorted(starts, (first, last)))
        yield first, _joined(shards[low:high], last - first)


def _joined(shards: Sequence[Shard], length: int) -> np.ndarray:
    if len(shards) == 1:
        return np.ascontiguousarray(shards[0], np.float32)
    rows_ND = np.empty((length, shards[0].shape[1]), np.float32)
    start = 0
    for shard in shards:
        rows_ND[start : start + len(shard)] = shard
        start += len(shard)
    return rows_ND
