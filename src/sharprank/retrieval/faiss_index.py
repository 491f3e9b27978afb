"""Exact inner-product search with FAISS: the only file that imports faiss.

Vectors come in as shards (memory-mapped or not) of one long table; row i of the table is hit id i. Every shard is
searched with FAISS's brute force and the best of all shards are merged, so nothing is copied into an index and the
answer does not depend on the sharding. FAISS sums in an order that depends on how many queries it is given, so
the hits it names are scored once more here, in float64: scores and order are then the same whatever the block size.

Knows nothing of texts, rank windows or models.

Shapes: Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from sharprank.errors import UserError
from sharprank.progress import say, track

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

GPU_MAX_HITS = 2048
"""The most hits a query that FAISS's GPU indexes can return."""

JOINED_ROWS = 65_536
"""Rows of the table searched at a time."""

_RESCORE_BYTES = 64 * 2**20

_Finder = Callable[[np.ndarray, int], np.ndarray]
"""(queries [Q, D], k) -> ids int64 [Q, k] of the best rows, in no particular order."""


@dataclass(frozen=True)
class Hits:
    """The best K rows for each query, best first; ids are -1 and scores -inf where the table has fewer rows.

    Attributes:
        ids: int64 [Q, K].
        scores: float32 [Q, K], inner products rounded to SCORE_DECIMALS.
    """

    ids: np.ndarray
    scores: np.ndarray


def require_gpu() -> int:
    """The number of GPUs FAISS can use.

    Raises:
        UserError: it can use none.
    """
    import faiss

    num_gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if num_gpus == 0:
        kind = "sees no GPU" if hasattr(faiss, "StandardGpuResources") else "is the CPU build"
        raise UserError(
            f"--use_gpu_for_searching: the installed faiss {faiss.__version__} {kind}",
            fix="install faiss-gpu (conda: see environment.yml; pip: the extra `gpu`), or leave the flag out: "
            "searching takes far less time than encoding",
        )
    return num_gpus


