"""The measurements: what runs against what, and the figures that come of it.

Every measurement returns {"rows": [...], "checks": {...}, "seconds": {...}}: rows are lines of the table, checks say
that all sides did the same work, seconds hold every round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.flatness import measure as measure_flatness
from benchmarks.speed.inference import encoding_sides, scoring_sides, search_sides
from benchmarks.speed.material import Material, make_material
from benchmarks.speed.memory import SIDES, peak_bytes
from benchmarks.speed.rounds import Timing, Work, gemm_ceiling, interleave, model_flops, quiet_share, ratio
from benchmarks.speed.training import flagembedding_side, sentence_transformers_side, sharprank_side

OURS = "sharprank"
FE, ST = "FlagEmbedding", "sentence-transformers"


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        flat: pairs scored and trained on to see that the cost of a token does not grow with their number.
    """

    training_rows: int
    rounds: int
    scoring_rows: int
    encoding_rows: int
    queries: int
    passages: int
    flat: tuple[int, int]


def training(size: Size, folder: Path) -> dict[str, Any]:
    """Steps with the configuration's dropout; before that, losses without dropout must agree."""
    material = make_material(folder, num_rows=size.training_rows)
    result = {"checks": {"largest loss difference": _loss_difference(material, folder)}, "rows": [], "seconds": {}}
    sides = {
        f"{OURS}, float32": sharprank_side(material, bf16=False, dropout=0.1),
        f"{OURS}, bfloat16": sharprank_side(material, bf16=True, dropout=0.1),
        f"{FE}, float32 (its default)": flagembedding_side(material, folder, bf16=False, dropout=0.1),
        f"{FE}, bfloat16": flagembedding_side(material, folder, bf16=True, dropout=0.1),
        f"{FE}, float32, a group a forward": flagembedding_side(
            material, folder, bf16=False, dropout=0.1, groups_per_forward=1
        ),
        f"{ST}, float32 (its default)": sentence_transformers_side(
            material, bf16=False, dropout=0.1, mini_batch_size=None
        ),
        f"{ST}, float32, mini-batches of 8": sentence_transformers_side(
            material, bf16=False, dropout=0.1, mini_batch_size=8
        ),
        f"{ST}, bfloat16": sentence_transformers_side(material, bf16=True, dropout=0.1, mini_batch_size=None),
    }
    works: dict[str, Work] = {name: (lambda s=side: s.steps(size.training_rows)) for name, side in sides.items()}
    for side in sides.values():
        side.step([0])  # a group is enough to warm up
    timings = interleave(works, rounds=size.rounds, warm=True, say=_say)
    flops = 3 * model_flops(material.pair_lengths)
    result["rows"] = [
        _against(timings, f"{OURS}, float32", f"{FE}, float32 (its default)", "training step, float32", 3.0),
        _against(timings, f"{OURS}, bfloat16", f"{FE}, bfloat16", "training step, bfloat16", 3.0),
        _against(timings, f"{OURS}, bfloat16", f"{FE}, float32 (its default)", "training, ours in bfloat16", 4.5),
        _against(timings, f"{OURS}, float32", _best(timings, f"{ST}, float32"), "training step, float32", 1.8),
        _against(timings, f"{OURS}, bfloat16", f"{ST}, bfloat16", "training step, bfloat16", 1.8),
        _against(timings, f"{OURS}, bfloat16", f"{ST}, float32 (its default)", "training, ours in bfloat16", 3.0),
        _of_ceiling(timings, f"{OURS}, float32", "training, float32", flops, torch.float32, 0.8),
        _of_ceiling(timings, f"{OURS}, bfloat16", "training, bfloat16", flops, torch.bfloat16, 0.6),
    ]
    return result | _seconds(timings)


def _loss_difference(material: Material, folder: Path) -> float:
    """The largest difference between our losses and a peer's over the same steps without dropout, in float32."""
    ours = sharprank_side(material, bf16=False, dropout=0.0)
    peers = (
        flagembedding_side(material, folder, bf16=False, dropout=0.0),
        sentence_transformers_side(material, bf16=False, dropout=0.0, mini_batch_size=None),
    )
    losses = [np.asarray(side.steps(min(4, len(material.rows)))) for side in (ours, *peers)]
    worst = float(max(np.abs(losses[0] - peer).max() for peer in losses[1:]))
    if worst > 1e-3:
        raise AssertionError(f"the sides do not do the same work: losses differ by {worst:.1e}")
    return worst


def scoring(size: Size, folder: Path) -> dict[str, Any]:
    """Raw scores of pairs, in float32 and in bfloat16."""
    return _inference(scoring_sides, make_material(folder, num_rows=size.scoring_rows), size, "scoring", 1e-4)


def encoding(size: Size, folder: Path) -> dict[str, Any]:
    """Embeddings of passages, as mining makes them."""
    return _inference(encoding_sides, make_material(folder, num_rows=size.encoding_rows), size, "mining encode", 1e-4)


