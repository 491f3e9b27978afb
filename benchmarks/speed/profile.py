"""Where the time goes: ours beside sentence-transformers' best setting, by kind of work.

Shares by torch's own profiler, an operator's time without that of the operators it calls; what no operator accounts
for is Python: tokenising, planning, transformers' own code. Useful work is what the model defines, without
padding. For search, what FAISS takes, and what scoring its hits once more in float64 takes on top.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.inference import NUM_NEIGHBOURS, encoding_sides, random_units, scoring_sides
from benchmarks.speed.material import Material, make_material
from benchmarks.speed.rounds import gemm_ceiling, model_flops

PEERS = {"encoding": "sentence-transformers, batch 16", "scoring": "sentence-transformers, batch 8"}
PRODUCTS, ATTENTION, POINTWISE, MEMORY = "matrix products", "attention", "GELU, norms, sums", "copies"
KINDS = {
    PRODUCTS: ("addmm", "linear_pointwise", "reorder_linear_weight", "aten::mm"),
    ATTENTION: ("attention", "bmm", "softmax"),
    POINTWISE: ("gelu", "layer_norm", "aten::add", "tanh", "aten::mul", "aten::sum", "aten::mean", "aten::div"),
    MEMORY: ("copy_", "cat", "index", "where", "empty", "stack"),
}


def print_profile(folder: Path, *, rows: int) -> None:
    """Print the tables."""
    material = make_material(folder, num_rows=rows)
    titles = ["work", "side", "processor time", "useful GFLOP/s", *KINDS, "Python"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for work, make_sides in (("encoding", encoding_sides), ("scoring", scoring_sides)):
        flops = model_flops(_lengths(material, work))
        for dtype, word in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
            sides = make_sides(material, dtype=dtype)
            for side in ("sharprank", PEERS[work]):
                print(_line(f"{work}, {word}", side, sides[side], flops), flush=True)
    print()
    for dtype in (torch.float32, torch.bfloat16):
        own, laid = (gemm_ceiling(dtype, by_onednn=by_onednn, clock=time.process_time) for by_onednn in (False, True))
        print(f"MiniLM's matrix products alone, {dtype}: {own:.0f} GFLOP/s by torch, {laid:.0f} by oneDNN, laid out")
    print(f"padding of {PEERS['encoding']}: {_padding(_lengths(material, 'encoding'), 16):.2f} slots a useful token")
    print(f"padding of {PEERS['scoring']}: {_padding(_lengths(material, 'scoring'), 8):.2f} slots a useful token")
    for line in _search_lines():
        print(line)


def _lengths(material: Material, work: str) -> list[int]:
    if work == "scoring":
        return material.pair_lengths
    from transformers import AutoTokenizer

    texts = list(dict.fromkeys(text for _, text in material.pairs))
    return [len(ids) for ids in AutoTokenizer.from_pretrained(material.encoder_path)(texts)["input_ids"]]


def _line(work: str, side: str, call: Callable[[], Any], flops: float) -> str:
    call()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    spent, total = _by_kind(call)
    shares = [spent[kind] / total for kind in KINDS]
    took = float(np.median(seconds))
    cells = [f"{took:.2f} s", f"{flops / took / 1e9:.0f}", *(f"{share:.0%}" for share in shares)]
    return f"| {work} | {side} | {' | '.join(cells)} | {1 - sum(spent.values()) / total:.0%} |"


def _by_kind(call: Callable[[], Any]) -> tuple[Counter[str], float]:
    """Seconds by kind of operator ("" where it has none), and in all: on the wall, as the profiler measures."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        start = time.perf_counter()
        call()
        total = time.perf_counter() - start
    spent: Counter[str] = Counter()
    for event in recorded.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(name in event.key for name in names)), "")
        spent[kind] += event.self_cpu_time_total / 1e6
    return spent, total


def _padding(lengths: list[int], batch_size: int) -> float:
    """Slots a useful token where texts are sorted by length and padded to the longest of a batch."""
    ordered = sorted(lengths, reverse=True)
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    return sum(batch[0] * len(batch) for batch in batches) / sum(lengths)


def _search_lines(*, repeats: int = 5) -> list[str]:
    import faiss

    from sharprank.retrieval.faiss_index import SPARE_HITS, faiss_backend, rescore, search

    passages, queries = random_units(100_000, seed=0), random_units(1_000, seed=1)
    found = faiss_backend(passages)(queries, NUM_NEIGHBOURS + SPARE_HITS)[1]
    works: dict[str, Callable[[], Any]] = {
        "sharprank": lambda: search([passages], queries, NUM_NEIGHBOURS),
        "of which FAISS": lambda: faiss_backend(passages)(queries, NUM_NEIGHBOURS + SPARE_HITS),
        "of which scores in float64": lambda: rescore([passages], queries, found),
        "FAISS alone, with its copy of the table": lambda: _indexed(faiss, passages).search(queries, NUM_NEIGHBOURS),
        "of which the copy": lambda: _indexed(faiss, passages),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return [f"search, {name}: {np.median(times):.3f} s" for name, times in seconds.items()]


def _indexed(faiss: Any, passages: np.ndarray) -> Any:
    index = faiss.IndexFlatIP(passages.shape[1])
    index.add(passages)
    return index