def search(
    shards: Sequence[np.ndarray],
    queries_QD: np.ndarray,
    k: int,
    *,
    query_block: int = QUERY_BLOCK,
    use_gpu: bool = False,
    progress: str | None = None,
) -> Hits:
    """The k rows with the highest inner product for each query, exactly.

    Args:
        shards: float32 arrays [*, D], one after the other the whole table.
        query_block: queries searched at a time; changes speed and memory, never the result.
        progress: words for a progress bar; None shows none.

    Raises:
        ValueError: k is not positive, or the queries hold NaN or infinity.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if not np.isfinite(queries_QD).all():
        raise ValueError("the query vectors hold NaN or infinity")
    find = _gpu_finder(shards) if use_gpu and _fits_on_gpu(k + SPARE_HITS) else partial(_find, shards)
    hits = Hits(np.full((len(queries_QD), k), -1, np.int64), np.full((len(queries_QD), k), -np.inf, np.float32))
    starts = range(0, len(queries_QD), query_block)
    for start in track(starts, desc=progress, unit="block") if progress else starts:
        block_QD = np.ascontiguousarray(queries_QD[start : start + query_block], dtype=np.float32)
        ids_QK, scores_QK = _best(shards, block_QD, k, find)
        hits.ids[start : start + query_block, : ids_QK.shape[1]] = ids_QK
        hits.scores[start : start + query_block, : ids_QK.shape[1]] = scores_QK
    return hits


def _best(shards: Sequence[np.ndarray], block_QD: np.ndarray, k: int, find: _Finder) -> tuple[np.ndarray, np.ndarray]:
    """Ids and scores [Q, min(k, rows)]; queries where rows just beyond the fetched ones could tie fetch more."""
    num_rows = sum(len(shard) for shard in shards)
    width, fetched = min(k, num_rows), min(k + SPARE_HITS, num_rows)
    ids_QK, scores_QK = rescore(shards, block_QD, find(block_QD, fetched))
    open_Q = np.flatnonzero(scores_QK[:, width - 1] - scores_QK[:, -1] <= FAISS_ROUNDING)
    ids_QK, scores_QK = ids_QK[:, :width].copy(), scores_QK[:, :width].copy()
    while len(open_Q) and fetched < min(num_rows, k + MAX_SPARE_HITS):
        fetched = min(num_rows, k + 4 * (fetched - k))
        wide_ids, wide_scores = rescore(shards, block_QD[open_Q], _find(shards, block_QD[open_Q], fetched))
        ids_QK[open_Q], scores_QK[open_Q] = wide_ids[:, :width], wide_scores[:, :width]
        open_Q = open_Q[wide_scores[:, width - 1] - wide_scores[:, -1] <= FAISS_ROUNDING]
    return ids_QK, scores_QK


def rescore(shards: Sequence[np.ndarray], queries_QD: np.ndarray, ids_QK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact scores of the rows named by `ids_QK`, and both sorted: best first, ties by the smaller id.

    Returns:
        ids int64 [Q, K] and scores float32 [Q, K].
    """
    scores_QK = np.empty(ids_QK.shape, np.float32)
    step = max(1, _RESCORE_BYTES // (8 * max(1, ids_QK.shape[1] * queries_QD.shape[1])))
    for start in range(0, len(ids_QK), step):
        rows = slice(start, start + step)
        scores_QK[rows] = _inner_products(shards, queries_QD[rows], ids_QK[rows])
    order_QK = np.lexsort((ids_QK, -scores_QK), axis=1)
    return np.take_along_axis(ids_QK, order_QK, axis=1), np.take_along_axis(scores_QK, order_QK, axis=1)


def inner_products(shards: Sequence[np.ndarray], query_D: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The exact scores of these rows with one query, as `search` would give them: float32 [len(ids)]."""
    if not len(ids):
        return np.empty(0, np.float32)
    return _inner_products(shards, query_D[None, :], ids[None, :])[0]


def _inner_products(shards: Sequence[np.ndarray], queries_QD: np.ndarray, ids_QK: np.ndarray) -> np.ndarray:
    vectors_QKD = take(shards, ids_QK.ravel()).reshape(*ids_QK.shape, -1).astype(np.float64)
    return np.einsum("qkd,qd->qk", vectors_QKD, queries_QD.astype(np.float64)).round(SCORE_DECIMALS).astype(np.float32)


def take(shards: Sequence[np.ndarray], ids: np.ndarray) -> np.ndarray:
    """The rows with these ids, in this order: [len(ids), D]."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    if len(shards) == 1:
        return shards[0][ids]
    rows = np.empty((len(ids), shards[0].shape[1]), shards[0].dtype)
    owner = np.searchsorted(starts, ids, side="right") - 1
    for number in np.unique(owner):
        mine = owner == number
        rows[mine] = shards[number][ids[mine] - starts[number]]
    return rows


def _find(shards: Sequence[np.ndarray], block_QD: np.ndarray, k: int) -> np.ndarray:
    with _matrix_multiplication():
        return _merged(shards, block_QD, k)


def _merged(shards: Sequence[np.ndarray], block_QD: np.ndarray, k: int) -> np.ndarray:
    """Ids int64 [Q, k] of the best rows of all shards, in no particular order."""
    import faiss

    ids_QK = np.empty((len(block_QD), 0), np.int64)
    scores_QK = np.empty((len(block_QD), 0), np.float32)
    start = 0
    for rows_ND in _joined(shards):
        found_scores, found = faiss.knn(block_QD, rows_ND, min(k, len(rows_ND)), metric=faiss.METRIC_INNER_PRODUCT)
        ids_QK = np.concatenate([ids_QK, found + start], axis=1)
        scores_QK = np.concatenate([scores_QK, found_scores], axis=1)
        if ids_QK.shape[1] > k:
            best_QK = np.argpartition(-scores_QK, k - 1, axis=1)[:, :k]
            ids_QK, scores_QK = (np.take_along_axis(x, best_QK, axis=1) for x in (ids_QK, scores_QK))
        start += len(rows_ND)
    return ids_QK


def _joined(shards: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The table in pieces of about JOINED_ROWS rows, small shards joined: finding the best of few rows wastes time."""
    held: list[np.ndarray] = []
    for shard in shards:
        held.append(shard)
        if sum(map(len, held)) >= JOINED_ROWS:
            yield np.ascontiguousarray(held[0] if len(held) == 1 else np.concatenate(held))
            held = []
    if held:
        yield np.ascontiguousarray(held[0] if len(held) == 1 else np.concatenate(held))


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


def _fits_on_gpu(k: int) -> bool:
    if k <= GPU_MAX_HITS:
        return True
    say(f"searching on the CPU: FAISS on GPU returns at most {GPU_MAX_HITS} hits, {k} are needed")
    return False


def _gpu_finder(shards: Sequence[np.ndarray]) -> _Finder:
    """A flat index in float32, its rows spread over all GPUs."""
    import faiss

    index = faiss.IndexFlatIP(shards[0].shape[1])
    for shard in shards:  # all of them before the move: an index spread over GPUs takes its rows only once
        index.add(np.ascontiguousarray(shard))
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    options.useFloat16 = False
    index = faiss.index_cpu_to_all_gpus(index, co=options)
    return lambda block_QD, k: index.search(block_QD, k)[1]
