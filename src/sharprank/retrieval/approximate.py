"""Approximate search with a FAISS index named by its factory string, for pools where exact search takes too long.

One index is made for at most INDEX_ROWS rows, alone from those rows, and kept as a file; ranks share them. What an
index finds is scored exactly, and the best of all indexes are kept, so that the hits do not depend on the number of
ranks. How many of the true hits are found is for the caller to measure.

Shapes: Q queries, D dimensions, K hits a query, N rows of the table.
"""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.errors import UserError
from sharprank.formats.cache import filling
from sharprank.formats.writers import atomic_path, write_json
from sharprank.progress import Bar, progress_bar
from sharprank.ranks import ALONE, Ranks
from sharprank.retrieval.faiss_index import Hits, rescore
from sharprank.retrieval.stored import Shard
from sharprank.retrieval.table import take

INDEX_ROWS = 4_194_304
"""Most rows of one index, which has to fit into memory while it is made or searched; all get about as many."""

TRAINING_ROWS_A_LIST = 64
LEAST_TRAINING_ROWS = 65_536
"""An index learns from this many rows, or from TRAINING_ROWS_A_LIST for each of its lists where that is more."""

REFINED = 2
"""Rows taken from an index for each hit wanted, before they are scored exactly."""

LISTS_SEARCHED = 16
"""By default one list in so many is searched."""

RECALL_QUERIES = 200

_READ_ROWS = 65_536


