"""Every query's best rows, found part by part and kept on disk: what searching has done outlives a crash.

The queries are cut into parts for each of which the table is read once. Ranks search their shares of the table and
leave what they found in files; then the parts are merged, exactly, so that any number of ranks gives the same hits.

Shapes: Q queries, K hits a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.progress import Bar, progress_bar
from sharprank.ranks import ALONE, Ranks
from sharprank.retrieval.faiss_index import Hits, queries_a_reading
from sharprank.retrieval.stored import Shard, StoredArray, load_array, save_array
from sharprank.retrieval.table import take

KIND = "hits"
"""Of the cache's entries."""

_HIT = np.dtype([("id", "<i8"), ("score", "<f4")])

SearchShare = Callable[[np.ndarray, "tuple[int, int]", "Bar[Any]"], Hits]
"""(queries [Q, D], (this share, of so many), bar to advance by queries) -> the best K of that share of the table."""


class StoredHits(Sequence[Hits]):
    """Hits on disk, by the query's number: ids and scores [K], without those that are none.

    Args:
        parts: the files, one after the other.
        part_length: queries of every part but the last.
    """

    def __init__(self, parts: Sequence[StoredArray], part_length: int) -> None:
        self._parts, self._part_length = parts, part_length

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, query: Any) -> Hits:
        part, place = divmod(query, self._part_length)
        hits_K = self._parts[part][place]
        hits_K = hits_K[hits_K["id"] >= 0]
        return Hits(hits_K["id"], hits_K["score"])


def find_hits(
    queries: Sequence[Shard],
    k: int,
    search_share: SearchShare,
    *,
    folder: Path,
    ranks: Ranks = ALONE,
    desc: str = "searching",
) -> StoredHits:
    """The K best rows of a table for each query, as files in a folder of their own.

    Args:
        queries: the queries' vectors.
        k: hits of a query.
        search_share: searches a share of the table.
        folder: belongs to this table, these queries and this way of searching.
        ranks: who shares the work.
        desc: words for the progress bar.

    Raises:
        UserError: the disk is full, or another rank has died.
    """
    length, total = queries_a_reading(k), sum(len(shard) for shard in queries)
    starts = list(range(0, total, length))
    missing = ranks.agree(lambda: [start for start in starts if load_array(_path(folder, start)) is None])
    todo = sum(min(length, total - start) for start in missing)
    with progress_bar(total=todo, desc=desc if missing else None, unit="query") as bar:
        for start in missing:
            path = _share_path(folder, start, ranks) if ranks.count > 1 else _path(folder, start)
            if load_array(path) is None:
                numbers = np.arange(start, min(start + length, total))
                save_array(path, _records(search_share(take(queries, numbers), (ranks.number, ranks.count), bar)))
    if ranks.count > 1:
        _merge(folder, missing, ranks, k)
    stored = [load_array(_path(folder, start), check=False) for start in starts]
    if None in stored:
        raise OSError(f"{folder} could not be read back after it was written")
    return StoredHits([part for part in stored if part is not None], length)


def _merge(folder: Path, missing: Sequence[int], ranks: Ranks, k: int) -> None:
    """Make one part of what all ranks found for it; the ranks share the parts."""
    ranks.wait()
    for start in ranks.share(missing):
        shares = [_share_path(folder, start, Ranks(number, ranks.count)) for number in range(ranks.count)]
        found = [load_array(path, check=False) for path in shares]
        hits_QK = np.concatenate([part[:] for part in found if part is not None], axis=1)
        best_QK = np.lexsort((hits_QK["id"], -hits_QK["score"]), axis=1)[:, :k]
        save_array(_path(folder, start), np.take_along_axis(hits_QK, best_QK, axis=1))
        for path in shares:
            path.unlink()
    ranks.wait()


def _records(hits: Hits) -> np.ndarray:
    records_QK = np.empty(hits.ids.shape, _HIT)
    records_QK["id"], records_QK["score"] = hits.ids, hits.scores
    return records_QK


def _path(folder: Path, start: int) -> Path:
    return folder / f"from-{start:09d}.npy"


def _share_path(folder: Path, start: int, ranks: Ranks) -> Path:
    return folder / f"from-{start:09d}.rank-{ranks.number}-of-{ranks.count}.npy"