_TARGETS = {"scoring": {"default": 4.0, FE: 1.7, ST: 1.4}, "mining encode": {"default": 1.8, FE: 1.8, ST: 1.5}}


def _inference(make_sides: Any, material: Material, size: Size, what: str, tolerance: float) -> dict[str, Any]:
    rows, checks, seconds = [], {}, {}
    for dtype, word in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        sides = make_sides(material, dtype=dtype)
        outputs = {name: np.asarray(work(), dtype=np.float32) for name, work in sides.items()}
        worst = max(float(np.abs(outputs[OURS] - other).max()) for other in outputs.values())
        if dtype == torch.float32 and worst > tolerance:
            raise AssertionError(f"the sides do not do the same work: {what} differs by {worst:.1e}")
        checks[f"largest difference, {word}"] = worst
        timings = interleave(sides, rounds=size.rounds, warm=True, say=_say)
        target = _TARGETS[what]
        rows += [
            _against(timings, OURS, name, f"{what}, {word}", target["default"])
            for name in timings
            if name.startswith(FE) and name.endswith("(its default)")
        ]
        rows += [
            _against(timings, OURS, f"{FE}, batch 32", f"{what}, {word}", target[FE]),
            _against(timings, OURS, _best(timings, ST), f"{what}, {word}", target[ST]),
        ]
        if what == "scoring" and dtype == torch.float32:
            flops = model_flops(material.pair_lengths)
            rows.append(_of_ceiling(timings, OURS, "forward, float32", flops, dtype, 0.8, by_onednn=True))
        seconds[word] = _seconds(timings)
    return {"rows": rows, "checks": checks, "seconds": seconds}


def searching(size: Size, folder: Path) -> dict[str, Any]:
    """Exact search; ids must agree but for rounding among near-equal scores."""
    sides = search_sides(size.queries, size.passages)
    ids = {name: work() for name, work in sides.items()}
    same = min(float((ids[OURS] == other).mean()) for other in ids.values())
    timings = interleave(sides, rounds=size.rounds, warm=True, say=_say)
    peers = [name for name in timings if name != OURS]
    rows = [
        _against(timings, OURS, peer, f"search, {size.queries} x {size.passages:,}", target)
        for peer, target in zip(peers, (5.0, 1.0), strict=True)
    ]
    return {"rows": rows, "checks": {"ids equal, place by place": same}, **_seconds(timings)}


def memory(size: Size, folder: Path) -> dict[str, Any]:
    """Peak memory of training, each side alone."""
    peaks = {name: peak_bytes(name) for name in SIDES}
    ours = peaks[OURS]["trained"]
    rows = [
        {"work": "peak memory of training", "against": peer, "ratio": peaks[peer]["trained"] / ours, "target": 1.0}
        for peer in (FE, ST)
    ]
    return {"rows": rows, "checks": {}, "seconds": {}, "bytes": peaks}


def flatness(size: Size, folder: Path) -> dict[str, Any]:
    """What a token costs at a large number of pairs over what it costs at a small one (bfloat16)."""
    found = measure_flatness(size.flat, folder, dtype=torch.bfloat16, say=_say)
    return {"rows": found["rows"], "checks": {}, "seconds": {}, "microseconds a token": found["costs"]}


MEASUREMENTS: dict[str, Callable[[Size, Path], dict[str, Any]]] = {
    "training": training,
    "scoring": scoring,
    "encoding": encoding,
    "searching": searching,
    "memory": memory,
    "flatness": flatness,
}


def _against(timings: Mapping[str, Timing], ours: str, peer: str, work: str, target: float) -> dict[str, Any]:
    measured = ratio(timings[peer], timings[ours])
    return {"work": work, "against": peer, "ratio": measured["wall"], "target": target, "detail": measured}


def _best(timings: Mapping[str, Timing], prefix: str) -> str:
    """The fastest of a peer's settings."""
    return min((name for name in timings if name.startswith(prefix)), key=lambda name: timings[name].median_wall)


def _of_ceiling(
    timings: Mapping[str, Timing],
    side: str,
    work: str,
    flops: float,
    dtype: torch.dtype,
    target: float,
    *,
    by_onednn: bool = False,
) -> dict[str, Any]:
    """A share of what the matrix products alone reach: the products this work uses."""
    ceiling = gemm_ceiling(dtype, by_onednn=by_onednn)
    reached = flops / timings[side].median_wall / 1e9
    detail = {"gflops": reached, "ceiling_gflops": ceiling}
    return {"work": work, "against": "GEMM ceiling", "ratio": reached / ceiling, "target": target, "detail": detail}


def _seconds(timings: Mapping[str, Timing]) -> dict[str, Any]:
    return {
        "seconds": {name: {"wall": t.wall, "cpu": t.cpu} for name, t in timings.items()},
        "quiet": quiet_share(list(timings.values())),
    }


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