class ApproximateSearch:
    """An index of a table, in as many files as it takes.

    Args:
        factory: the index, as `faiss.index_factory` understands it ("IVF4096,PQ64", "HNSW32").
        size: D.
        num_rows: N.
        k: hits that will be wanted.
        parameters: how thoroughly to search, as FAISS's ParameterSpace understands it ("nprobe=64", "efSearch=256");
            by default a sixteenth of the lists, or efSearch of twice the hits.

    Raises:
        UserError: FAISS refuses the string or the parameters, or the table is too small for the index.
    """

    def __init__(self, factory: str, size: int, num_rows: int, *, k: int, parameters: str | None = None) -> None:
        self._factory, self._size, self._k, self._parameters = factory, size, k, parameters
        ends = np.linspace(0, num_rows, -(-num_rows // INDEX_ROWS) + 1).astype(int).tolist()
        self._bounds = list(itertools.pairwise(ends))
        self._folder = Path()
        index = self._new()
        self._set_parameters(index)
        smallest = min(last - first for first, last in self._bounds)
        if _num_lists(index) > smallest:
            raise UserError(
                f"--index_factory {factory} makes {_num_lists(index)} lists of {smallest} passages",
                fix="leave it out (exact search is fast for such a pool), or name a smaller index, such as "
                f"IVF{max(1, smallest // TRAINING_ROWS_A_LIST)},Flat",
            )

    def prepare(self, shards: Sequence[Shard], folder: Path, *, ranks: Ranks = ALONE) -> None:
        """Make the indexes that are not there; the ranks share them."""
        self._folder = folder
        missing = ranks.agree(lambda: [bounds for bounds in self._bounds if not self._is_whole(bounds)])
        own = ranks.share(missing)
        total = sum(last - first for first, last in own)
        with progress_bar(total=total, desc=f"indexing ({self._factory})" if own else None, unit="row") as bar:
            for bounds in own:
                self._write(shards, bounds, bar)
        ranks.wait()

    def search(
        self,
        shards: Sequence[Shard],
        queries_QD: np.ndarray,
        *,
        share: tuple[int, int] = (0, 1),
        progress: Bar[Any] | None = None,
    ) -> Hits:
        """The best K rows that the indexes find for each query, best first, scored exactly.

        Args:
            share: (a, b) searches every b-th index only, from the a-th on.
        """
        import faiss

        queries_QD = np.ascontiguousarray(queries_QD, dtype=np.float32)
        ids_QK = np.full((len(queries_QD), self._k), -1, np.int64)
        scores_QK = np.full((len(queries_QD), self._k), -np.inf, np.float32)
        own = self._bounds[share[0] :: share[1]]
        for bounds in own:
            index = faiss.read_index(str(self._path(bounds)), faiss.IO_FLAG_MMAP)
            self._set_parameters(index)
            found = index.search(queries_QD, min(REFINED * self._k, bounds[1] - bounds[0]))[1]
            new_ids, new_scores = rescore(shards, queries_QD, np.where(found >= 0, found + bounds[0], -1))
            ids_QK, scores_QK = np.hstack([ids_QK, new_ids]), np.hstack([scores_QK, new_scores])
            best_QK = np.lexsort((ids_QK, -scores_QK), axis=1)[:, : self._k]
            ids_QK, scores_QK = (np.take_along_axis(x, best_QK, axis=1) for x in (ids_QK, scores_QK))
            if progress is not None:
                progress.update(len(queries_QD) / len(own))
        return Hits(ids_QK, scores_QK)

    def sample(self, num_queries: int) -> np.ndarray:
        """Numbers of the queries on which the recall is measured: evenly spread."""
        return np.unique(np.linspace(0, num_queries - 1, min(num_queries, RECALL_QUERIES)).astype(np.int64))

    def _new(self) -> Any:
        import faiss

        try:
            return faiss.index_factory(self._size, self._factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise UserError(
                f"--index_factory {self._factory!r}: FAISS refuses it for vectors of {self._size} dimensions "
                f"({_reason(error)})",
                fix="name an index as faiss.index_factory does, such as IVF4096,PQ64 or HNSW32; the number after PQ "
                "divides the dimensions",
            ) from error

    def _set_parameters(self, index: Any) -> None:
        import faiss

        written = self._parameters
        if written is None:
            kinds = {"nprobe": max(1, _num_lists(index) // LISTS_SEARCHED), "efSearch": 2 * REFINED * self._k}
            names = ["nprobe"] if _num_lists(index) else ["efSearch"] if hasattr(index, "hnsw") else []
            written = ",".join(f"{name}={kinds[name]}" for name in names)
        try:
            if written:
                faiss.ParameterSpace().set_index_parameters(index, written)
        except RuntimeError as error:
            raise UserError(
                f"--index_parameters {written!r}: FAISS refuses them for {self._factory} ({_reason(error)})",
                fix="use nprobe=... for IVF indexes, efSearch=... for HNSW",
            ) from error

    def _write(self, shards: Sequence[Shard], bounds: tuple[int, int], bar: Bar[Any]) -> None:
        index = self._new()
        first, last = bounds
        if not index.is_trained:
            wanted = max(LEAST_TRAINING_ROWS, TRAINING_ROWS_A_LIST * _num_lists(index))
            places = np.unique(np.linspace(first, last - 1, min(last - first, wanted)).astype(int))
            self._train(index, _rows(shards, places))
        with _one_thread(only=hasattr(index, "hnsw")):
            for start in range(first, last, _READ_ROWS):
                stop = min(start + _READ_ROWS, last)
                index.add(_rows(shards, np.arange(start, stop)))
                bar.update(stop - start)
        with filling(self._path(bounds)):
            with atomic_path(self._path(bounds)) as path:
                _save(index, path)
            write_json(self._size_path(bounds), self._path(bounds).stat().st_size)

    def _train(self, index: Any, rows_ND: np.ndarray) -> None:
        try:
            index.train(rows_ND)
        except RuntimeError as error:
            raise UserError(
                f"--index_factory {self._factory!r}: FAISS cannot learn it from {len(rows_ND):,} passages "
                f"({_reason(error)})",
                fix="leave it out (exact search is fast for such a pool), or name an index without PQ, such as HNSW32",
            ) from error

    def _is_whole(self, bounds: tuple[int, int]) -> bool:
        try:
            return self._path(bounds).stat().st_size == json.loads(self._size_path(bounds).read_text())
        except (OSError, ValueError):
            return False

    def _path(self, bounds: tuple[int, int]) -> Path:
        return self._folder / f"rows-{bounds[0]:012d}-{bounds[1]:012d}.faiss"

    def _size_path(self, bounds: tuple[int, int]) -> Path:
        return self._path(bounds).with_suffix(".size.json")


def _save(index: Any, path: Path) -> None:
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # this is how FAISS says that the disk is full
        raise OSError(errno.EIO, _reason(error)) from error


@contextmanager
def _one_thread(*, only: bool) -> Iterator[None]:
    """A graph is built by one thread: several would insert in an order that no second run repeats."""
    import faiss

    before = faiss.omp_get_max_threads()
    if only:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _rows(shards: Sequence[Shard], ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(take(shards, ids), dtype=np.float32)


def _num_lists(index: Any) -> int:
    import faiss

    try:
        return int(faiss.extract_index_ivf(index).nlist)
    except RuntimeError:  # it has no lists
        return 0


def _reason(error: RuntimeError) -> str:
    """The last line of what FAISS says, without the place in its sources."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2][:120]
