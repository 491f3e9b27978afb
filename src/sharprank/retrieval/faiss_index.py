"""Exact inner-product search with FAISS (or, on GPUs, torch): the only file that imports faiss for it.

Vectors come in as shards (in memory or on disk) of one long table; row i of the table is hit id i. The table is read
once, a piece at a time, for thousands of queries, and the best of all pieces are kept, so that memory depends neither
on the table nor on the number of queries, and the answer not on the sharding. What is fast sums in an order that
depends on how many queries it is given, so the hits are scored once more here, in float64: scores and order are then
the same whatever the block size, the device, and the number of processes among which the pieces are shared.

Knows nothing of texts, rank windows or models.

Shapes: Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sharprank.errors import UserError
from sharprank.progress import Bar, continued, say
from sharprank.retrieval.stored import Shard
from sharprank.retrieval.table import piece_bounds, pieces, take
from sharprank.retrieval.torch_search import FindInRows, cuda_devices, torch_finder

QUERY_BLOCK = 1024
"""Queries searched at a time: FAISS reaches the speed of matrix multiplication only in large blocks."""

SPARE_HITS = 16
"""Hits fetched beyond the k wanted, so that rounding inside FAISS cannot decide which hit is the last."""

MAX_SPARE_HITS = 4096
"""Where that many hits tie for the last place, the smallest ids among those fetched take it."""

FAISS_ROUNDING = 1e-5
"""More than float32 sums of products of unit vectors differ by."""

SCORE_DECIMALS = 6
"""Cosines closer than this are one score (float32 vectors carry no more); ties go to the smaller id."""

FAISS_GPU_MAX_HITS = 2048
"""The most hits a query that FAISS's GPU search can return."""

HELD_HITS = 2_097_152
"""Hits held in memory while the table is read: what one reading costs (12 bytes each), and how often it is read."""

MOST_QUERIES_A_READING = 16_384

_EXACT_BYTES = 2 * 2**20
"""Rows in float64 that are multiplied at a time: few enough to stay in the processor's cache."""

_READ_AT_ONCE = 16
"""So many times as many rows are read at a time from shards on disk, which are opened for every reading."""

Backend = Callable[[np.ndarray], FindInRows]
"""rows float32 [N, D] -> a searcher of them."""


@dataclass(frozen=True)
class Hits:
    """The best K rows for each query, best first; ids are -1 and scores -inf where the table has fewer rows.

    Attributes:
        ids: int64 [Q, K].
        scores: float32 [Q, K], inner products rounded to SCORE_DECIMALS.
    """

    ids: np.ndarray
    scores: np.ndarray


def gpu_backend(local_rank: int | None = None) -> Backend:
    """Search on all GPUs, or on the one of this rank: with torch, or where its build has no CUDA with faiss-gpu.

    Raises:
        UserError: neither sees a GPU.
    """
    import faiss

    devices = cuda_devices(local_rank)
    if devices:
        return lambda rows_ND: torch_finder(rows_ND, devices)
    has_gpu = hasattr(faiss, "StandardGpuResources")
    if has_gpu and faiss.get_num_gpus() > 0:
        return _faiss_gpu_backend((local_rank or 0) % faiss.get_num_gpus())
    kind = "sees no GPU" if has_gpu else "is the CPU build"
    raise UserError(
        f"--use_gpu_for_searching: torch sees no GPU, and the installed faiss {faiss.__version__} {kind}",
        fix="install a CUDA build of torch, or faiss-gpu (conda: see environment.yml; pip: the extra `gpu`), or leave "
        "the flag out: searching takes far less time than encoding",
    )


