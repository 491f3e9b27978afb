"""Exact inner-product search with torch, for GPUs: blocked products and top-k, the rows spread over all devices.

The answers are those of FAISS's brute force up to float32 rounding, which the caller settles. Products are computed
in full float32. Works on the CPU as well, which is how it is tested without a GPU.

Shapes: Q queries, N rows, D dimensions, K hits a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

FindInRows = Callable[[np.ndarray, int], "tuple[np.ndarray, np.ndarray]"]
"""(queries [Q, D], k) -> scores float32 and row numbers int64 [Q, k], in no particular order."""


def cuda_devices(local_rank: int | None = None) -> list[str]:
    """The GPUs torch can search on: all, or with ranks on this machine the one of this rank."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank is not None and count:
        return [f"cuda:{local_rank % count}"]
    return [f"cuda:{number}" for number in range(count)]


def torch_finder(rows_ND: np.ndarray, devices: Sequence[str]) -> FindInRows:
    """A searcher of these rows, which are copied to the devices, an equal share each."""
    import torch

    shares = [share for share in np.array_split(np.arange(len(rows_ND)), len(devices)) if len(share)]
    tables = [
        torch.from_numpy(rows_ND[share[0] : share[-1] + 1]).to(device)
        for device, share in zip(devices, shares, strict=False)
    ]

    @torch.inference_mode()
    @_full_float32()
    def find(queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = torch.from_numpy(queries_QD)
        found = []
        for table, share in zip(tables, shares, strict=True):  # CUDA works on all devices at once
            products = queries.to(table.device) @ table.T
            scores, rows = torch.topk(products, min(k, len(share)), dim=1, sorted=False)
            found.append((scores, rows + int(share[0])))
        scores_QK, rows_QK = (torch.cat([pair[i].cpu() for pair in found], dim=1) for i in (0, 1))
        if scores_QK.shape[1] > k:
            scores_QK, best_QK = torch.topk(scores_QK, k, dim=1, sorted=False)
            rows_QK = rows_QK.gather(1, best_QK)
        return scores_QK.numpy(), rows_QK.numpy()

    return find


@contextmanager
def _full_float32() -> Iterator[None]:
    """No shortened products (TF32), whatever precision the process allows itself elsewhere."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