def queries_a_reading(k: int) -> int:
    """How many queries the table is read for at once."""
    return max(256, min(MOST_QUERIES_A_READING, HELD_HITS // (k + SPARE_HITS)))


def search(
    shards: Sequence[Shard],
    queries_QD: np.ndarray,
    k: int,
    *,
    query_block: int = QUERY_BLOCK,
    backend: Backend | None = None,
    share: tuple[int, int] = (0, 1),
    progress: str | Bar[Any] | None = None,
) -> Hits:
    """The k rows with the highest inner product for each query, exactly.

    Args:
        shards: arrays [*, D], one after the other the whole table.
        query_block: queries searched at a time; changes speed and memory, never the result.
        backend: what searches; by default FAISS on the CPU.
        share: (a, b) searches every b-th piece of the table only, from the a-th on.
        progress: words for a progress bar, or a bar to advance by queries; None shows none.

    Raises:
        ValueError: k is not positive, or the queries hold NaN or infinity.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if not np.isfinite(queries_QD).all():
        raise ValueError("the query vectors hold NaN or infinity")
    work = _Search(shards, share, query_block, backend or faiss_backend)
    hits = Hits(np.full((len(queries_QD), k), -1, np.int64), np.full((len(queries_QD), k), -np.inf, np.float32))
    step = queries_a_reading(k)
    with continued(progress, total=len(queries_QD), unit="query") as bar:
        for start in range(0, len(queries_QD), step):
            some_QD = np.ascontiguousarray(queries_QD[start : start + step], dtype=np.float32)
            ids_QK, scores_QK = work.best(some_QD, k, bar)
            hits.ids[start : start + step, : ids_QK.shape[1]] = ids_QK
            hits.scores[start : start + step, : ids_QK.shape[1]] = scores_QK
    return hits


class _Search:
    """Searching the pieces of one table that are this process's."""

    def __init__(self, shards: Sequence[Shard], share: tuple[int, int], query_block: int, backend: Backend) -> None:
        self._shards, self._share, self._block, self._backend = shards, share, query_block, backend
        self._num_rows = sum(last - first for first, last in piece_bounds(shards)[share[0] :: share[1]])

    def best(self, queries_QD: np.ndarray, k: int, bar: Bar[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores [Q, min(k, rows)]; queries where rows just beyond the fetched ones could tie fetch more."""
        width, fetched = min(k, self._num_rows), min(k + SPARE_HITS, self._num_rows)
        if not width:
            bar.update(len(queries_QD))
            return np.empty((len(queries_QD), 0), np.int64), np.empty((len(queries_QD), 0), np.float32)
        ids_QK, scores_QK = rescore(self._shards, queries_QD, self._fetch(queries_QD, fetched, bar))
        open_Q = np.flatnonzero(scores_QK[:, width - 1] - scores_QK[:, -1] <= FAISS_ROUNDING)
        ids_QK, scores_QK = ids_QK[:, :width].copy(), scores_QK[:, :width].copy()
        while len(open_Q) and fetched < min(self._num_rows, k + MAX_SPARE_HITS):
            fetched = min(self._num_rows, k + 4 * (fetched - k))
            wide_ids, wide_scores = self._wider(queries_QD[open_Q], fetched)
            ids_QK[open_Q], scores_QK[open_Q] = wide_ids[:, :width], wide_scores[:, :width]
            open_Q = open_Q[wide_scores[:, width - 1] - wide_scores[:, -1] <= FAISS_ROUNDING]
        return ids_QK, scores_QK

    def _wider(self, queries_QD: np.ndarray, fetched: int) -> tuple[np.ndarray, np.ndarray]:
        step = max(1, HELD_HITS // fetched)
        parts = [
            rescore(self._shards, part_QD, self._fetch(part_QD, fetched, None))
            for part_QD in np.split(queries_QD, range(step, len(queries_QD), step))
        ]
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([scores for _, scores in parts])

    def _fetch(self, queries_QD: np.ndarray, k: int, bar: Bar[Any] | None) -> np.ndarray:
        """Ids int64 [Q, k] of the best rows of all pieces, in no particular order."""
        ids_QK = np.empty((len(queries_QD), 0), np.int64)
        scores_QK = np.empty((len(queries_QD), 0), np.float32)
        for first, rows_ND in pieces(self._shards, self._share):
            found_scores, found = self._found(rows_ND, queries_QD, k)
            ids_QK = np.concatenate([ids_QK, found + first], axis=1)
            scores_QK = np.concatenate([scores_QK, found_scores], axis=1)
            if ids_QK.shape[1] > k:
                best_QK = np.argpartition(-scores_QK, k - 1, axis=1)[:, :k]
                ids_QK, scores_QK = (np.take_along_axis(x, best_QK, axis=1) for x in (ids_QK, scores_QK))
            if bar is not None:
                bar.update(len(queries_QD) * len(rows_ND) / self._num_rows)
            del rows_ND  # before the next piece is read
        return ids_QK

    def _found(self, rows_ND: np.ndarray, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        find = self._backend(rows_ND)
        found = [find(queries_QD[start : start + self._block], k) for start in range(0, len(queries_QD), self._block)]
        return np.concatenate([scores for scores, _ in found]), np.concatenate([rows for _, rows in found])


def rescore(shards: Sequence[Shard], queries_QD: np.ndarray, ids_QK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact scores of the rows named by `ids_QK` (below 0: no row, -inf), and both sorted: best first, ties by id.

    Returns:
        ids int64 [Q, K] and scores float32 [Q, K].
    """
    scores_QK = _inner_products(shards, queries_QD, np.maximum(ids_QK, 0))
    scores_QK[ids_QK < 0] = -np.inf
    order_QK = np.lexsort((ids_QK, -scores_QK), axis=1)
    return np.take_along_axis(ids_QK, order_QK, axis=1), np.take_along_axis(scores_QK, order_QK, axis=1)


def inner_products(shards: Sequence[Shard], query_D: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The exact scores of these rows with one query, as `search` would give them: float32 [len(ids)]."""
    if not len(ids):
        return np.empty(0, np.float32)
    return _inner_products(shards, query_D[None, :], ids[None, :])[0]


def _inner_products(shards: Sequence[Shard], queries_QD: np.ndarray, ids_QK: np.ndarray) -> np.ndarray:
    """Rounded products float32 [Q, K], in float64, a few queries at a time in memory that is used over and over."""
    (num_queries, num_hits), size = ids_QK.shape, queries_QD.shape[1]
    exact_QD1 = queries_QD.astype(np.float64)[:, :, None]
    products_QK = np.empty(ids_QK.shape)
    few = max(1, _EXACT_BYTES // (8 * max(1, num_hits * size)))
    many = few if all(isinstance(shard, np.ndarray) for shard in shards) else few * _READ_AT_ONCE
    rows_RD = np.empty((min(many, num_queries) * num_hits, size), shards[0].dtype)
    exact_RD = np.empty((min(few, num_queries) * num_hits, size))
    for start in range(0, num_queries, many):
        ids = ids_QK[start : start + many].ravel()
        found_RD = take(shards, ids, out=rows_RD[: len(ids)])
        for first in range(start, min(start + many, num_queries), few):
            some = slice(first, min(first + few, start + many, num_queries))
            part_RD = found_RD[(first - start) * num_hits : (some.stop - start) * num_hits]
            part_QKD = exact_RD[: len(part_RD)]
            part_QKD[:] = part_RD
            np.matmul(
                part_QKD.reshape(-1, num_hits, size), exact_QD1[some], out=products_QK[some].reshape(-1, num_hits, 1)
            )
    return products_QK.round(SCORE_DECIMALS).astype(np.float32)


def faiss_backend(rows_ND: np.ndarray) -> FindInRows:
    """FAISS's brute force on the CPU."""
    import faiss

    def find(queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        with _matrix_multiplication():
            return faiss.knn(queries_QD, rows_ND, min(k, len(rows_ND)), metric=faiss.METRIC_INNER_PRODUCT)

    return find


@contextmanager
def _matrix_multiplication() -> Iterator[None]:
    """Let FAISS multiply matrices for small blocks too: below its threshold it scans the table once per query."""
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def _faiss_gpu_backend(device: int) -> Backend:
    """faiss-gpu's brute force on one GPU, as far as its limit of hits goes."""
    import faiss

    resources = faiss.StandardGpuResources()

    def load(rows_ND: np.ndarray) -> FindInRows:
        on_cpu = faiss_backend(rows_ND)

        def find(queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            wanted, metric = min(k, len(rows_ND)), faiss.METRIC_INNER_PRODUCT
            if wanted > FAISS_GPU_MAX_HITS:
                say(f"searching on the CPU: faiss-gpu returns at most {FAISS_GPU_MAX_HITS} hits, {wanted} are needed")
                return on_cpu(queries_QD, k)
            return faiss.knn_gpu(resources, queries_QD, rows_ND, wanted, metric=metric, device=device)

        return find

    return load
